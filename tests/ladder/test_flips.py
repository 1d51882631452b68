"""The closed form against drawn errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph, Tensor
from quantdiff.ladder.closed_form import Flips, free_share, moved, moved_each, of_largest, positive_part, through_sums
from quantdiff.load.tflite import load_tflite
from quantdiff.sim.node import node_of

DRAWN = 400_000


def test_a_residue_alone_moves_its_own_share() -> None:
    up, down = moved(np.array([0.1, -0.25, 0.0]), np.zeros(2), np.zeros(2), np.ones((2, 3)))
    assert up.tolist() == [0.1, 0, 0]
    assert down.tolist() == [0, 0.25, 0]


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.4])
def test_flips_of_inputs_against_drawn_ones(rate: float) -> None:
    rng = np.random.default_rng(0)
    taps = 12
    up, down, jumps = rng.uniform(0, rate, taps), rng.uniform(0, rate, taps), rng.normal(0, 0.2, (taps, 1))
    dice = rng.random((DRAWN, taps))
    errors = (dice < up).astype(int) - (dice > 1 - down)
    shift = 0.03 + errors @ jumps[:, 0]
    steps = np.floor(shift + rng.random(DRAWN))
    higher, lower = moved(np.array([0.03]), up, down, jumps)
    assert higher[0] == pytest.approx(np.mean(steps > 0), rel=0.1)
    assert lower[0] == pytest.approx(np.mean(steps < 0), rel=0.1)


def test_flips_that_come_together_are_fewer_than_independent_ones() -> None:
    """One flip moves ten units at once; behind the next layer their effects partly cancel."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 0.3, (4, 10)), rng.normal(0, 0.3, (10, 6))
    none, one = np.zeros(10), np.ones(10)
    given = Flips(np.full((1, 4), 0.002), np.full((1, 4), 0.002))
    middle = through_sums(given, (none, none), first, one)
    together = through_sums(middle, (np.zeros(6), np.zeros(6)), second, np.ones(6))
    apart = through_sums(middle.alone, (np.zeros(6), np.zeros(6)), second, np.ones(6))
    dice = rng.random((DRAWN * 5, 4))
    errors = (dice < 0.002).astype(int) - (dice > 0.998)
    hit = errors[errors.any(axis=1)]
    inner = np.floor(hit @ first + rng.random((len(hit), 10)))
    outer = np.floor(inner @ second + rng.random((len(hit), 6)))
    drawn = np.count_nonzero(outer) / (len(dice) * 6)
    assert together.share == pytest.approx(drawn, rel=0.08)
    assert apart.share > together.share * 1.1


def test_each_event_as_if_it_were_alone() -> None:
    rng = np.random.default_rng(2)
    up, down, jumps = rng.uniform(0, 0.3, (3, 5)), rng.uniform(0, 0.3, (3, 5)), rng.normal(0, 0.3, (5, 4))
    together = moved_each(up, down, jumps)
    for k in range(3):
        alone = moved(np.zeros(4), up[k], down[k], jumps)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[k], b)


def test_positive_part_of_a_normal_distribution() -> None:
    drawn = np.random.default_rng(3).normal(0.2, 0.5, DRAWN)
    assert positive_part(np.array(0.2), np.array(0.5)) == pytest.approx(np.maximum(drawn, 0).mean(), rel=0.01)
    assert positive_part(np.array(0.2), np.array(0.0)) == pytest.approx(0.2)


def test_constant_background_and_clipped_ends_are_not_free() -> None:
    graph = Graph("g", (Tensor(0, "t", (1, 2), "int8"),), (), (), ())
    histogram = np.zeros((2, 256), int)
    histogram[0, 100:110] = 10  # spread
    histogram[1, 0], histogram[1, 120], histogram[1, 121:131] = 50, 1010, 10  # clipped, background, spread
    free = free_share(graph, None, 0, histogram)
    assert free.tolist() == [1.0, pytest.approx((1010 - 1000 + 100) / 1160)]


def test_of_a_window_the_largest_is_seldom_clipped(tmp_path: Path) -> None:
    """What a ReLU clipped is clipped behind the pool too; of the rest there is more, and it flips as often."""
    shapes = (1, 4, 4, 2), (1, 4, 4, 2), (1, 2, 2, 2)
    tensors = [T(name, shape, scale=0.5, zero_point=-10) for name, shape in zip("xyz", shapes, strict=True)]
    window = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    operators = [
        Op("ADD", ["x", "x"], ["y"], {"fusedActivationFunction": 1}),
        Op("MAX_POOL_2D", ["y"], ["z"], window),
    ]
    (tmp_path / "pool.tflite").write_bytes(write_tflite(tensors, operators, ["x"], ["z"]))
    graph = load_tflite(tmp_path / "pool.tflite").main
    before, after = np.zeros((2, 256)), np.zeros((2, 256))
    before[:, 118], before[:, 120:140] = 800, 10  # zero, where the ReLU clips, and the rest
    after[:, 118], after[:, 120:140] = 400, 30
    after[1, 125] += 100  # the background of an image: constant, so that it seldom moves
    first, second = graph.operators
    shares = free_share(graph, first, 1, before), free_share(graph, second, 2, after)
    assert shares[0].tolist() == [0.2, 0.2]
    assert shares[1].tolist() == [0.6, pytest.approx(600 / 1100)]
    given = Flips(np.full(shapes[1], 0.002), np.zeros(shapes[1]))
    found = of_largest(node_of(graph, graph.operators[1]), given, shares)
    assert found.up[0, 0, 0].tolist() == pytest.approx([0.006, 0.01 * 600 / 1100])
    assert not found.down.any()
