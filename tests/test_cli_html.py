"""``--html`` on the commands: the page is there as a whole or not at all, and what is printed stays as it was."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result

from quantdiff.api.pages import OTHER, same_figures
from quantdiff.cli import main
from quantdiff.compare.outcome import Outcome


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sections(page: Path) -> list[str]:
    return re.findall('<section id="(.*?)"', page.read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    models.save(tmp_path, models.dense(), "int8.tflite")
    models.save(tmp_path, models.float_dense(), "float.tflite")
    models.save(tmp_path, models.ABORTS, "aborts.tflite")
    x = rng.uniform(-2, 2, (300, models.DEPTH)).astype(np.float32)
    np.savez(tmp_path / "data.npz", allow_pickle=False, x=x, y=rng.integers(0, models.UNITS, 300))
    return tmp_path


@pytest.mark.golden
def test_diff_prints_the_same_and_writes_a_page(folder: Path) -> None:
    command = "diff", folder / "float.tflite", folder / "int8.tflite", "--data", folder / "data.npz"
    page = folder / "page.html"
    plain, with_page = invoke(*command, "--json"), invoke(*command, "--json", "--html", page)
    assert (with_page.exit_code, with_page.stdout, with_page.stderr) == (1, plain.stdout, plain.stderr)
    assert "layers" not in json.loads(plain.stdout)
    # Two models of other weights: strangers, whose layers are not told, but whose outputs are.
    assert sections(page) == [
        "where", "errors", "decisions", "samples", "figures", "parameters", "findings", "made",
    ]  # fmt: skip
    assert "These are not the same model" in page.read_text()


@pytest.mark.golden
def test_a_data_set_in_parts_has_a_page_of_figures(folder: Path) -> None:
    page, data = folder / "page.html", folder / "data.npz"
    command = "diff", folder / "int8.tflite", folder / "int8.tflite", "--data", data, "--data", data, "--html", page
    assert invoke(*command).exit_code == 0
    assert sections(page) == ["where", "figures", "parameters", "findings", "made"]
    assert "600 samples" in page.read_text()


@pytest.mark.golden
def test_explain_writes_its_ladder_and_what_diff_finds(folder: Path) -> None:
    page, model = folder / "page.html", folder / "int8.tflite"
    runtimes = "--runtime", "reference", "--runtime", "builtin"
    result = invoke("explain", model, model, "--data", folder / "data.npz", *runtimes, "--html", page)
    assert result.exit_code == 0, result.output
    assert sections(page)[:2] == ["why", "where"]
    assert "tflite:reference → tflite:builtin" in page.read_text()


@pytest.mark.golden
def test_a_runtime_that_fails_stands_on_the_page(folder: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(folder / "two.npz", allow_pickle=False, a=rng.uniform(size=(3, 4)), b=rng.uniform(size=(3, 4)))
    page = folder / "page.html"
    model = models.save(folder, models.add(), "add.tflite")
    result = invoke("diff", model, folder / "aborts.tflite", "--data", folder / "two.npz", "--html", page)
    assert result.exit_code == 2
    assert "No result from xnnpack:" in page.read_text()
    assert "crashed" in page.read_text()


@pytest.mark.golden
def test_nothing_is_left_where_nothing_could_be_compared(folder: Path) -> None:
    before = sorted(folder.iterdir())
    page = folder / "page.html"
    result = invoke(
        "diff", folder / "none.tflite", folder / "int8.tflite", "--data", folder / "data.npz", "--html", page
    )
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    command = "diff", folder / "int8.tflite", folder / "int8.tflite", "--data", folder / "data.npz", "--html"
    assert invoke(*command, folder).exit_code == 2
    under_a_file = invoke(*command, folder / "data.npz" / "page.html")
    assert under_a_file.exit_code == 2
    assert "cannot be written" in under_a_file.stderr
    assert sorted(folder.iterdir()) == before


def test_report_says_what_it_wants(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert "add --html FILE" in invoke("report", tmp_path).stderr
    assert "give the folder that `quantdiff run` made" in invoke("report", tmp_path, "--html", page).stderr
    for text in ("{", "[]", '{"schema": "quantdiff/1"}', '{"comparisons": []}'):
        (tmp_path / "results.json").write_text(text)
        result = invoke("report", tmp_path, "--html", page)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
        assert "results.json: not " in result.stderr
    assert not page.exists()


@pytest.mark.parametrize("name", ["builtin@pi", "recorded:/etc/passwd", "profile:x.toml"])
def test_results_of_a_stranger_start_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither the folder nor the configuration in it is the user's word."""
    monkeypatch.chdir(tmp_path)
    Path("quantdiff.toml").write_text("[runtimes.pi]\ncommand = 'touch started'\n")
    results = {"comparisons": [{"candidate": f"tflite:{name}", "tolerance": 0.01}], "failures": []}
    Path("results.json").write_text(json.dumps(results))
    result = CliRunner().invoke(main, ["report", ".", "--html", "page.html"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"the results name the runtime '{name}', which a file of results does not start" in result.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["quantdiff.toml", "results.json"]


@pytest.mark.keras
@pytest.mark.golden
def test_the_page_of_a_run_from_its_folder(runs: Callable[..., tuple[Outcome, Path]], tmp_path: Path) -> None:
    """Everything is there, measured anew, and the same."""
    _, out = runs()
    folder, page = tmp_path / "run", tmp_path / "page.html"
    shutil.copytree(out, folder)
    recorded = json.loads((folder / "results.json").read_text())
    kept = ("qat", "tflite:reference")
    recorded["comparisons"] = [each for each in recorded["comparisons"] if each["candidate"] in kept]
    recorded["accuracy"] = {name: recorded["accuracy"][name] for name in ("float", *kept)}
    (folder / "results.json").write_text(json.dumps(recorded))
    assert invoke("report", folder, "--html", page).exit_code == 0
    assert sections(page) == [
        "why", "where", "errors", "decisions", "samples", "figures", "parameters", "findings", "made",
    ]  # fmt: skip
    assert "dense2 · seed 3 · 2,000 samples" in page.read_text()
    assert OTHER not in page.read_text()

    assert json.loads(invoke("report", folder, "--json").stdout) == recorded
    outcome, recorded = runs()[0], json.loads((out / "results.json").read_text())
    assert same_figures(outcome, recorded)
    recorded["comparisons"][0]["max_abs_error"] *= 1 + 1e-15
    assert not same_figures(outcome, recorded)
