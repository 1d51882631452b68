"""Half way between two steps both are nearest: there the runtime rounds by its rule, and its kernel makes no error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_pairs import Node, convolutional, write_pair

from quantdiff import api
from quantdiff.ladder.explanation import KERNEL, STEPS
from quantdiff.ladder.frontier import as_near
from quantdiff.ladder.real_graph import Grid

POOL = {"padding": 1, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2, "fusedActivationFunction": 0}


@pytest.mark.golden
def test_means_of_four_are_rounded_not_wrong(tmp_path: Path) -> None:
    net = convolutional()
    first, second, mean, head = net.nodes
    pool = Node("AVERAGE_POOL_2D", ["h1"], "p", (1, 3, 3, 6), POOL, shared="h1")
    pooled = replace(second, inputs=["p"], shape=(1, 3, 3, 6))
    net = replace(net, nodes=[first, pool, pooled, mean, head])
    files = write_pair(tmp_path, net)
    (found,) = api.explain(files.reference, files.candidate, files.batch, api.Settings(runtimes=("reference",))).found
    assert found.frontier is not None
    assert found.frontier.closes < 1e-9
    assert found.closed_candidate
    of_pool = {item.mechanism: item for item in found.frontier.items if item.op == "AVERAGE_POOL_2D"}
    assert of_pool[STEPS].power > 0.01
    assert KERNEL not in of_pool or of_pool[KERNEL].power < 1e-6 * of_pool[STEPS].power
    assert found.frontier.without, "tried"
    assert all(count >= 0 for count in found.frontier.without.values())  # with all mechanisms it is the runtime


def test_pixels_half_way_between_two_steps_are_no_error_of_quantize() -> None:
    """``k / 255`` on a grid of 2 / 255: dividing, or multiplying by the inverse, is no error."""
    grid = Grid(float(np.float32(2 / 255)), -128, -128, 127, single=True)
    pixels = (np.arange(256) / 255).astype(np.float32)
    by_inverse = np.rint(pixels * (np.float32(1) / np.float32(grid.scale))).astype(np.float64) * grid.scale
    real = pixels.astype(np.float64)
    rounded = grid.rounded(real)
    assert (rounded != by_inverse).any()
    np.testing.assert_array_equal(as_near(grid, real, rounded, by_inverse), by_inverse)
    wrong = by_inverse + grid.scale
    assert (as_near(grid, real, rounded, wrong) != wrong).sum() > 120
