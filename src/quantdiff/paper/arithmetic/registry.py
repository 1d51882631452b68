"""Which ops can be written out: each module of this folder registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quantdiff.lazy import Registry
from quantdiff.paper.working import Sheet
from quantdiff.quant import Array
from quantdiff.sim.node import Node
from quantdiff.sim.runtime import Runtime

Position = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """An operator with its input arrays of one sample, and the runtime whose kernel runs."""

    node: Node
    arrays: Sequence[Array | None]
    runtime: Runtime

    def array(self, position: int) -> Array:
        """The input at ``position``, which must be there."""
        self.node.at(position)
        array = self.arrays[position]
        assert array is not None
        return array

    def optional(self, position: int) -> Array | None:
        """The input at ``position``, None where it is left out."""
        return self.arrays[position] if position < len(self.arrays) else None


Arithmetic = Callable[[Case, Position], Sheet]

ARITHMETIC: Registry[Arithmetic] = Registry("quantdiff.paper.arithmetic")


def arithmetic(*ops: str) -> Callable[[Arithmetic], Arithmetic]:
    """Register a function ``(case, position in the output) -> Sheet`` for the ops named."""

    def register(function: Arithmetic) -> Arithmetic:
        for op in ops:
            ARITHMETIC.add(op, function)
        return function

    return register


def known() -> Mapping[str, Arithmetic]:
    """Every op that can be written out."""
    return ARITHMETIC.load()
