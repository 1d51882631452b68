"""Every way to scale a sum against the same in exact fractions, and the letters against the rules of the runtimes."""

from __future__ import annotations

import numpy as np
import pytest
from scalar_rules import DEVICES

from quantdiff.sim.node import NoKernel
from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.rounding.scaling import MULTIPLIERS, Way, all_endings, scale_sums, usual_scale, way_named

SCALES = (0.5, 0.25, 0.0123, 0.000977, 0.75, 1.5, 3 * 2.0**-12, float(np.float32(0.00371)))
EDGES = [  # sum, scale, way, want
    (1, 0.5, "S", 1),
    (-1, 0.5, "S", 0),
    (-1, 0.5, "int32 half-away", -1),
    (1, 0.5, "int32 half-even", 0),
    (3, 0.5, "int32 half-even", 2),
    (-1, 0.25, "int32 floor", -1),
    (-1, 0.25, "int32 truncate", 0),
    (-7, 0.25, "float64 truncate", -1),
    (-6, 0.25, "G", -2),
    (-6, 0.25, "R", -1),
]


@pytest.mark.parametrize(("total", "scale", "name", "want"), EDGES)
def test_edges(total: int, scale: float, name: str, want: int) -> None:
    way = way_named(name)
    assert way is not None
    assert scale_sums(np.asarray([total]), np.asarray(scale), way, 0).tolist() == [want]


@pytest.mark.parametrize("name", DEVICES)
def test_in_exact_fractions(name: str) -> None:
    totals = np.concatenate([np.arange(-40, 41), np.random.default_rng(0).integers(-30_000, 30_000, 300)])
    way = way_named(name)
    assert way is not None
    assert way.name == name
    for scale in SCALES:
        given = float(np.float32(scale)) if way.multiplier == "float32" else scale
        want = [DEVICES[name](int(total), given) + 5 for total in totals]
        assert scale_sums(totals, np.asarray(given), way, 5).tolist() == want


@pytest.mark.parametrize("rounding", [r for r in Rounding if way_named(r.value)])
def test_letters_are_the_rules_of_the_runtimes(rounding: Rounding) -> None:
    totals = np.random.default_rng(1).integers(-(2**20), 2**20, 20_000)
    way = way_named(rounding.value)
    assert way is not None
    for scale in SCALES:
        assert np.array_equal(scale_sums(totals, np.asarray(scale), way, 0), requantize(totals, scale, rounding))


def test_a_zero_point_before_the_ending() -> None:
    way = way_named("int32 truncate-after-zero-point")
    assert way is not None
    assert scale_sums(np.asarray([-7, 7]), np.asarray(0.25), way, 1).tolist() == [0, 2]  # -0.75 and 2.75


@pytest.mark.parametrize("total", range(-7, 8))
def test_a_division(total: int) -> None:
    want = {"half-away": round(total / 4 + 1e-9 * np.sign(total)), "floor": total // 4, "half-even": round(total / 4)}
    for ending, value in want.items():
        way = Way("division", ending, "double")
        assert scale_sums(np.asarray([total]), np.asarray(0.25), way, 0).tolist() == [value]


def test_a_larger_sum_never_gives_less() -> None:
    totals = np.arange(-3000, 3000)
    for multiplier in MULTIPLIERS:
        for ending in all_endings():
            if multiplier != "division" or "after" not in ending:
                way = Way(multiplier, ending, usual_scale(multiplier))
                steps = scale_sums(totals, np.asarray(0.0371 if multiplier != "division" else 1 / 27), way, -3)
                assert np.all(np.diff(steps) >= 0)
                assert way_named(way.name) == way


def test_more_than_32_bits_are_refused() -> None:
    way = way_named("S")
    assert way is not None
    with pytest.raises(NoKernel, match="32 bits"):
        scale_sums(np.asarray([2**31]), np.asarray(0.5), way, 0)
