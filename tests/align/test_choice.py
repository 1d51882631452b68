"""Which pairs are made, on flows written by hand with values of their own."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.align.alignment import Match, Sample, sample
from quantdiff.align.choice import choose_matches, distances_between, explained
from quantdiff.graph import Tensor
from quantdiff.quant import Array, Grid, QuantParams, quantize
from quantdiff.recording import Flow, FlowValue

DICE = np.random.default_rng(1)
A, B, C = (DICE.normal(size=(20, 8)).astype(np.float32) for _ in range(3))

Row = tuple[str, tuple[int, ...], Array]


def flow(*rows: Row) -> tuple[Flow, dict[int, Sample]]:
    places = tuple(FlowValue(i, name, "Op", feeds) for i, (name, feeds, _) in enumerate(rows))
    return Flow("x", places, (0,), (len(rows) - 1,)), {
        p.key: sample(p, r[2]) for p, r in zip(places, rows, strict=True)
    }


def pairs(
    ours: tuple[Row, ...], theirs: tuple[Row, ...], placed: dict[tuple[int, int], str] | None = None
) -> list[tuple[str, str, str]]:
    (reference, mine), (candidate, other) = flow(*ours), flow(*theirs)
    found = choose_matches(reference, candidate, distances_between(mine, other), placed or {})
    return [(ours[m.reference][0], theirs[m.candidate][0], m.confirmed) for m in found]


def noisy(x: Array, size: float = 0.02) -> Array:
    return (x + DICE.normal(0, size, x.shape)).astype(np.float32)


def test_names_do_not_help_where_values_differ() -> None:
    ours = (("in", (), A), ("dense", (0,), B), ("end", (1,), C))
    theirs = (("in", (), noisy(A)), ("dense", (0,), noisy(C)), ("model/other/MatMul", (1,), noisy(B)))
    found = {a: (b, why) for a, b, why in pairs(ours, theirs)}
    assert found["dense"] == ("model/other/MatMul", "values")
    assert "end" not in found  # it would cross: its values come before those of dense there


def test_a_near_value_does_not_win_over_the_nearest() -> None:
    step = noisy(A, 0.1)  # as the sums of a residual network: like the one before
    ours = (("in", (), A), ("add", (0,), step))
    theirs = (("in", (), noisy(A, 0.005)), ("sum", (0,), noisy(step, 0.005)))
    assert pairs(ours, theirs) == [("in", "in", "values"), ("add", "sum", "values")]


def test_a_name_does_not_help_a_value_that_is_clearly_farther() -> None:
    step = noisy(A, 0.1)
    ours = (("in", (), A), ("add", (0,), step), ("end", (1,), B))
    theirs = (
        ("in", (), noisy(A, 0.005)),
        ("m/add/Add", (0,), noisy(A, 0.005)),
        ("17", (1,), noisy(step, 0.005)),
        ("z", (2,), B),
    )
    assert ("add", "17", "values") in pairs(ours, theirs)


def test_equal_values_go_by_name_then_by_order() -> None:
    theirs: tuple[Row, ...]
    ours = (("in", (), A), ("x", (0,), B), ("drop", (1,), B), ("flat", (2,), B))
    theirs = (("in", (), A), ("m/x/Relu", (0,), B), ("m/flat/Reshape", (1,), B))
    assert pairs(ours, theirs)[1:] == [("x", "m/x/Relu", "values"), ("flat", "m/flat/Reshape", "values")]
    theirs = (("in", (), A), ("17", (0,), B), ("18", (1,), B), ("19", (2,), C))
    assert [pair[:2] for pair in pairs(ours, theirs)[1:]] == [("x", "17"), ("drop", "18")]


def test_twins_go_by_name() -> None:
    ours = (("in", (), A), ("castor", (0,), B), ("pollux", (0,), B))
    theirs = (("in", (), A), ("m/pollux/Relu", (0,), B), ("m/castor/Relu", (0,), B))
    assert [pair[:2] for pair in pairs(ours, theirs)[1:]] == [("castor", "m/castor/Relu"), ("pollux", "m/pollux/Relu")]


def test_far_apart_a_name_makes_a_doubtful_pair_and_values_alone_none() -> None:
    ours = (("in", (), A), ("dense", (0,), B), ("end", (1,), C))
    theirs = (("in", (), A), ("m/dense/MatMul", (0,), noisy(B, 0.5)), ("z", (1,), noisy(C, 0.1)))
    assert pairs(ours, theirs)[1] == ("dense", "m/dense/MatMul", "doubtful")
    theirs = (("in", (), A), ("y", (0,), noisy(B, 0.5)), ("z", (1,), noisy(C, 0.1)))
    assert [pair[0] for pair in pairs(ours, theirs)] == ["in", "end"]


def test_a_constant_needs_a_name() -> None:
    zero = np.zeros_like(A)
    ours = (("in", (), A), ("dead", (0,), zero), ("end", (1,), B))
    for name, found in (("m/dead/Relu", True), ("y", False)):
        theirs = (("in", (), A), (name, (0,), zero), ("z", (1,), B))
        assert (("dead", name, "flat") in pairs(ours, theirs)) == found


def test_an_input_belongs_to_the_input_whatever_else_has_its_values() -> None:
    ours = (("ids", (), A), ("dense", (0,), B))
    theirs = (("x", (), A), ("ids/copy", (0,), A), ("y", (1,), B))
    assert pairs(ours, theirs)[0][:2] == ("ids", "ids/copy")
    assert pairs(ours, theirs, {(0, 0): "input"})[0][:2] == ("ids", "x")


def test_an_output_far_from_the_others_is_a_doubtful_match_by_its_place() -> None:
    ours = (("in", (), A), ("end", (0,), B))
    theirs = (("in", (), A), ("y", (0,), noisy(B, 3.0)))
    assert [each[0] for each in pairs(ours, theirs)] == ["in"]
    assert pairs(ours, theirs, {(1, 1): "output"})[1] == ("end", "y", "doubtful")


def test_of_two_that_agree_within_the_grid_the_nearer_beyond_it_is_the_partner() -> None:
    """A sum and what a ReLU makes of it are the same on a grid that begins at 0."""
    grid = Grid(QuantParams((0.01,), (-128,)), "int8", "y")
    places = FlowValue(0, "sum", "Op", ()), FlowValue(1, "act", "Op", (0,))
    out = FlowValue(0, "y", "Op", (), grid.params, grid)
    sampled = {0: sample(places[0], B), 1: sample(places[1], np.maximum(B, 0))}
    integers = quantize(np.maximum(B, 0), grid.params, "int8")
    distances = distances_between(sampled, {0: sample(out, integers)})
    assert distances[0, 0].distance == distances[1, 0].distance
    flows = Flow("a", places, (0,), (1,)), Flow("b", (out,), (0,), (0,))
    assert [match.reference for match in choose_matches(*flows, distances, {})] == [1]


def test_a_match_knows_its_keys() -> None:
    assert Match(3, 5, "name", 0.0).keys == (3, 5)


@pytest.mark.parametrize(("feeds", "left"), [((1,), False), ((1, 0), True)], ids=["a constant", "two values"])
def test_one_end_of_a_clamp_hides_nothing(feeds: tuple[int, ...], left: bool) -> None:
    """A hard sigmoid becomes MINIMUM beside a constant and RELU, its slope goes into the layer in front."""
    mine = [FlowValue(1, "a", "FULLY_CONNECTED", (0,)), FlowValue(2, "b", "HARD_SIGMOID", (1,))]
    kernel = Tensor(9, "w", (1,), "float32", data=np.zeros(1, np.float32))
    dense = FlowValue(1, "dense", "FULLY_CONNECTED", (0,), kernel=kernel)
    other = [dense, FlowValue(2, "low", "MINIMUM", feeds), FlowValue(3, "high", "RELU", (2,))]
    assert explained(mine, other, kernels=True) == ({2} if left else {1, 2})
