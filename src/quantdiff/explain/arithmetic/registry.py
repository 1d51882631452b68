"""Which ops can be written out: each module of this folder registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from quantdiff.explain.working import Sheet
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

_KNOWN: dict[str, Arithmetic] = {}


def arithmetic(*ops: str) -> Callable[[Arithmetic], Arithmetic]:
    """Register a function ``(case, position in the output) -> Sheet`` for the ops named."""

    def register(function: Arithmetic) -> Arithmetic:
        _KNOWN.update(dict.fromkeys(ops, function))
        return function

    return register


@cache
def known() -> dict[str, Arithmetic]:
    """Every op that can be written out, after importing the whole folder once."""
    folder = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(folder).__path__):
        import_module(f"{folder}.{module.name}")
    return _KNOWN
