"""Comparisons of traces: integers on one grid, outputs paired, figures together and apart."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.align.alignment import pair_outputs
from quantdiff.compare.comparison import compare
from quantdiff.compare.conditions import parse
from quantdiff.compare.outcome import hold_together, judge, reasons
from quantdiff.errors import BadExpression, NotComparable
from quantdiff.quant import Array, Grid, QuantParams, Trace, Value

STEP = QuantParams((0.5,), (10,))
GRID = Grid(STEP, "int8", "y")


def integers(values: Array, name: str = "y", engine: str = "tflite:reference") -> Trace:
    return Trace(engine, (Value(name, values.astype(np.int8), STEP, GRID),))


def floats(*arrays: Array, names: tuple[str, ...] = ("y", "z"), engine: str = "qat") -> Trace:
    return Trace(engine, tuple(Value(n, a.astype(np.float32)) for n, a in zip(names, arrays, strict=False)))


def test_a_float_reference_is_counted_on_the_candidates_grid() -> None:
    reference = floats(np.array([[0.0, 0.25, 0.24, 70.0]]))  # → 10, 11 (a tie goes away from zero), 10, 127 (clipped)
    figures = compare(reference, integers(np.array([[10, 10, 10, 127]]))).figures
    assert (figures.count, figures.differing, figures.max_steps, figures.step) == (4, 1, 1, 0.5)
    assert figures.max_abs_error == 70 - 58.5
    assert figures.not_close == 0.75
    assert not figures.passed


def test_integers_of_two_scales_are_counted_on_the_candidates_grid() -> None:
    coarse = QuantParams((1.0,), (0,))
    reference = Trace("tflite:a", (Value("y", np.array([[1, 2]], np.int8), coarse, Grid(coarse, "int8", "y")),))
    figures = compare(reference, integers(np.array([[12, 13]]))).figures  # 1.0, 2.0 against 1.0, 1.5
    assert (figures.differing, figures.max_steps) == (1, 1)


def test_equal_integers_are_equal() -> None:
    same = integers(np.arange(-128, 128).reshape(64, 4))
    figures = compare(same, same).figures
    assert (figures.differing, figures.max_steps, figures.passed, figures.sqnr_db) == (0, 0, True, float("inf"))


def test_without_a_grid_there_are_no_steps_unless_one_is_lent() -> None:
    a, b = floats(np.array([[0.0, 1.0]])), floats(np.array([[0.5, 1.0]]), engine="float")
    assert compare(a, b).figures.differing is None
    assert compare(a, b).figures.max_steps is None
    assert compare(a, b, grids=integers(np.array([[0, 0]]))).figures.differing == 1


def test_steps_without_ends_give_way_to_a_grid_that_is_lent() -> None:
    """A file whose output was left in float knows the steps of an inner tensor alone."""
    a, inner = floats(np.array([[0.0, 1.0]])), Grid(QuantParams((0.01,), (0,)), "int8", "inner").lent
    b = Trace("tflite:reference", (Value("y", np.array([[0.1, 1.1]], np.float32), None, inner),))
    assert compare(a, b).figures.differing == 2
    assert compare(a, b, grids=integers(np.array([[0, 0]]))).figures.differing == 0


def test_plain_integers_need_no_grid() -> None:
    a = Trace("float", (Value("class", np.array([3, 4])),))
    b = Trace("tflite:tflm", (Value("class", np.array([3, 5], np.int32)),))
    assert compare(a, b).figures.differing == 1


def test_several_outputs_count_together_and_apart() -> None:
    reference = floats(np.array([[0.0, 1.0]]), np.array([[5.0]]))
    candidate = floats(np.array([[0.0, 2.0]]), np.array([[5.0]]), engine="float")
    result = compare(reference, candidate)
    assert result.figures.count == 3
    assert result.figures.mean_abs_error == pytest.approx(1 / 3)
    assert [output.figures.max_abs_error for output in result.outputs] == [1.0, 0.0]


def test_outputs_are_paired_by_name_whatever_their_order() -> None:
    x, y = np.zeros((2, 3)), np.ones((2, 3))
    pairs, notes = pair_outputs(floats(x, y, names=("quant_a", "b")), floats(y, x, names=("b", "a")))
    assert [(a.name, b.name) for a, b in pairs] == [("quant_a", "a"), ("b", "b")]
    assert not notes


def test_outputs_with_other_names_are_paired_by_shape() -> None:
    x, y = np.zeros((2, 3)), np.ones((2, 1, 4))
    pairs, notes = pair_outputs(floats(x, y), floats(y.reshape(2, 4), x, names=("p", "q")))
    assert [b.name for _, b in pairs] == ["q", "p"]
    assert not notes


def test_outputs_of_one_shape_are_paired_by_their_values_and_that_is_said() -> None:
    x, y = np.zeros((2, 3)), np.ones((2, 3))
    pairs, notes = pair_outputs(floats(x, y), floats(y + 0.1, x, names=("p", "q")))
    assert [b.name for _, b in pairs] == ["q", "p"]
    assert "smallest difference" in notes[0]


def test_what_cannot_be_paired_is_refused() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(NotComparable, match=r"has 2 output\(s\)"):
        pair_outputs(floats(x, x), floats(x))
    with pytest.raises(NotComparable, match="output shapes differ"):
        pair_outputs(floats(x), floats(np.zeros((2, 4))))


def test_an_output_with_nan_is_refused() -> None:
    with pytest.raises(NotComparable, match="NaN"):
        compare(floats(np.array([[np.nan]])), integers(np.array([[0]])))


@pytest.mark.parametrize(
    ("text", "different"),
    [
        ("max_steps>1", False),
        ("max_steps>=1", True),
        ("differing != 1", False),
        ("not_close>0.02", True),
        ("top1_agreement<0.999", False),
        ("sqnr_db < 1e3", True),
    ],
)
def test_conditions(text: str, different: bool) -> None:
    comparison = compare(integers(np.array([[10, 11]])), integers(np.array([[10, 12]])))
    assert bool(reasons(judge(comparison, (parse(text),)))) is different


def test_any_condition_that_holds_counts_and_none_leaves_the_tolerance() -> None:
    comparison = compare(integers(np.array([[10, 11]])), integers(np.array([[10, 12]])), tolerance=1)
    assert reasons(judge(comparison, ())) == ()
    both = parse("max_steps>5"), parse("differing>0")
    assert reasons(judge(comparison, both)) == ("differing>0 (differing is 1)",)


@pytest.mark.parametrize("text", ["max_steps", "max_steps>", ">1", "max_steps>one", "max_steps=>1", ""])
def test_conditions_that_say_nothing(text: str) -> None:
    with pytest.raises(BadExpression, match="write METRIC"):
        parse(text)


def test_conditions_name_a_metric_that_exists_and_has_a_value() -> None:
    for never in ("max_steps>inf", "max_abs_error>1e999", "not_close>1", "cosine<-1"):
        with pytest.raises(BadExpression, match="nothing can be beyond"):
            parse(never)
    with pytest.raises(BadExpression, match="no metric 'steps'; there are count, max_abs_error"):
        parse("steps>1")
    comparison = compare(floats(np.ones((1, 2))), floats(np.ones((1, 2)), engine="float"))
    with pytest.raises(BadExpression, match="max_steps has no value"):
        judge(comparison, (parse("count<0"), parse("max_steps>1")))


def test_accuracy_is_added_where_there_are_labels() -> None:
    scores = floats(np.array([[0, 1.0], [1, 0]]))
    labels = np.array([1, 1])
    assert hold_together((scores,), (integers(np.array([[0, 1], [0, 1]])),), labels).accuracy == {
        "qat": 0.5,
        "tflite:reference": 1.0,
    }
    assert hold_together((scores,), (integers(np.array([[0, 1], [0, 1]])),), None).accuracy == {}
