"""JUnit XML and GitHub's commands, as the command line gives them; names that would break out of either stay text."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result
from linting.models_with_findings import chain, dense, q

from quantdiff.cli import main
from quantdiff.report.ci.case import Case, Checked, Status
from quantdiff.report.ci.forms import AT_MOST, ROWS, in_workspace, junit_text, summary, workflow_commands

NASTY = "a|b<i>\x1b[31m`c`*_\n::error::%41 100%,x:y]]>&\x00\ud800 ##[warning]"
CHILDREN = {"testsuites": {"testsuite"}, "testsuite": {"testcase"}, "testcase": {"error", "failure", "system-out"}}
ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name", "classname"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "system-out": set(),
}
"""What junit-10.xsd of Jenkins' xunit plugin knows, as far as it is used here."""


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def parsed(text: str) -> ElementTree.Element:
    """The document, once every element, attribute and count of it is as the schema and a reader expect."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
        assert set(element.attrib) == ATTRIBUTES[element.tag]
    for counted in (root, *root):
        assert int(counted.attrib["tests"]) == len(list(counted.iter("testcase")))
        assert int(counted.attrib["failures"]) == len(list(counted.iter("failure")))
        assert int(counted.attrib["errors"]) == len(list(counted.iter("error")))
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.save(tmp_path, models.dense(), "int8.tflite")
    models.save(tmp_path, models.dense(zero_point=5), "shifted.tflite")
    x = np.random.default_rng(0).uniform(-2, 2, (50, models.DEPTH)).astype(np.float32)
    np.savez(tmp_path / "data.npz", allow_pickle=False, x=x)
    return tmp_path


@pytest.mark.golden
def test_diff_has_a_case_per_comparison_and_condition(folder: Path) -> None:
    pair = folder / "shifted.tflite", folder / "int8.tflite", "--data", folder / "data.npz"
    limits = "--fail-on", "max_steps>0", "--fail-on", "top1_agreement<0.1", "--runtime", "xnnpack", "--runtime", "tflm"
    result = invoke("diff", *pair, *limits, "--format", "junit")
    assert result.exit_code == 1
    root = parsed(result.stdout)
    assert [suite.attrib["tests"] for suite in root] == ["2", "2"]
    assert [case.attrib["name"] for case in root.iter("testcase")] == [
        "fail-on max_steps>0",
        "fail-on top1_agreement<0.1",
    ] * 2
    assert [f.attrib["message"].split(" is ")[0] for f in root.iter("failure")] == ["max_steps"] * 2
    told = invoke("diff", *pair, *limits, "--format", "github", "--layers")
    first, verdict, *markdown = told.stdout.splitlines()
    assert first.startswith(f"::error file={folder}/int8.tflite,title=quantdiff diff%3A fail-on max_steps>0::")
    assert first.count("max_steps is") == 2  # both runtimes in one of the ten annotations that a step may have
    assert verdict == "quantdiff diff: 2 of 4 checks failed"
    assert any(line.startswith("- tflite:tflm: first layer that differs:") for line in markdown)


@pytest.mark.golden
def test_a_runtime_that_fails_is_an_error_and_no_case_passes_for_it(folder: Path) -> None:
    np.savez(folder / "two.npz", allow_pickle=False, a=np.ones((3, 4), np.float32), b=np.ones((3, 4), np.float32))
    pair = models.save(folder, models.add(), "add.tflite"), models.save(folder, models.ABORTS, "aborts.tflite")
    result = invoke("diff", *pair, "--data", folder / "two.npz", "--format", "junit")
    assert result.exit_code == 2
    (case,) = parsed(result.stdout).iter("testcase")
    assert "SIGABRT" in case[0].attrib["message"]


@pytest.mark.golden
def test_verify_has_a_case_per_operator_and_runtime(folder: Path) -> None:
    result = invoke("verify", folder / "int8.tflite", "--format", "junit", "--runtime", "reference", "--samples", "2")
    assert result.exit_code == 0
    (suite,) = parsed(result.stdout)
    assert [case.attrib["name"] for case in suite] == ["simulated bit for bit", "#0 FULLY_CONNECTED"]
    custom = models.save(folder, models.custom(), "custom.tflite")
    failed = invoke("verify", custom, "--format", "github", "--runtime", "reference")
    assert failed.exit_code == 2
    assert failed.stdout.startswith("::error file=")


def test_lint_has_a_case_per_finding_and_takes_several_models(tmp_path: Path) -> None:
    clean = models.save(tmp_path, dense(), "clean.tflite")
    many = models.save(tmp_path, chain([("QUANTIZE", q("y")), ("QUANTIZE", q("z"))]), "many.tflite")
    result = invoke("lint", clean, many, "--format", "junit")
    assert result.exit_code == 1
    names = [case.attrib["name"] for case in parsed(result.stdout).iter("testcase")]
    assert names[0] == "all checks"
    assert len(set(names)) == len(names)
    (warning, verdict) = invoke("lint", many, "--format", "github").stdout.splitlines()[:2]
    assert re.match(r"::warning file=.*many.tflite,title=quantdiff lint%3A QUANT01::Two conversions in a row", warning)
    assert warning.count("same scale and zero point") == len(names) - 1
    assert verdict.startswith("quantdiff lint: ")
    assert invoke("lint", clean, clean).exit_code == 0
    assert invoke("lint", clean, clean, "--format", "github").stdout.startswith("quantdiff lint: 0 of 2 checks failed")


def test_trouble_is_told_in_the_form_asked_for(tmp_path: Path) -> None:
    result = invoke("lint", tmp_path / "none.tflite", "--format", "junit")
    assert result.exit_code == 2
    assert "No such file" in next(parsed(result.stdout).iter("error")).attrib["message"]
    assert result.stderr.startswith("error: ")
    assert invoke("lint", tmp_path / "none.tflite", "--format", "json").stdout == ""
    both = invoke("lint", tmp_path / "none.tflite", "--format", "junit", "--json")
    assert both.exit_code == 2
    assert "two forms" in both.stderr


def test_format_json_is_json(tmp_path: Path) -> None:
    clean = models.save(tmp_path, dense(), "clean.tflite")
    assert invoke("lint", clean, "--format", "json").stdout == invoke("lint", clean, "--json").stdout != ""
    assert '"models": [' in invoke("lint", clean, clean, "--json").stdout


def test_the_summary_goes_where_github_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = models.save(tmp_path, dense(), "clean.tflite")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    for _ in range(2):
        assert invoke("lint", clean, "--format", "github").stdout == "quantdiff lint: 0 of 1 check failed\n"
    assert (tmp_path / "summary.md").read_text().count("### quantdiff lint") == 2
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    result = invoke("lint", clean, "--format", "github")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "GITHUB_STEP_SUMMARY" in result.stderr


def test_names_from_a_file_stay_text() -> None:
    cases = tuple(Case(NASTY, NASTY, status, NASTY, NASTY, NASTY, NASTY) for status in Status)
    checked = Checked("lint", NASTY, cases, remarks=(NASTY,))
    root = parsed(junit_text(checked))
    assert len(list(root.iter("testcase"))) == len(Status)
    assert junit_text(checked).isascii()
    lines = workflow_commands(checked)
    assert len(lines) == 3 + 1  # trouble and failure of one name are one error
    for line in lines[:-1]:
        assert re.fullmatch(r"::(error|warning|notice) file=[^:,]*,title=[^:,]*::.*", line)
        assert line.isprintable()
        assert not re.search(r"%(?!25|0A|3A|2C)", line)
    for row in summary(checked).splitlines():
        assert row.isprintable()
        assert not re.search(r"(?<!\\)[<`]", row)
        if row.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", row)) == 5


def test_no_more_annotations_and_rows_than_github_takes() -> None:
    cases = tuple(Case("tflm", f"#{i} ADD", Status.FAILED, "differs") for i in range(ROWS + 1))
    lines = workflow_commands(Checked("verify", "", cases))
    assert len(lines) == AT_MOST + 1
    assert lines[AT_MOST - 1] == f"::error::{ROWS + 2 - AT_MOST} more are in the summary of this step"
    assert "… 1 more" in summary(Checked("verify", "", cases))


def test_files_are_named_as_the_repository_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path / "models")
    assert in_workspace("a.tflite") == "models/a.tflite"
    assert in_workspace(str(tmp_path / "b.tflite")) == "b.tflite"
    assert in_workspace("/elsewhere/c.tflite") == "/elsewhere/c.tflite"
    assert in_workspace("") == ""
