"""How often elements come out a step off, and what such flips do behind a sum of products."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.real.curves import erf

SURE, NEGLIGIBLE, FAR = 1 - 1e-9, 1e-12, 30.0
LARGEST = 2**24
"""Numbers that the chains of one tensor may take; beyond that they count as flips of their own."""


def nothing(size: int) -> Array:
    """No chains over ``size`` elements."""
    return np.zeros((0, size))


@dataclass(frozen=True, slots=True)
class Flips:
    """How often an element comes out a step higher, and a step lower, than in the reference.

    ``up`` and ``down``, in the tensor's shape, are flips that come alone. ``rate`` (events,) are those of earlier
    flips, each of which makes several elements flip together: ``chain_up`` and ``chain_down`` (events, elements) say
    how likely where it happened.
    """

    up: Array
    down: Array
    rate: Array = field(default_factory=lambda: np.zeros(0))
    chain_up: Array | None = None
    chain_down: Array | None = None

    @property
    def chains(self) -> tuple[Array, Array]:
        """Up and down, (events, elements)."""
        none = nothing(self.up.size)
        return none if self.chain_up is None else self.chain_up, none if self.chain_down is None else self.chain_down

    @property
    def alone(self) -> Flips:
        """The same shares per element, with what flips together taken as independent."""
        up, down = (self.rate @ chain for chain in self.chains)
        return Flips(
            np.minimum(self.up + up.reshape(self.up.shape), 1), np.minimum(self.down + down.reshape(self.up.shape), 1)
        )

    @property
    def share(self) -> float:
        """Share of all elements that flip."""
        whole = self.alone
        return float(np.minimum(whole.up + whole.down, 1).mean())

    def reshaped(self, shape: tuple[int, ...]) -> Flips:
        """The same elements in another shape."""
        return Flips(self.up.reshape(shape), self.down.reshape(shape), self.rate, self.chain_up, self.chain_down)


def through_sums(given: Flips, own: tuple[Array, Array], jumps: Array, inside: Array) -> Flips:
    """Behind a dense layer: flips of its own, and each flip that arrives as one event that moves every unit at once.

    Shapes: own (units,) upwards and downwards, jumps (elements, units) in steps, inside (units,) the share of outputs
    that nothing clips.
    """
    up, down = given.up.ravel(), given.down.ravel()
    higher, lower = np.clip(jumps, 0, 1) * inside, np.clip(-jumps, 0, 1) * inside
    behind = moved_each(*given.chains, jumps)
    rate = np.concatenate([up, down, given.rate])
    chains = np.concatenate([higher, lower, behind[0] * inside]), np.concatenate([lower, higher, behind[1] * inside])
    likely = rate > 0
    found = Flips(own[0] * inside, own[1] * inside, rate[likely], chains[0][likely], chains[1][likely])
    return found if likely.sum() * inside.size <= LARGEST else found.alone


def moved(residue: Array, up: Array, down: Array, jumps: Array) -> tuple[Array, Array]:
    """Share of roundings that a shift carries over to the next step, upwards and downwards.

    ``E max(Δ, 0)`` and ``E max(-Δ, 0)`` of ``Δ = residue + Σ ± jump``, each tap flipping by itself. Shapes: residue
    (channels,), up and down (taps,), jumps (taps, channels) -> (channels,) each.
    """
    higher, lower = moved_each(up[None], down[None], jumps, residue)
    return higher[0], lower[0]


def moved_each(up: Array, down: Array, jumps: Array, residue: Array | float = 0.0) -> tuple[Array, Array]:
    """The same for several events. Shapes: up, down (events, taps) -> (events, channels) each.

    No flip and one flip are summed exactly; more of them count as normal with the mean and the spread that are left.
    """
    any_ = np.minimum(up + down, SURE)
    none = np.prod(1 - any_, axis=1, keepdims=True)
    rise, fall = (none * p / (1 - any_) for p in (up, down))  # this one, and no other
    shifts = residue + jumps, residue - jumps
    higher = none * np.maximum(residue, 0) + rise @ np.clip(shifts[0], 0, 1) + fall @ np.clip(shifts[1], 0, 1)
    lower = none * np.maximum(-residue, 0) + rise @ np.clip(-shifts[0], 0, 1) + fall @ np.clip(-shifts[1], 0, 1)
    more = np.maximum(1 - none - (rise + fall).sum(axis=1, keepdims=True), 0)
    scale = np.where(more > NEGLIGIBLE, more, 1)
    squares, mean = np.square(jumps), (up - down) @ jumps
    square = np.square(mean) + (up + down - np.square(up - down)) @ squares
    mean, square = (mean - (rise - fall) @ jumps) / scale, (square - (rise + fall) @ squares) / scale
    spread = np.sqrt(np.maximum(square - np.square(mean), 0))
    weight = np.where(more > NEGLIGIBLE, more, 0)
    higher = higher + weight * positive_part(residue + mean, spread)
    lower = lower + weight * positive_part(-residue - mean, spread)
    return np.minimum(higher, 1), np.minimum(lower, 1)


def positive_part(mean: Array, spread: Array) -> Array:
    """``E max(x, 0)`` of a normal distribution; shapes broadcast."""
    z = np.clip(mean / np.maximum(spread, NEGLIGIBLE), -FAR, FAR)
    density = spread * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return np.asarray(mean * 0.5 * (1 + erf(z / math.sqrt(2))) + density)
