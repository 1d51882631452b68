"""Sweeps with cheap trials through the whole pipeline: progress, what is found again, what the report says."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cheap_trials as cheap
import pytest
from click.testing import CliRunner

from quantdiff import api
from quantdiff.cli import main
from quantdiff.compare.own_metric import OwnFigure
from quantdiff.errors import NotComparable
from quantdiff.experiment.store import Stored, open_store
from quantdiff.experiment.study import make_study
from quantdiff.experiment.summary import Box, summarize
from quantdiff.experiment.trial import Attempt, Score, StoredRange, SweepResult, SweepTrial
from quantdiff.report.html.study import study_page
from quantdiff.report.text.study import box_line, summary_parts
from quantdiff.report.text.terminal import Table

STUDY = make_study({"models": "dense1,dense2", "seeds": "0-2", "conditions": "qat,ptq", "data": "mnist-small"})


def test_a_sweep_asks_only_for_what_it_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SweepTrial] = []

    def attempt(trials: Sequence[SweepTrial]) -> tuple[Attempt, ...]:
        asked.extend(trials)
        return tuple(
            Attempt(None, "no luck") if trial.training.seed == 1 and len(asked) < 13 else Attempt(clean(trial))
            for trial in trials
        )

    def clean(trial: SweepTrial) -> SweepResult:
        return replace(cheap.result(trial), failures=())

    monkeypatch.setattr("quantdiff.api.experiments.attempt_all", attempt)
    told: list[tuple[str, int, int]] = []
    path = tmp_path / "study.db"
    with ThreadPoolExecutor(1) as on:
        part = api.sweep(replace(STUDY, seeds=(0,)), path, on)
        assert len(asked) == len(part) == 4
        rows = api.sweep(STUDY, path, on, progress=lambda *what: told.append(what))
        assert told == [("trials", done, 12) for done in range(4, 13)]
        assert [row.trial for row in rows] == [trial for group in STUDY.groups() for trial in group]
        assert [row.error for row in rows] == [""] * 4 + ["no luck"] * 4 + [""] * 4
        assert api.sweep(STUDY, path, on) == rows
        assert len(asked) == 12
        again = api.sweep(STUDY, path, on, retry_failed=True)
    assert {trial.training.seed for trial in asked[12:]} == {1}
    assert [row.result for row in again] == [clean(row.trial) for row in again]
    assert api.count_stored(STUDY, path) == (12, 12)


def stored(condition: str, engine: str, seed: int, wrong: int, low: float = 0.0, model: str = "dense2") -> Stored:
    ranges = (StoredRange("dense", "output", low, 1.0, 0.1, 3), StoredRange("dense", "kernel", -1.0, 1.0, None, None))
    trial = cheap.trial(seed, condition, model, "train" if condition.endswith("ptq") else "")
    return Stored(trial, SweepResult((Score(engine, 100, wrong),), (), ranges))


def rows() -> list[Stored]:
    """qat errs in 1, 2, 3, 4 per cent; copied-ptq in 2, 2, 4, 7."""
    qat = [stored("qat", "qat", seed, seed + 1) for seed in range(4)]
    own = [stored("qat-tflite", "tflite:xnnpack", seed, seed + 1, -6.0) for seed in range(4)]
    copied = [stored("copied-ptq", "tflite:xnnpack", s, wrong, -s) for s, wrong in enumerate((2, 2, 4, 7))]
    return [*qat, *own, *copied, stored("qat", "qat", 9, 50, model="dense1")]


def test_pairs_are_of_one_seed() -> None:
    summary = summarize(rows())
    rates = {(each.engine.model, each.engine.condition): each for each in summary.rates}
    assert list(rates) == [
        ("dense1", "qat"), ("dense2", "qat"), ("dense2", "qat-tflite"), ("dense2", "copied-ptq (train)"),
    ]  # fmt: skip
    assert rates["dense2", "qat"].rates == (0.01, 0.02, 0.03, 0.04)
    assert rates["dense2", "copied-ptq (train)"].depth == 2
    pairs = {(each.engine.condition, each.against.condition): each for each in summary.differences}
    difference = pairs["copied-ptq (train)", "qat"]
    assert (difference.pairs, difference.worse, difference.better, difference.p_value) == (4, 3, 0, 0.25)
    assert difference.interval.mean == pytest.approx((0.01 + 0 + 0.01 + 0.03) / 4)
    assert pairs["qat-tflite", "qat"].p_value == 1.0
    assert ("copied-ptq (train)", "qat-tflite") in pairs


def test_ranges_stand_side_by_side() -> None:
    output, kernel = summarize(rows()).ranges
    assert (output.own, output.copied, output.runs, output.equal) == ((-6.0, 1.0), (-1.5, 1.0), 4, 0)
    assert (kernel.role, kernel.equal) == ("kernel", 4)


def test_settings_that_differ_are_told_apart() -> None:
    two = [rows()[0], rows()[0]]
    training = two[1].trial.training
    two[1] = replace(two[1], trial=replace(two[1].trial, training=replace(training, epochs=2)))
    assert [each.engine.model for each in summarize(two).rates] == ["dense2, 1 epochs", "dense2, 2 epochs"]
    assert not summarize(two).differences


def test_an_empty_store_is_said_to_be_empty() -> None:
    with pytest.raises(NotComparable, match="holds no trials yet"):
        summarize([])


def test_the_report_prints_tables_and_draws(tmp_path: Path) -> None:
    with open_store(tmp_path / "study.db", create=True) as store:
        for row in [*rows(), Stored(cheap.trial(5, "ptq"), None, "the converter\x1b failed")]:
            store.add(row)
    page = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["report", str(tmp_path / "study.db"), "--html", str(page)])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["dense2", "qat", "qat", "4", "2.50%", "1.50%", "…", "3.50%", "1.00%", "2.50%", "4.00%"] in [
        words[:11] for words in lines
    ]
    assert "failed: dense2 ptq seed 5: the converter\\x1b failed" in result.stdout
    assert page.stat().st_size > 500_000  # Bokeh stands inside
    document = json.loads(CliRunner().invoke(main, ["report", str(tmp_path / "study.db"), "--json"]).stdout)
    assert document["trials"] == 14
    assert document["rates"][1]["box"]["median"] == 0.025


def test_a_report_of_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", str(tmp_path / "none.db"), "--html", str(tmp_path / "page.html")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "no such store" in result.stderr
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("box", "line"),
    [
        (Box(0, 2, 5, 7, 9), "├─▒▒▒┃▒▒─┤"),
        (Box(9, 9, 9, 9, 9), "         ┃"),
        (Box(3, 4, 4, 5, 6), "   ├┃▒┤   "),
    ],
)
def test_box_lines(box: Box, line: str) -> None:
    assert box_line(box, 0, 9, 10) == line


def test_a_box_line_without_any_width() -> None:
    assert box_line(Box(1, 1, 1, 1, 1), 1, 1, 4) == "┃   "


def test_the_metric_of_ones_own_is_summed_up() -> None:
    own = [(0.5, 0.25), (0.75, 0.25), (1.0, math.inf)]
    stored = []
    for seed, numbers in enumerate(own):
        trial = cheap.trial(seed)
        result = cheap.result(trial)
        first = replace(result.comparisons[0], own=(OwnFigure("recall", *numbers),))
        stored.append(Stored(trial, replace(result, comparisons=(first, *result.comparisons[1:]))))
    (found,) = summarize(stored).metrics
    assert (found.condition, found.reference, found.candidate) == ("qat-tflite", "qat", "tflite:xnnpack")
    assert (found.metric, found.runs, found.means, found.interval.mean) == ("recall", 2, (0.625, 0.25), -0.375)
    (table,) = (part for part in summary_parts(summarize(stored)) if isinstance(part, Table) and "metric" in str(part))
    assert table.rows[0].cells[4:8] == ("recall", "2", "0.625", "0.25")
    assert "recall" in study_page(summarize(stored)).html
