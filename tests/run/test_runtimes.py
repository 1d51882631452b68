"""The registry of runtimes: its rows hold together, and one without a simulator goes as far as it can."""

from __future__ import annotations

import json
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from written_models import Op, T, write_tflite

from quantdiff import api
from quantdiff.cli import main
from quantdiff.errors import NotSimulated, RuntimeUnavailable
from quantdiff.run.runtimes import RUNTIMES, RuntimeEntry, check_installed, chosen, entry_of, installed, rules_of
from quantdiff.sim.runtime import CHECKED, Runtime

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LAYERS, SAMPLES, UNITS = 2, 50, 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of two layers and the floats that it was made from, data for them, and ``plain`` among the runtimes."""
    rng, operators = np.random.default_rng(3), list[Op]()
    tensors, trained = [T("h0", (1, UNITS), scale=2**-6, zero_point=3)], [T("h0", (1, UNITS), "float32")]
    for n in range(1, LAYERS + 1):
        w, b = rng.integers(-127, 128, (UNITS, UNITS)), rng.integers(-500, 500, UNITS)
        tensors += [
            T(f"w{n}", (UNITS, UNITS), scale=0.003, data=w),
            T(f"b{n}", (UNITS,), "int32", 0.003 * 2**-6, data=b),
            T(f"h{n}", (1, UNITS), scale=2**-6, zero_point=-n),
        ]
        trained += [
            T(f"w{n}", (UNITS, UNITS), "float32", data=w * 0.003 + rng.uniform(-0.001, 0.001, w.shape)),
            T(f"b{n}", (UNITS,), "float32", data=b * 0.003 * 2**-6),
            T(f"h{n}", (1, UNITS), "float32"),
        ]
        operators.append(Op("FULLY_CONNECTED", [f"h{n - 1}", f"w{n}", f"b{n}"], [f"h{n}"], {}, version=4))
    ends = ["h0"], [f"h{LAYERS}"]
    (tmp_path / "model.tflite").write_bytes(write_tflite(tensors, operators, *ends))
    (tmp_path / "trained.tflite").write_bytes(write_tflite(trained, operators, *ends))
    np.save(tmp_path / "x.npy", rng.uniform(-1, 1, (SAMPLES, UNITS)).astype(np.float32))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where the child finds the adapter
    monkeypatch.setitem(RUNTIMES, "plain", RuntimeEntry("plain", "numpy_runtime", "numpy"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(command: str, *arguments: str) -> Result:
    models = ["model.tflite"] * (2 if command in ("diff", "explain") else 1)
    return CliRunner().invoke(main, [command, *models, "--data", "x.npy", *arguments])


@pytest.mark.parametrize("entry", RUNTIMES.values(), ids=str)
def test_a_row_names_what_is_there(entry: RuntimeEntry) -> None:
    assert find_spec(entry.adapter) is not None, f"run/runtimes.py: RUNTIMES: there is no module {entry.adapter}"
    assert not entry.extra or entry.extra in EXTRAS, f"pyproject.toml: optional-dependencies: no extra {entry.extra}"
    brought = EXTRAS[entry.extra] if entry.extra else PROJECT["project"]["dependencies"]
    assert any(each.startswith(f"{entry.package}>=") for each in brought), f"pyproject.toml brings no {entry.package}"
    wanted = PROJECT["dependency-groups"]["dev"]
    assert not entry.extra or any(entry.extra in each for each in wanted), f"pyproject.toml: dev lacks {entry.extra}"
    assert not entry.simulated or entry.package in CHECKED, f"sim/runtime.py has no release of {entry.package}"


def test_all_that_is_simulated_has_a_row() -> None:
    rows = {name for name, entry in RUNTIMES.items() if entry.simulated}
    assert {rules.family.value for rules in Runtime} == rows, "run/runtimes.py: RUNTIMES, or sim/runtime.py: Runtime"


def test_names_are_checked_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    here = tuple(RUNTIMES)
    assert chosen(["tflm", "xnnpack", "tflm"]) == ("tflm", "xnnpack")
    monkeypatch.setitem(RUNTIMES, "nowhere", RuntimeEntry("nowhere", "nowhere", "no-such-package", "nowhere"))
    monkeypatch.setitem(RUNTIMES, "bare", RuntimeEntry("bare", "nowhere", "no-such-package"))
    assert chosen("all") == installed() == here
    assert chosen("nowhere") == ("nowhere",)
    with pytest.raises(RuntimeUnavailable, match=r"nowhere is not installed: pip install 'quantdiff\[nowhere\]'"):
        check_installed(["xnnpack", "nowhere"])
    with pytest.raises(RuntimeUnavailable, match="bare is not installed: pip install no-such-package"):
        check_installed(["bare"])
    with pytest.raises(RuntimeUnavailable, match="no runtime 'gpu': there are xnnpack, builtin, "):
        check_installed(["gpu"])
    with pytest.raises(RuntimeUnavailable, match="no runtime 'gpu'"):
        entry_of("gpu")


def test_rules_are_those_of_the_simulator_or_none(folder: Path) -> None:
    del folder
    assert [rules_of(rules.value) for rules in Runtime] == list(Runtime)
    with pytest.raises(NotSimulated, match=r"plain is not simulated, .* these are: xnnpack, builtin, "):
        rules_of("plain")


@pytest.mark.golden
@pytest.mark.usefixtures("folder")
def test_without_a_simulator_diff_works() -> None:
    result = invoke("diff", "--runtime", "reference", "--runtime", "plain", "--json")
    assert result.exit_code == 1, result.output
    (found,) = (c for c in json.loads(result.stdout)["comparisons"] if c["candidate"] == "tflite:plain")
    assert found["count"] == SAMPLES * UNITS
    assert 0 < found["differing"] <= found["count"]


@pytest.mark.golden
@pytest.mark.usefixtures("folder")
def test_without_a_simulator_diff_finds_the_layers_that_differ() -> None:
    result = invoke("diff", "--layers", "--runtime", "reference", "--runtime", "plain", "--json")
    assert result.exit_code == 1, result.output
    rows = [row for row in json.loads(result.stdout)["layers"] if row.get("op") == "FULLY_CONNECTED"]
    theirs = rows[-LAYERS:]
    assert [row["local_differing"] for row in theirs] == [SAMPLES * UNITS] * LAYERS
    assert {row["local_max_steps"] for row in theirs} == {1}


@pytest.mark.golden
@pytest.mark.usefixtures("folder")
def test_without_a_simulator_explain_has_the_rungs_that_need_none() -> None:
    options = "--data", "x.npy", "--runtime", "reference", "--runtime", "plain", "--json"
    result = CliRunner().invoke(main, ["explain", "trained.tflite", "model.tflite", *options])
    assert result.exit_code == 0, result.output
    known, plain = json.loads(result.stdout)["explanations"]
    assert (plain["candidate"], plain["unsupported"]) == ("tflite:plain", ["rules for plain"])
    assert plain["closed"] == {"reference": True, "candidate": False}
    real = [rung["mechanism"] for rung in plain["rungs"]].index("op_approximation")
    after = [[rung["differing_after"] for rung in each["rungs"]] for each in (known, plain)]
    assert after[0][-2] == known["unexplained"] == 0
    assert after[1][real - 1] == after[1][-2] > SAMPLES * UNITS / 2  # a step in each layer
    assert plain["rungs"][-1]["resolved"] == plain["unexplained"] > SAMPLES * UNITS / 2
    assert after[0][0] > after[0][real - 1]
    assert after[1][-1] == 0
    assert plain["frontier"]


@pytest.mark.golden
@pytest.mark.usefixtures("folder")
def test_without_a_simulator_two_runtimes_are_told_apart_as_a_whole() -> None:
    result = invoke("explain", "--runtime", "reference", "--runtime", "plain", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["reference"], found["candidate"]) == ("tflite:reference", "tflite:plain")
    assert found["unsupported"] == ["rules for plain"]
    assert [rung["resolved"] for rung in found["rungs"]] == [0, 0, 0, found["differing"]]
    assert found["differing"] > SAMPLES * UNITS / 2
    text = invoke("explain", "--runtime", "reference", "--runtime", "plain").stdout
    assert "the simulator lacks rules for plain" in text


@pytest.mark.golden
@pytest.mark.usefixtures("folder")
def test_without_a_simulator_verify_says_so() -> None:
    result = invoke("verify", "--runtime", "reference", "--runtime", "plain", "--json")
    verdicts = json.loads(result.stdout)["runtimes"]
    assert result.exit_code == 1
    assert {name: verdict["status"] for name, verdict in verdicts.items()} == {
        "reference": "exact",
        "plain": "unsupported",
    }
    assert "plain: unsupported: not simulated" in invoke("verify", "--runtime", "plain").stdout
    everything = json.loads(invoke("verify", "--runtime", "all", "--json").stdout)
    assert list(everything["runtimes"]) == [rules.value for rules in Runtime.REFERENCE.neighbours]


@pytest.mark.usefixtures("folder")
def test_without_a_simulator_there_is_no_arithmetic_to_show() -> None:
    work = "work", "--op", "0", "--element", "0,0"
    for command in (work, ("vectors", "--out", "made")):
        result = invoke(*command, "--runtime", "plain")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("error: runtime plain is not simulated")
    with pytest.raises(NotSimulated):
        api.work("model.tflite", "x.npy", 0, (0, 0), api.Settings(runtimes=("plain",)))


@pytest.mark.usefixtures("folder")
def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    for command in (("diff",), ("verify",), ("work", "--op", "0", "--element", "0,0")):
        result = invoke(*command, "--runtime", "gpu")
        assert result.exit_code == 2
        assert "'gpu' is not one of" in result.stderr
        assert "'plain'" in result.stderr
