"""``quantdiff sweep`` as people call it, with trials that cost nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cheap_trials as cheap
import pytest
from click.testing import CliRunner, Result

from quantdiff.cli import main
from quantdiff.experiment.trial import Attempt, SweepTrial

STUDY = (
    'models = ["dense1", "dense2"]\nseeds = "1-2"\nconditions = "qat-tflite"\ndata = "mnist-small"\nstore = "toml.db"\n'
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def attempt(trials: Sequence[SweepTrial]) -> tuple[Attempt, ...]:
        broken = [trial.training.seed == 7 for trial in trials]
        return tuple(
            Attempt(None, "the converter failed") if bad else Attempt(cheap.result(trial))
            for bad, trial in zip(broken, trials, strict=True)
        )

    monkeypatch.setattr("quantdiff.api.experiments.attempt_all", attempt)
    monkeypatch.setattr("quantdiff.cli.experiments._executor", lambda jobs, dask: ThreadPoolExecutor(jobs))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def sweep(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sweep", *arguments])


def test_a_row_a_comparison_in_the_order_of_the_study(folder: Path) -> None:
    result = sweep("study.toml")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["model"], row["seed"], row["reference"]) for row in rows] == [
        (model, seed, reference) for seed in "12" for model in ("dense1", "dense2") for reference in ("qat", "copied")
    ]
    assert rows[0]["sqnr_db"] == "inf"
    assert rows[0]["max_relative_error"] == ""
    assert (folder / "toml.db").is_file()
    assert "all 4 trials are in toml.db; quantdiff report toml.db sums them up" in result.stderr


def test_options_win_over_the_file(folder: Path) -> None:
    result = sweep("study.toml", "--seeds", "3", "--models", "dense1", "--store", "mine.db", "--json")
    document = json.loads(result.stdout)
    assert (document["command"], document["store"]) == ("sweep", "mine.db")
    (trial,) = document["trials"]
    assert (trial["model"], trial["seed"], trial["condition"], trial["bias"]) == ("dense1", 3, "qat-tflite", True)
    assert trial["scores"]["tflite:xnnpack"] == {"accuracy": 0.997, "error_rate": 0.003, "count": 1000}
    assert trial["comparisons"][0]["sqnr_db"] == "Infinity"
    assert not (folder / "toml.db").exists()


def test_html_writes_the_page_of_the_store(folder: Path) -> None:
    first, again = sweep("study.toml"), sweep("study.toml", "--html", "page.html")
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    page = (folder / "page.html").read_text()
    assert "<title>quantdiff: Study</title>" in page
    assert '<section id="depth"' in page  # dense1 and dense2
    assert "qat-tflite, xnnpack" in page


def test_trials_that_fail_are_trouble_and_the_others_are_there() -> None:
    result = sweep("study.toml", "--models", "dense1", "--seeds", "6-7")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "error: 1 of 2 trials: the converter failed"
    assert [row["error"] for row in csv.DictReader(io.StringIO(result.stdout)) if row["seed"] == "7"] == [
        "the converter failed"
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no models: add --models dense1,dense2 or --model FILE.py:build"),
        (("none.toml",), "none.toml: cannot be read"),
        (("study.toml", "--conditions", "int4"), "conditions: no 'int4'"),
        (("study.toml", "--data", "none.npz"), "none.npz: no such data set"),
        (("--model", "none.py:build"), "none.py: no such file"),
        (("study.toml", "--store", "study.toml"), "study.toml: file is not a database"),
        (("study.toml", "--store", "study.toml/a.db"), "a store is one file, choose another"),
    ],
)
def test_bad_input_gets_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = sweep(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert words in line
