"""What was asked for, as a value: options, TOML, and what neither can mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from quantdiff.errors import BadData, BadMetric, BadModel
from quantdiff.experiment.study import BadStudy, Study, make_study, parse_seeds, read_study
from quantdiff.experiment.trial import CONDITIONS


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (3,)), ("0-3", (0, 1, 2, 3)), ("7,0-2,1", (7, 0, 1, 2)), ([4, "1-2"], (4, 1, 2)), (5, (5,)), ("2-2", (2,))],
)
def test_seeds(text: Any, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "1..3", "4294967296", []])
def test_no_seeds(text: Any) -> None:
    with pytest.raises(BadStudy):
        parse_seeds(text)


def test_every_combination_once_and_one_training_a_group() -> None:
    study = make_study({"models": "dense1,CNN,dense1", "seeds": "0-1", "calibration": "all", "data": "mnist-small"})
    groups = study.groups()
    assert [(group[0].training.seed, group[0].training.model.name) for group in groups] == [
        (0, "dense1"), (0, "CNN"), (1, "dense1"), (1, "CNN"),
    ]  # fmt: skip
    for group in groups:
        assert len({trial.training for trial in group}) == 1
        assert len(group) == len(CONDITIONS) + 3  # three of them calibrated twice
    assert len({trial.key for group in groups for trial in group}) == 40
    assert {trial.runtimes for trial in groups[0] if trial.condition in ("float", "qat")} == {()}


def test_a_file_says_the_same_as_options(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('models = ["dense1", "dense2"]\nseeds = "0-2"\nconditions = ["ptq"]\nepochs = 2\nbias = false\n')
    options = {"models": "dense1,dense2", "seeds": [0, 1, 2], "conditions": "ptq", "epochs": 2, "bias": False}
    assert make_study(read_study(path)) == make_study(options)
    assert make_study(options) == Study(("dense1", "dense2"), (0, 1, 2), ("ptq",), epochs=2, bias=False)


def test_the_study_in_the_docs_is_the_one_that_its_page_names() -> None:
    study = make_study(
        read_study(Path(__file__).parents[2] / "docs" / "results" / "mnist.toml") | {"data": "mnist-small"}
    )
    assert sum(map(len, study.groups())) == 1000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no models"),
        ({"models": "dense1", "conditions": "qat,int4"}, "conditions: no 'int4'; there are float, qat"),
        ({"models": "dense1", "conditions": []}, "conditions: none given"),
        ({"models": "dense1", "calibration": "validation"}, "there are train, test, all"),
        ({"models": "dense1", "epochs": "two"}, "epochs = 'two': int wanted"),
        ({"models": "dense1", "epochs": 0}, "epochs is at least 1"),
        ({"models": "dense1", "bias": 1}, "bias = 1: bool wanted"),
    ],
)
def test_studies_that_mean_nothing(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadStudy, match=words):
        make_study(options)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("dense0", "no model 'dense0' in the zoo"),
        ("none.py:build", "none.py: no such file"),
        ("mine.py", "write FILE.py:FUNCTION"),
        ("mine.txt:build", "write FILE.py:FUNCTION"),
    ],
)
def test_models_that_are_not_there(model: str, words: str) -> None:
    with pytest.raises(BadModel, match=words):
        make_study({"model": model, "data": "mnist-small"}).groups()


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("f1", "f1: write FILE.py:FUNCTION, a function of outputs by name and labels"),
        ("none.py:f1", "none.py: no such file"),
        ("own.py:absent", "own.py: has no function absent"),
    ],
)
def test_metrics_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("def f1(outputs, labels):\n    return 1.0\n")
    study = make_study({"models": "dense1", "data": "mnist-small", "metric": metric})
    with pytest.raises(BadMetric, match=re.escape(words)):
        study.groups()


def test_data_that_is_not_there() -> None:
    with pytest.raises(BadData, match=r"none.npz: no such data set"):
        make_study({"models": "dense1", "data": "none.npz"}).groups()


@pytest.mark.parametrize(
    ("text", "words"),
    [("models = [", "not TOML"), ("sedes = 3", "no key sedes; there are models"), (None, "cannot be read")],
)
def test_files_that_are_no_study(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "study.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadStudy, match=words):
        read_study(path)
