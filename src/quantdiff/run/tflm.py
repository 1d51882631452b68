"""TensorFlow Lite Micro, what a microcontroller runs; runs in the child process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tflite_micro.python.tflite_micro import runtime as tflm

from quantdiff.graph import keeps_resources
from quantdiff.load.tflite import read_model
from quantdiff.quant import Array
from quantdiff.run.batches import OpenModel

FIRST_ARENA, LAST_ARENA = 2**20, 2**30  # bytes


class Micro:
    """A TFLM interpreter; it runs at the batch size of the file."""

    def __init__(self, model: bytes) -> None:
        self.interpreter: Any = _open_with_room(model)
        graph = read_model(memoryview(model)).main
        # A reset empties resource variables too, and CALL_ONCE does not fill them again; no device streams like that.
        self.starts_afresh = not keeps_resources(graph) or any(tensor.is_variable for tensor in graph.tensors)
        self.delegated: list[tuple[list[int], list[int]]] = []
        self.inputs = _shapes(self.interpreter.get_input_details)
        self.outputs = len(_shapes(self.interpreter.get_output_details))

    def resize(self, shapes: list[tuple[int, ...]]) -> bool:
        """TFLM plans its memory once, for the shapes in the file."""
        del shapes
        return False

    def invoke(self, inputs: list[Array]) -> None:
        """Run once; state starts afresh, but for resource variables, which go on."""
        if self.starts_afresh:
            self.interpreter.reset()
        for index, array in enumerate(inputs):
            self.interpreter.set_input(array, index)
        self.interpreter.invoke()

    def output(self, i: int) -> Array:
        """Output number i."""
        array: Array = self.interpreter.get_output(i)
        return array


def open_model(model: str, runtime: str) -> OpenModel:
    """Load ``model`` on TFLM.

    Raises:
        RuntimeError: TFLM refuses the model.
    """
    del runtime
    return Micro(Path(model).read_bytes())


def _open_with_room(model: bytes) -> Any:
    """An interpreter whose arena is large enough: the size that a model needs is not written in it."""
    size = max(FIRST_ARENA, 10 * len(model))
    while True:
        try:
            return tflm.Interpreter.from_bytes(model, arena_size=size)
        except RuntimeError as error:
            if "allocate" not in str(error) or size >= LAST_ARENA:
                raise
            size *= 8


def _shapes(details: Callable[[int], dict[str, Any]]) -> list[tuple[int, ...]]:
    """Shapes of all inputs or outputs: the package tells their number only by an IndexError."""
    shapes: list[tuple[int, ...]] = []
    try:
        while True:
            shapes.append(tuple(int(n) for n in details(len(shapes))["shape"]))
    except IndexError:
        return shapes
