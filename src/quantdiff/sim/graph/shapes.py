"""Shapes follow from the operators; those that a file stores are claims, which LiteRT replaces and TFLM believes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.sim.graph.simulator import Calls, simulate
from quantdiff.sim.runtime import Runtime

AT_MOST = 2**22
"""Elements of the inputs, beyond which a file is damaged or not to be simulated for its shapes."""
CALLS = 1000
"""Of the bodies of loops, after which nothing is told of what a loop gives."""
PRODUCTS = 2**31
"""Which take two seconds, after which nothing more is told."""


@dataclass(frozen=True, slots=True)
class FalseShape:
    """What an operator makes, and the tensor of the file that says otherwise."""

    operator: Operator
    tensor: Tensor
    made: tuple[int, ...]

    @property
    def left_open(self) -> bool:
        """Whether the file says beside the shape that its sizes are not known yet (-1 in the signature)."""
        claimed = self.tensor.shape_signature or self.tensor.shape
        return len(claimed) == len(self.made) and all(a in (-1, b) for a, b in zip(claimed, self.made, strict=True))

    @property
    def text(self) -> str:
        """In words, the names left out."""
        return f"the file stores the shape {list(self.tensor.shape)} for what has {list(self.made)}"


def false_shapes(graph: Graph, subgraphs: Sequence[Graph] = ()) -> Iterator[FalseShape]:
    """Stored shapes that the operators contradict for an input of zeros at the sizes of the file.

    Nothing is told of operators that cannot be simulated, of those behind them, and of what takes much memory or time.
    """
    if any(i < 0 for indices in (graph.inputs, *(op.outputs for op in graph.operators)) for i in indices):
        return  # left out: no file that runs
    if any(size < 0 for i in graph.inputs for size in graph.tensors[i].shape) or _elements(graph) > AT_MOST:
        return
    try:
        inputs = [np.zeros((1, *graph.tensors[i].shape), _numeric(graph.tensors[i])) for i in graph.inputs]
        chain = simulate(graph, inputs, Runtime.REFERENCE, subgraphs, Calls(CALLS, products=PRODUCTS))
    except MemoryError:
        return
    for operator in graph.operators:
        for index in operator.outputs:
            if index in chain.values and chain.values[index].shape[1:] != graph.tensors[index].shape:
                yield FalseShape(operator, graph.tensors[index], chain.values[index].shape[1:])


def _elements(graph: Graph) -> int:
    """How many, at most: NumPy refuses huge sizes beside one of 0 as well."""
    return sum(prod(max(1, size) for size in graph.tensors[i].shape) for i in graph.inputs)


def _numeric(tensor: Tensor) -> str:
    return tensor.dtype if tensor.dtype in np.sctypeDict else "int8"
