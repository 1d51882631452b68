"""A format of a few lines, functions of NumPy arrays, goes through every command: nothing outside knows a framework."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import small_models as models
from formula import Formula, data, step

from quantdiff import api
from quantdiff.errors import BadModel
from quantdiff.references.formats import Format, formats

pytestmark = pytest.mark.golden


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> Any:
    def open_formula(source: Formula, _: Any) -> tuple[Formula]:
        source.opened.append("once")
        return (source,)

    def save(source: Any, path: Path) -> Path:
        raise BadModel(f"{source}: cannot be written to {path}")

    mine = Format((".formula",), lambda source: isinstance(source, Formula), open_formula, save)
    monkeypatch.setitem(formats(), "formula", mine)
    return Formula()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return models.save(tmp_path, models.two_dense(), "int8.tflite")


HOW = api.Settings(runtimes=("reference",))


def test_outputs_and_every_layer_are_compared(formula: Any, file: Path) -> None:
    plain = api.diff(formula, file, data(), HOW)
    assert plain.comparisons[0].reference == "formula"
    outcome = api.diff(formula, file, data(), HOW, layers=True)
    (report,) = outcome.layers
    assert [(row.reference, row.candidate, row.kernel_agrees) for row in report.layers] == [
        ("x", "x_q", None),
        ("first", "hidden", True),
        ("second", "y_q", True),
    ]
    assert report.only_reference == report.only_candidate == ()
    assert report.layers[-1].figures.differing == plain.comparisons[0].figures.differing
    for row in report.layers:
        assert row.local is not None
        assert row.local.max_steps is not None
        assert row.local.max_steps <= 1  # weights lie on the grid: a rounding is all there is
    assert formula.opened == ["once"] * 2


@pytest.mark.parametrize("seen", [True, False])
def test_parameters_are_shown_beside_the_file_s(formula: Any, file: Path, seen: bool) -> None:
    answer = api.params(formula, file, data() if seen else None, HOW)
    assert {f"{row.layer}/{row.role}": row.tensor for row in answer.rows} == {
        "x/output": "x_q",
        "first/kernel": "A",
        "first/bias": "a",
        "first/output": "hidden",
        "second/kernel": "B",
        "second/bias": "b",
        "second/output": "y_q",
    }
    assert answer.only_reference == answer.only_tflite == ()
    rows = {row.name: row for row in answer.rows}
    assert (rows["first/output"].keras is not None) == seen  # the reference's own extent, whoever runs it
    assert formula.opened == ["once"]


def test_lint_takes_its_layers(formula: Any, file: Path) -> None:
    assert {finding.code for finding in api.lint(file, formula).findings} == {"FLOAT02"}


def test_no_framework_was_needed(formula: Any, file: Path) -> None:
    before = set(sys.modules)
    api.diff(formula, file, data(), HOW, layers=True)
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not new & {"tensorflow", "tf_keras", "keras"}


def test_an_output_behind_a_clipped_value_keeps_its_row(formula: Any, tmp_path: Path) -> None:
    """Nearly all that the first layer gives lies beyond what the file holds, so the output is far from right."""
    narrow = models.save(tmp_path, models.two_dense(hidden_scale=2.0**-16), "narrow.tflite")
    reference = models.save(tmp_path, models.two_dense(hidden_scale=None), "float.tflite")
    for given in (formula, reference):
        (report,) = api.diff(given, narrow, data(), HOW, layers=True).layers
        rows = {row.candidate: row for row in report.layers}
        assert not report.unrelated
        assert [*rows] == ["x_q", "hidden", "y_q"]
        clipped = rows["hidden"].figures.clipped_high
        assert clipped is not None
        assert clipped > 0.97 * float((step(1, data().arrays["x"]) > 0).mean())  # ReLU left the others at 0
        local = rows["y_q"].local
        assert local is not None
        assert local.max_steps is not None
        assert local.max_steps <= 1
        assert rows["y_q"].figures.sqnr_db < 10
