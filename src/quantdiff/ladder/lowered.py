"""A reference as a float graph of TFLite operators; where it rounds itself, QUANTIZE and DEQUANTIZE say how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantdiff.graph import Operator
from quantdiff.ladder.real_graph import Grid, RealGraph
from quantdiff.ops import CLAMPS, INTO_FLOAT, INTO_INTEGERS

RECODES = (INTO_INTEGERS, INTO_FLOAT)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph whose QUANTIZE and DEQUANTIZE are seen through.

    ``source``: by the output of such an operator the tensor that it restates. ``grids``: by tensor the grid that the
    reference puts it on.
    """

    real: RealGraph
    source: Mapping[int, int]
    grids: Mapping[int, Grid]

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Those that compute something."""
        return tuple(op for op in self.real.operators if op.op not in RECODES)

    def of(self, tensor: int) -> int:
        """The tensor before all restating."""
        while tensor in self.source:
            tensor = self.source[tensor]
        return tensor

    def clamp_behind(self, tensor: int, activation: str) -> int | None:
        """The output of the activation that alone reads a tensor: what a converter may fuse; None for others."""
        names = {tensor, *(i for i in self.source if self.of(i) == tensor)}
        readers = [op for i in names for op in self.real.graph.readers(i) if op.op not in RECODES]
        fits = len(readers) == 1 and readers[0].op in CLAMPS and readers[0].op == activation
        return readers[0].outputs[0] if fits else None


def lowered(real: RealGraph) -> Lowered:
    """See through the operators that only restate; a graph of integers has a grid at every tensor."""
    source = {op.outputs[0]: op.inputs[0] for op in real.operators if op.op in RECODES}
    found = Lowered(real, source, {})
    grids: dict[int, Grid] = {}
    for tensor, grid in real.grids.items():
        if tensor not in real.copies:
            grids.setdefault(found.of(tensor), grid)
    return Lowered(real, source, grids)
