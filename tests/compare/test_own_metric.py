"""A user's own metric: on both sides, over parts, in conditions; whatever it does wrong is one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner

from quantdiff.cli import main
from quantdiff.compare.conditions import parse
from quantdiff.compare.outcome import hold_together, judge, outcome_of, part_of, reasons
from quantdiff.compare.own_metric import Metric, Score, metric_of
from quantdiff.errors import BadExpression, BadMetric, NotComparable
from quantdiff.quant import Array, Trace, Value
from quantdiff.testing import assert_parity

OURS = np.array([[3.0, 1.0], [2.0, 0.0], [0.0, 5.0]], np.float32)
THEIRS = np.array([[3.0, 1.0], [0.0, 2.0], [0.0, 4.0]], np.float32)
LABELS = np.array([0, 0, 1])
OWN = """
def accuracy(outputs, labels):
    (scores,) = outputs.values()
    return float((scores.argmax(-1) == labels).mean())

def sums(outputs, labels):
    (scores,) = outputs.values()
    return {"right": (int((scores.argmax(-1) == labels).sum()), len(labels))}
"""


def traces(rows: slice = slice(None)) -> tuple[Trace, Trace]:
    return Trace("float", (Value("scores", OURS[rows]),)), Trace("tflite:x", (Value("other", THEIRS[rows]),))


def right(outputs: dict[str, Array], labels: Array | None) -> dict[str, Any]:
    """By the reference's name of the output."""
    assert labels is not None
    return {"right": (int((outputs["scores"].argmax(-1) == labels).sum()), len(labels))}


def test_the_order_in_which_parts_come_together_changes_no_bit() -> None:
    parts = [Score(0.1, 3.0), Score(1e16, 0.7), Score(-1e16, 1e-9), Score(0.2, 1.0)]
    left = reduce(lambda a, b: a.plus(b, "m"), parts)
    right = parts[0].plus(parts[1].plus(parts[2].plus(parts[3], "m"), "m"), "m")
    assert left.value == right.value == pytest.approx(0.3 / 4.700000001, rel=1e-15)
    assert Score(1e300, 1e-300).value == math.inf


def test_both_sides_and_their_difference() -> None:
    ours, theirs = traces()
    (comparison,) = hold_together((ours,), (theirs,), LABELS, metric=metric_of(right)).comparisons
    (own,) = comparison.own
    assert (own.name, own.reference, own.candidate, own.difference) == ("right", 1.0, 2 / 3, 2 / 3 - 1)
    assert reasons(judge(comparison, (parse("right<0.7", own=True),))) == (f"right<0.7 (right is {2 / 3:g})",)
    assert not reasons(judge(comparison, (parse("right_difference<-0.4", own=True),)))
    with pytest.raises(BadExpression, match=r"no metric 'wrong'; there are count, .*right, right_difference"):
        reasons(judge(comparison, (parse("wrong>0", own=True),)))
    with pytest.raises(BadExpression, match="no metric 'right'"):
        parse("right>0")


def test_sums_of_parts_are_those_of_the_whole() -> None:
    metric = Metric("right", right)
    parts = [
        part_of((a,), (b,), LABELS[rows], metric=metric) for rows in (slice(1), slice(1, 3)) for a, b in [traces(rows)]
    ]
    whole = hold_together((traces()[0],), (traces()[1],), LABELS, metric=metric)
    assert outcome_of(parts[0] + parts[1]).comparisons == whole.comparisons
    alone = Metric("mean", lambda outputs, _: float(outputs["scores"].mean()))
    halves = [part_of((a,), (b,), None, metric=alone) for rows in (slice(1), slice(1, 3)) for a, b in [traces(rows)]]
    with pytest.raises(NotComparable, match=r"metric mean: .* return \(sum, count\) instead"):
        _ = halves[0] + halves[1]


def test_what_a_metric_changes_in_place_is_its_own() -> None:
    def shift(outputs: dict[str, Array], labels: Array | None) -> float:
        del labels
        outputs["scores"] += 100
        return float(outputs["scores"].mean())

    hold_together((traces()[0],), (traces()[1],), LABELS, metric=metric_of(shift))
    assert OURS[0, 0] == 3


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("text", "metric is str; return a number"),
        (None, "metric is NoneType; return a number"),
        (float("nan"), "metric is nan; .* finite ones"),
        ((1, 2, 3), r"metric is \(1, 2, 3\); return"),
        ((1, 0), r"metric is \(1, 0\); return"),
        ({}, "name numbers"),
        ({"a b": 1.0}, "name numbers as Python names them"),
        ({"a": np.zeros(3)}, "a is ndarray; return"),
    ],
)
def test_what_is_no_number_is_one_line(said: Any, words: str) -> None:
    with pytest.raises(BadMetric, match=words) as error:
        Metric("metric", lambda *_: said).scores({"y": OURS}, None)
    assert "\n" not in str(error.value)


def test_what_it_raises_is_one_line() -> None:
    def fails(outputs: dict[str, Array], labels: Array | None) -> float:
        return float(outputs["nothing"].mean()) + (labels is None)

    with pytest.raises(BadMetric, match="fails: KeyError while it ran: 'nothing'; outputs come in a dict: "):
        hold_together((traces()[0],), (traces()[1],), None, metric=metric_of(fails))
    with pytest.raises(BadMetric, match=r"give FILE.py:function"):
        metric_of("metric.py")


@pytest.mark.golden
def test_diff_and_assert_parity_ask_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (60, models.DEPTH)).astype(np.float32)
    y = rng.integers(0, models.UNITS, len(x))
    pair = models.save(tmp_path, models.float_dense(), "f.tflite"), models.save(tmp_path, models.dense(), "q.tflite")
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "parts").mkdir()
    for name, rows in (("whole", slice(None)), ("parts/a", slice(20)), ("parts/b", slice(20, 60))):
        np.savez(tmp_path / f"{name}.npz", x=x[rows], y=y[rows])
    invoke: Callable[..., Any] = lambda *given: CliRunner().invoke(main, ["diff", *map(str, (*pair, *given))])  # noqa: E731
    own = tmp_path / "own.py"
    said = invoke("--data", tmp_path / "whole.npz", "--metric", f"{own}:sums", "--fail-on", "right<2", "--json")
    assert said.exit_code == 1
    assert "right<2 (right is " in said.stderr
    of_parts = invoke("--data", tmp_path / "parts", "--metric", f"{own}:sums", "--json")
    whole, parts = (json.loads(each.stdout)["comparisons"][0]["metric"] for each in (said, of_parts))
    assert whole == parts
    assert whole["right"]["difference"] == whole["right"]["candidate"] - whole["right"]["reference"]
    with pytest.raises(AssertionError, match=r"accuracy is 0\.\d+, at least 2 allowed"):
        assert_parity(*pair, (x, y), tolerance=100, metric=f"{own}:accuracy", fail_on="accuracy<2")
    assert_parity(*pair, (x, y), tolerance=100, metric=right_of_first, fail_on=("right<0",))


def right_of_first(outputs: dict[str, Array], labels: Array | None) -> dict[str, float]:
    (scores,) = outputs.values()
    return {"right": float((scores.argmax(-1) == labels).mean())}
