"""LiteRT's interpreter under one roof: ``xnnpack``, ``builtin`` and ``reference``; runs in the child process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from quantdiff.quant import Array
from quantdiff.run.batches import OpenModel

RESOLVERS = {
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


class LiteRT:
    """An interpreter with its tensors allocated.

    One thread: some ``builtin`` kernels (MEAN) split their sums by thread and round each part.
    """

    def __init__(self, model: str, runtime: str) -> None:
        self.interpreter: Any = Interpreter(
            model_path=model, experimental_op_resolver_type=RESOLVERS[runtime], num_threads=1
        )
        self.interpreter.allocate_tensors()
        self.delegated = _delegated(self.interpreter)
        self._describe()

    def _describe(self) -> None:
        details, made = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.inputs = [tuple(int(n) for n in detail["shape"]) for detail in details]
        self.outputs = len(made)
        self._fed = [detail["index"] for detail in details]
        self._made: list[Callable[[], Array]] = [self.interpreter.tensor(detail["index"]) for detail in made]

    def resize(self, shapes: list[tuple[int, ...]]) -> bool:
        """Give the inputs other shapes; False where the model refuses."""
        try:
            for index, shape in zip(self._fed, shapes, strict=True):
                self.interpreter.resize_tensor_input(index, shape)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError):
            return False
        self._describe()
        return True

    def invoke(self, inputs: list[Array]) -> None:
        """Run once; state that the model keeps starts afresh."""
        self.interpreter.reset_all_variables()
        for index, array in zip(self._fed, inputs, strict=True):
            self.interpreter.set_tensor(index, array)
        self.interpreter.invoke()

    def output(self, i: int) -> Array:
        """Output number i: the interpreter's own memory, to be let go before anything else is asked of it."""
        try:
            return self._made[i]()
        except ValueError:  # "Invalid tensor size", it says of one without elements
            detail = self.interpreter.get_output_details()[i]
            if 0 not in detail["shape"]:
                raise
            return np.empty(detail["shape"], detail["dtype"])


def open_model(model: str, runtime: str) -> OpenModel:
    """Load ``model`` on one of the three runtimes.

    Raises:
        RuntimeError, ValueError: the interpreter refuses the model.
    """
    return LiteRT(model, runtime)


def _delegated(interpreter: Any) -> list[tuple[list[int], list[int]]]:
    """Input and output tensors of every part of the graph that a delegate runs.

    The interpreter replaces the operators of such a part by one node called DELEGATE.
    """
    nodes = [node for node in interpreter._get_ops_details() if node["op_name"] == "DELEGATE"]
    return [([*map(int, node["inputs"])], [*map(int, node["outputs"])]) for node in nodes]
