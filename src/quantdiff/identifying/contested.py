"""Ways to scale sums, held against a device at once: only the sums at which ways can differ go through every way.

A way differs from ``acc * scale`` in doubles by less than ``reach``: multipliers keep 15 bits at least, and one that
rounds twice rounds first to ``2**shift`` steps. So ways that end alike agree wherever no half and no whole step lies
within that reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.rounding.exact_sums import POOL, clamp_behind, scales_of, zero_point_behind
from quantdiff.sim.rounding.fixed_point import quantize_multiplier
from quantdiff.sim.rounding.scaling import AFTER, DIVISION, ENDINGS, MULTIPLIERS, SHIFTING, Way, scale_sums, usual_scale

RELATIVE = 2.0**-13
"""More than any multiplier loses, as a share of the scaled sum."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """What the sums of an operator are multiplied by, what is added, and the bounds; ``ways`` is every way once."""

    scales: Mapping[str, Array]
    zero_point: int
    clamp: tuple[int, int]
    ways: tuple[Way, ...]


def scaled_by(node: Node) -> Scaled:
    """The same of one operator.

    Raises:
        NoKernel: its scales depend on more than the file says.
    """
    scales, zero_point = scales_of(node), zero_point_behind(node)
    ways = tuple(_distinct(scales, divides=node.operator.op == POOL, moved=zero_point != 0))
    return Scaled(scales, zero_point, clamp_behind(node), ways)


def ways_of(acc: Array, theirs: Array, scaled: Scaled) -> dict[str, tuple[int, int, int]]:
    """By way: elements that the device gives otherwise, the first of them in the flat array, and what the way gives.

    Shapes: acc and theirs alike.
    """
    sums, device = acc.reshape(-1), theirs.reshape(-1).astype(np.int64)
    wide = np.broadcast_to(scaled.scales["double"], acc.shape).reshape(-1)
    near = contested(sums, wide, scaled)
    places = np.flatnonzero(near)
    plain = {
        family: _agreed(sums * wide, family, scaled) for family in ("half", "floor", "truncate", "truncate" + AFTER)
    }
    wrong = {family: (y != device) & ~near for family, y in plain.items()}
    counts = {family: int(np.count_nonzero(each)) for family, each in wrong.items()}
    firsts = {family: int(np.argmax(each)) if counts[family] else device.size for family, each in wrong.items()}
    some, index = sums[places], {name: _chosen(scale, acc.shape, places) for name, scale in scaled.scales.items()}
    found = {}
    for way in scaled.ways:
        family = _family(way.ending)
        try:
            mine = scale_sums(some, index[way.scale], way, scaled.zero_point).clip(*scaled.clamp)
        except NoKernel:
            continue
        apart = mine != device[places]
        count = counts[family] + int(np.count_nonzero(apart))
        at, value = firsts[family], int(plain[family][firsts[family]]) if counts[family] else 0
        if apart.any() and places[k := int(np.argmax(apart))] < at:
            at, value = int(places[k]), int(mine[k])
        found[way.name] = (count, at, value)
    return found


def contested(sums: Array, scale: Array, scaled: Scaled) -> Array:
    """Whether ways may differ at these sums. Shapes: all (n,)."""
    t = sums * scale
    _, shift = quantize_multiplier(scaled.scales["double"])
    least = float(np.max(np.exp2(shift.astype(np.float64)), initial=0.0))
    reach = np.abs(t) * RELATIVE + least
    low, high = (bound - scaled.zero_point for bound in scaled.clamp)
    inside = (t > low - 2 - reach) & (t < high + 2 + reach)
    return np.asarray(inside & (np.abs(2 * t - np.rint(2 * t)) <= 2 * reach))


def _distinct(scales: Mapping[str, Array], *, divides: bool, moved: bool) -> Iterator[Way]:
    """Every way once: multipliers that are the same numbers, and endings that no zero point moves, count once."""
    seen = set()
    for multiplier in MULTIPLIERS:
        if multiplier == DIVISION and not divides:
            continue
        usual = usual_scale(multiplier)
        for scale in (usual, *(name for name in scales if name != usual and multiplier != DIVISION)):
            key = multiplier, _effective(multiplier, scales[scale])
            if key not in seen:
                seen.add(key)
                yield from (Way(multiplier, ending, scale) for ending in ENDINGS)
                if moved:
                    yield from (Way(multiplier, ending + AFTER, scale) for ending in SHIFTING)


def _effective(multiplier: str, scale: Array) -> bytes:
    """What a multiplier keeps of a scale."""
    if multiplier in ("float32", "float64"):
        return np.asarray(scale).astype(multiplier).tobytes()
    mantissa, shift = quantize_multiplier(scale)
    return mantissa.tobytes() + shift.tobytes()


def _chosen(scale: Array, shape: tuple[int, ...], places: Array) -> Array:
    return np.broadcast_to(scale, shape).reshape(-1)[places]


def _family(ending: str) -> str:
    return "half" if ending.startswith("half") else ending


def _agreed(t: Array, family: str, scaled: Scaled) -> Array:
    """What all ways of a family give where they agree."""
    z = scaled.zero_point
    if family == "half":
        y = np.floor(t + 0.5) + z
    elif family == "floor":
        y = np.floor(t) + z
    else:
        y = np.trunc(t + z) if family.endswith(AFTER) else np.trunc(t) + z
    return y.clip(*scaled.clamp).astype(np.int64)
