"""The search: a net whose worst input is known, boxes that are kept, and what a real runtime says of the finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from float_pairs import Net, Node, write_pair

from quantdiff.cli import main
from quantdiff.errors import BadData
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, QuantParams, Trace, Value
from quantdiff.search.worst import Box, Space, climb, errors_of, errors_within, margins_of, on_the_way, summits
from quantdiff.testing import assert_parity

KERNEL = np.array([[1.0, -0.5, 0.25], [0.1, 0.1, 0.1]], np.float32)


def test_a_linear_function_is_climbed_to_its_corner() -> None:
    slope = np.random.default_rng(0).normal(size=300)
    box = Box(np.full(300, -1, np.float32), np.full(300, 2, np.float32))
    start = np.zeros(300, np.float32)
    path = [*climb(lambda x: x @ slope, start, box, np.inf, np.random.default_rng(1))]
    assert [height for _, height in path] == sorted(height for _, height in path)
    point, height = path[-1]
    assert np.array_equal(point, np.where(slope > 0, 2, -1))
    assert height == pytest.approx(np.where(slope > 0, 2 * slope, -slope).sum())


def test_a_search_has_an_end() -> None:
    asked: list[int] = []

    def score(x: Array) -> Array:
        asked.append(len(x))
        return np.zeros(len(x))

    box = Box(np.zeros(4, np.float32), np.ones(4, np.float32))
    assert len([*climb(score, np.zeros(4, np.float32), box, -np.inf, np.random.default_rng(1))]) == 1
    assert asked == [1]


def test_the_best_so_far_is_kept() -> None:
    batch, asked = Batch({"a": np.zeros((1, 2), np.float32)}), list[int]()

    def both(some: Batch) -> tuple[Trace, Trace]:
        asked.append(len(some))
        if len(asked) == 5:
            raise KeyboardInterrupt
        return traces(some.arrays["a"], np.zeros_like(some.arrays["a"]))

    def height(pair: tuple[Trace, Trace]) -> Array:
        return np.asarray(pair[0].outputs[0].array.sum(axis=1), np.float64)

    found = summits(both, height, space := Space(batch, ((0.0, 1.0),)), space.starts([0]), 60)
    assert (found.interrupted, found.batch.arrays["a"].tolist()) == (True, [[1.0, 1.0]])


def traces(ours: Array, theirs: Array) -> tuple[Trace, Trace]:
    return Trace("float", (Value("y", ours),)), Trace("tflite:xnnpack", (Value("y", theirs),))


def test_the_margin_is_how_surely_both_decide_otherwise() -> None:
    ours = np.array([[5.0, 1.0, 0.0], [5.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    theirs = np.array([[4.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.5]])
    assert margins_of(traces(ours, theirs)) == pytest.approx([-3.0, 3.0, 0.5])
    assert margins_of(traces(ours[:, :1], theirs[:, :1])) is None


def test_points_stay_near_their_sample_and_what_counts_stays_as_it_is() -> None:
    batch = Batch({"a": np.array([[0.0, 0.9]], np.float32), "token": np.array([[7]], np.int32)})
    space = Space(batch, ((0.0, 1.0), None), near=0.25)

    def both(some: Batch) -> tuple[Trace, Trace]:
        assert (some.arrays["token"] == 7).all()
        return traces(some.arrays["a"], np.zeros_like(some.arrays["a"]))

    def height(pair: tuple[Trace, Trace]) -> Array:
        return np.asarray(pair[0].outputs[0].array.sum(axis=1), np.float64)

    found = summits(both, height, space, space.starts([0]), 5)
    assert found.batch.arrays["a"].tolist() == [[0.25, 1.0]]
    with pytest.raises(BadData, match="nothing to move"):
        Space(batch, (None, None))


def test_within_the_grid_the_reference_ends_where_the_file_ends() -> None:
    """It gives 4.9 and 0.3 where int8 of a hundredth ends at 1.27; the file gives 1.2 and 0.4."""
    grid = Grid(QuantParams((0.01,), (0,)), "int8", "y")
    file = Value("y", np.array([[120, 40]], np.int8), QuantParams((0.01,), (0,)), grid)
    both = Trace("float", (Value("y", np.array([[4.9, 0.3]])),)), Trace("tflite:xnnpack", (file,))
    assert errors_of(both) == pytest.approx([370])
    assert errors_within(both) == pytest.approx([10])


def test_the_way_to_a_summit_has_the_start_of_the_climb_within_the_grid() -> None:
    """The reference follows the input, the file lags behind by a tenth of it; beyond 1.27 both end."""
    grid = Grid(QuantParams((0.01,), (0,)), "int8", "y")

    def both(some: Batch) -> tuple[Trace, Trace]:
        x = np.asarray(some.arrays["a"], np.float64)
        file = np.rint(90 * x).clip(-128, 127).astype(np.int8)
        return Trace("float", (Value("y", x),)), Trace("tflite:xnnpack", (Value("y", file, grid.params, grid),))

    space = Space(Batch({"a": np.zeros((1, 1), np.float32)}), ((0.0, 6.3),))
    found = summits(both, errors_of, space, space.starts([0]), 5)
    assert found.batch.arrays["a"].tolist() == [[np.float32(6.3)]]
    (point,) = on_the_way(both, space, found).values()
    assert point == pytest.approx(1.2)  # of 64 points; the next one lies behind 1.27
    again = summits(both, errors_within, space, {0: point}, 5)
    assert again.heights[0] > 12


@pytest.mark.golden
def test_the_worst_input_of_a_linear_net(tmp_path: Path) -> None:
    """The reference reaches 1.75 at a corner that no sample comes near, the file's output ends at 0.5."""
    data = np.random.default_rng(0).uniform(-0.2, 0.2, (8, 3)).astype(np.float32)
    data[0] = 1  # the least and the most of the data are the range
    data[1] = -1
    node = Node("FULLY_CONNECTED", ["x"], "y", (1, 2), {}, KERNEL, np.zeros(2, np.float32))
    net = Net({"x": (1, 3)}, [node], {"x": data})
    pair = write_pair(tmp_path, net, {"x": (-1.0, 1.0), "y": (-0.5, 0.5)})
    np.savez(tmp_path / "x.npz", x=data)
    words = ["worst", str(pair.reference), str(pair.candidate), "--data", str(tmp_path / "x.npz"), "--for", "1s"]
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "worst.npz"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    with np.load(tmp_path / "worst.npz") as saved:
        first = saved["x"][0]
    assert np.abs(first).tolist() == [1, 1, 1]
    assert np.array_equal(np.sign(first), np.sign(first[0]) * np.sign(KERNEL[0]))
    assert told["max_abs_error"] == pytest.approx(1.25, abs=0.01)
    assert told["known_max_abs_error"] < 0.3
    assert told["steps"] > 300
    assert told["max_steps"] < 3  # both outputs are at the end of the grid
    step = 1 / 255
    assert told["within"] == max(each["within"] for each in told["inputs"])
    assert told["known_within"] <= told["within"] < told["bound"]["unclipped"] + step / 2
    assert told["within"] / step > 1  # of 0.5 each for output and input, and a little for the weights
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "worst.npz")])
    assert f"diff counts {told['max_steps']} of these steps, since the output's grid ends there" in done.stdout
    assert "\nwithin its grid 0.0" in done.stdout
    assert told["max_abs_error"] <= told["bound"]["max_abs_error"]
    assert 1 <= told["bound"]["looseness"] < 1.05
    assert [each["max_abs_error"] for each in told["inputs"]] == sorted(
        (each["max_abs_error"] for each in told["inputs"]), reverse=True
    )
    with pytest.raises(AssertionError, match=r"max_abs_error is 1\.25196, at most 1 allowed"):
        assert_parity(pair.reference, pair.candidate, tmp_path / "worst.npz", max_abs_error=1)
