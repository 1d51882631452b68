"""A ladder that is set up: both ends, what belongs to what, and which rungs there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantdiff.align.pairs import Pair
from quantdiff.explaining.account import Account, LayerAccount
from quantdiff.explaining.explanation import CURVES, EXACT, MECHANISMS, ROUNDING
from quantdiff.explaining.reference_end import ReferenceEnd
from quantdiff.explaining.sides import Sides
from quantdiff.explaining.targets import Ends
from quantdiff.graph import Model
from quantdiff.quant import Array, dequantize
from quantdiff.sim.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Ladder:
    """Everything that does not change from slice to slice."""

    end: ReferenceEnd
    sides: Sides
    model: Model
    runtime: Runtime
    ends: Ends
    pairs: Mapping[str, Pair]
    missing: tuple[str, ...]
    borrowed: tuple[str, ...]

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The rungs; without the simulator's where it lacks an operator."""
        return tuple(m for m in MECHANISMS if not (self.missing and m in (EXACT, CURVES, ROUNDING)))

    def force(self, values: Mapping[int, Array]) -> dict[str, Array]:
        """A runtime's values of every layer that is paired, in real units."""
        tensors = {name: self.model.main.tensors[pair.tensor] for name, pair in self.pairs.items()}
        return {n: dequantize(values[t.index], t.quant) for n, t in tensors.items() if t.quant is not None}


@dataclass(slots=True)
class Sums:
    """What is added up while the data pass by."""

    outputs: Account
    layers: dict[str, LayerAccount]
    closed_reference: bool = True
    closed_candidate: bool = True
    changed: int = 0
    samples: int = 0
    simulated: int = 0
