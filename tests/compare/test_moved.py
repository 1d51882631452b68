"""What moved between two results of a command."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
from click.testing import CliRunner

from quantdiff.cli import main
from quantdiff.compare.moved import Moved, movement
from quantdiff.errors import NotComparable

NAMES = "a.json", "b.json"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("moved")
    model = str(small_models.save(folder, small_models.dense()))
    np.savez(folder / "x.npz", allow_pickle=False, x=np.random.default_rng(5).uniform(-2, 2, (40, 8)).astype("f4"))
    words = ["diff", "--layers", model, model, "--data", str(folder / "x.npz"), "--runtime", "reference", "--json"]
    found: dict[str, Any] = json.loads(CliRunner().invoke(main, words).stdout)
    return found


def test_nothing_moved(result: dict[str, Any]) -> None:
    found = movement(result, copy.deepcopy(result), NAMES)
    assert not found.moved
    assert found.same > 30


def test_each_figure_by_whose_it_is(result: dict[str, Any]) -> None:
    other = copy.deepcopy(result)
    pair = f"{other['comparisons'][0]['reference']} → {other['comparisons'][0]['candidate']}"
    other["comparisons"][0]["differing"] += 3
    other["layers"][-1]["max_steps"] = 7
    other["versions"]["numpy"] = "0"
    other["samples"] -= 1
    found = movement(result, other, NAMES)
    assert [(each.section, each.figure) for each in found.moved] == [
        ("samples", "samples"), ("comparisons", "differing"), ("layers", "max_steps"),
    ]  # fmt: skip
    assert found.moved[0] == Moved("samples", "", "samples", 40, 39)
    assert found.moved[1].whose == pair
    assert found.moved[1].change == 3
    assert [package for package, *_ in found.versions] == ["numpy"]


def test_what_only_one_of_them_has(result: dict[str, Any]) -> None:
    other = copy.deepcopy(result)
    gone = other["layers"].pop()
    found = movement(result, other, NAMES)
    assert {each.section for each in found.moved} == {"layers"}
    assert all(each.after is None and each.change is None for each in found.moved)
    assert found.moved[0].whose.startswith(gone["reference"])


def test_results_that_have_nothing_in_common(result: dict[str, Any]) -> None:
    with pytest.raises(NotComparable, match=r"a\.json is of `diff`, b\.json of `explain`; give two of one command"):
        movement(result, {**result, "command": "explain"}, NAMES)
    with pytest.raises(NotComparable, match="no figure in common"):
        movement(result, {"command": "diff", "comparisons": []}, NAMES)


def test_a_document_may_be_anything() -> None:
    nested: Any = 1
    for _ in range(500):
        nested = {"deeper": [nested]}
    odd = {"command": "diff", "samples": 3, "comparisons": [None, "x", {"reference": [], "candidate": {}}], "x": nested}
    assert movement(odd, odd, NAMES).moved == ()


def test_the_command(result: dict[str, Any], tmp_path: Path) -> None:
    other = copy.deepcopy(result)
    other["comparisons"][0]["passed"] = False
    for name, document in zip(NAMES, (result, other), strict=True):
        (tmp_path / name).write_text(json.dumps(document))
    files = [str(tmp_path / name) for name in NAMES]
    page = tmp_path / "moved.html"
    done = CliRunner().invoke(main, ["report", *files, "--html", str(page)])
    assert done.exit_code == 0
    assert "1 figures moved" in done.stdout
    assert done.stdout.splitlines()[-1].split()[-3:] == ["yes", "no", "-1"]
    assert "What moved" in page.read_text()
    assert json.loads(CliRunner().invoke(main, ["report", *files, "--json"]).stdout)["moved"][0]["figure"] == "passed"


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, '{"schema": 1}'])
def test_files_that_are_no_result(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    done = CliRunner().invoke(main, ["report", str(tmp_path / "a.json"), str(tmp_path / "a.json")])
    assert done.exit_code == 2
    assert "not a JSON document" in done.stderr


@pytest.mark.parametrize("evil", [1, ["numpy"], [{}], "x", None])
def test_versions_that_are_none(result: dict[str, Any], evil: object) -> None:
    assert movement(result, {**result, "versions": evil}, NAMES).moved == ()


def test_numbers_that_nothing_counts(result: dict[str, Any]) -> None:
    many, one = ({**result, "more": [{"layer": {"a": 1}, "count": count}]} for count in (10**400, 1))
    assert movement(many, one, NAMES).moved == (Moved("more", "{'a': 1}", "count", None, 1),)
