"""The pytest plugin as people meet it: what a failing test says, what it leaves behind, what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import small_models as models

pytest_plugins = ("pytester",)
HEAVY = ("numpy", "tensorflow", "tf_keras", "keras", "ai_edge_litert", "numba", "bokeh")


@pytest.fixture
def here(pytester: pytest.Pytester) -> Path:
    models.save(pytester.path, models.dense(), "int8.tflite")
    models.save(pytester.path, models.dense(zero_point=5), "shifted.tflite")  # clips the input at another end
    np.save(pytester.path / "x.npy", np.random.default_rng(0).uniform(-2, 2, (50, models.DEPTH)).astype(np.float32))
    return pytester.path


def test_the_plugin_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import sys
        from quantdiff.testing import assert_parity as imported

        def test_light(assert_parity):
            assert assert_parity is imported
            assert not {set(HEAVY)!r} & set(sys.modules)
    """)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.golden
def test_a_runtime_that_refuses_is_one_line_and_a_skip_where_asked(here: Path, pytester: pytest.Pytester) -> None:
    models.save(here, models.custom(), "custom.tflite")
    np.save(here / "four.npy", np.ones((3, 4), np.float32))
    pytester.makepyfile("""
        def test_fails(assert_parity):
            assert_parity("custom.tflite", "custom.tflite", "four.npy")

        def test_skips(assert_parity):
            assert_parity("custom.tflite", "custom.tflite", "four.npy", or_skip=True)

        def test_bad_data_is_never_skipped(assert_parity):
            assert_parity("int8.tflite", "int8.tflite", "missing.npy", or_skip=True)
    """)
    result = pytester.runpytest_subprocess("-rs")
    result.assert_outcomes(failed=2, skipped=1)
    result.stdout.no_fnmatch_line("*testing.py*")
    result.stdout.no_fnmatch_line("*src/quantdiff*")
    said = [line for line in result.outlines if line.startswith("E ")]
    assert len(said) == 2  # one line each
    assert "custom.tflite" in said[0]


@pytest.mark.golden
def test_a_failing_test_tells_figure_layer_and_mechanism(here: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        def test_same(assert_parity):
            assert_parity("int8.tflite", "int8.tflite", "x.npy", max_steps=0)

        def test_drift(assert_parity):
            assert_parity("shifted.tflite", "int8.tflite", "x.npy", max_steps=0, runtime="reference")
    """)
    result = pytester.runpytest_subprocess("--quantdiff-report=made/reports")  # in this process it forgets modules
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       assert_parity("shifted.tflite"*',
            "E       AssertionError: no parity: shifted.tflite and int8.tflite on x.npy",
            "E       tflite:reference:",
            "E         max_steps is *, at most 0 allowed: * beyond",
            "E         first layer that differs: * of 400 values differ, at most by * step*",
            "E         leading mechanism: input_quantized: *the input's grid*the file holds*the data reach*",
            "E       more: quantdiff explain shifted.tflite int8.tflite --data x.npy --runtime=reference",
        ],
    )
    result.stdout.no_fnmatch_line("*testing.py*")  # a failure points to the test
    same, drift = sorted((here / "made/reports").iterdir(), key=lambda folder: "drift" in folder.name)
    assert json.loads((same / "report.json").read_text())["passed"] is True
    document = json.loads((drift / "report.json").read_text())
    assert document["passed"] is False
    assert document["limits"][0]["metric"] == "max_steps"
    assert document["layers"]
    assert "no parity" in (drift / "report.md").read_text()
    assert (drift / "report.html").read_text().count("<h1") == 1
    assert not (same / "report.html").exists()


def test_a_folder_that_cannot_be_made_is_refused_at_once(pytester: pytest.Pytester) -> None:
    (pytester.path / "taken").touch()
    result = pytester.runpytest_inprocess("--quantdiff-report=taken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--quantdiff-report taken: cannot be written*"])
