"""How often elements come out a step off, and what such flips do behind a sum of products."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from quantdiff.quant import Array

erf = np.vectorize(math.erf, otypes=[np.float64])
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


def moved_each(up: Array, down: Array, jumps: Array) -> tuple[Array, Array]:
    """``moved`` without a residue, for every event. Shapes: up, down (events, taps) -> (events, channels) each."""
    rate = (up + down).sum(axis=1, keepdims=True)
    safe = np.where(rate > 0, rate, 1)
    none, one = np.exp(-rate), rate * np.exp(-rate)
    higher = one * ((up / safe) @ np.clip(jumps, 0, 1) + (down / safe) @ np.clip(-jumps, 0, 1))
    lower = one * ((up / safe) @ np.clip(-jumps, 0, 1) + (down / safe) @ np.clip(jumps, 0, 1))
    more = np.maximum(1 - none - one, 0)
    count = np.where(more > 0, (rate - one) / np.where(more > 0, more, 1), 0)
    mean = count * ((up - down) / safe) @ jumps
    spread = np.sqrt(count * ((up + down) / safe) @ np.square(jumps))
    higher, lower = higher + more * positive_part(mean, spread), lower + more * positive_part(-mean, spread)
    return np.minimum(higher, 1), np.minimum(lower, 1)


def moved(residue: Array, up: Array, down: Array, jumps: Array) -> tuple[Array, Array]:
    """Share of roundings that a shift carries over to the next step, upwards and downwards.

    ``E max(Δ, 0)`` and ``E max(-Δ, 0)`` of ``Δ = residue + Σ ± jump``, of none, one or more flips among the taps:
    the first two summed exactly, the rest as a normal distribution. Shapes: residue (channels,), up and down (taps,),
    jumps (taps, channels) -> (channels,) each.
    """
    rate = float(up.sum() + down.sum())
    none, one = math.exp(-rate), rate * math.exp(-rate)
    higher, lower = none * np.maximum(residue, 0), none * np.maximum(-residue, 0)
    if rate == 0:
        return higher, lower
    for weight, sign in ((up / rate, 1.0), (down / rate, -1.0)):
        shift = residue + sign * jumps
        higher = higher + one * weight @ np.clip(shift, 0, 1)
        lower = lower + one * weight @ np.clip(-shift, 0, 1)
    more = 1 - none - one
    if more > 0:
        count = (rate - one) / more
        mean = residue + count * ((up - down) / rate) @ jumps
        spread = np.sqrt(count * ((up + down) / rate) @ np.square(jumps))
        higher, lower = higher + more * positive_part(mean, spread), lower + more * positive_part(-mean, spread)
    return np.minimum(higher, 1), np.minimum(lower, 1)


def positive_part(mean: Array, spread: Array) -> Array:
    """``E max(x, 0)`` of a normal distribution; shapes broadcast."""
    safe = np.maximum(spread, 1e-300)
    z = mean / safe
    density = safe * np.exp(-np.minimum(z * z, 1400) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(mean * 0.5 * (1 + erf(z / math.sqrt(2))) + density)
