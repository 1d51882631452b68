"""Runtimes of ARM64: their names, the simulator that stands for one, the folder that emulates them, and an ARM host."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import float_pairs
import jinja2
import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner
from golden import Dice
from golden_network import network
from sim.floats import test_products as products
from sim.ops import test_curves as curves
from sim.ops import test_float_layers as float_layers
from sim.ops import test_hybrid as hybrid

from quantdiff import api
from quantdiff.cli import main
from quantdiff.compare.verification import load_and_verify
from quantdiff.errors import RootNotMade, RuntimeUnavailable
from quantdiff.load.data import make_batch
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run import emulation, emulation_root, runtimes
from quantdiff.run.inputs import may_batch
from quantdiff.run.runner import started
from quantdiff.run.runtimes import RUNTIMES, chosen, entry_of, rules_of
from quantdiff.sim.runtime import Runtime

ALL = ("xnnpack@arm64", "builtin@arm64", "reference@arm64")
HERE = emulation.root() is not None
needs_root = pytest.mark.skipif(not HERE, reason=f"nothing emulates ARM64 here: {emulation.BRINGS}")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.save(tmp_path, network(), "network.tflite")


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache without the folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "quantdiff" / "arm64"


@pytest.fixture
def on_arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this machine were one."""
    monkeypatch.setattr(runtimes, "HERE", "arm64")
    for name, entry in RUNTIMES.items():
        monkeypatch.setitem(RUNTIMES, name, replace(entry, machine="arm64"))


def test_names_of_architectures() -> None:
    assert chosen("all@arm64") == ALL
    assert chosen(["builtin@x86_64", "builtin"]) == ("builtin",)
    assert rules_of("builtin@arm64") is Runtime.BUILTIN_ARM64
    assert entry_of("builtin@arm64").machine == "arm64"


def test_what_has_no_wheel_is_named() -> None:
    with pytest.raises(
        RuntimeUnavailable, match="tflite-micro comes without a wheel for arm64, so nobody has measured"
    ):
        entry_of("tflm@arm64")


def test_on_arm64_plain_names_are_its_own(on_arm64: None) -> None:
    assert rules_of("builtin") is Runtime.BUILTIN_ARM64
    assert chosen(["builtin@arm64"]) == ("builtin",)
    assert rules_of("builtin@x86_64") is Runtime.BUILTIN
    assert entry_of("builtin@x86_64").module == runtimes.SIMULATED
    assert entry_of("tflm").simulated is None


def test_an_architecture_that_nobody_measured_has_no_rules(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setitem(RUNTIMES, "builtin", replace(RUNTIMES["builtin"], machine="riscv64"))
    verdict = load_and_verify(model, ["builtin"], samples=1).verdicts["builtin"]
    assert verdict.status == "unsupported"
    assert "nobody has measured builtin on riscv64" in verdict.why


def test_simulated_anywhere(nothing: Path, model: Path, tmp_path: Path) -> None:
    assert entry_of("builtin@arm64").module == runtimes.SIMULATED
    x = np.random.default_rng(0).normal(0, 3, (6, 5, 4, 2)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    arguments = [str(model), str(model), "--data", str(tmp_path / "data.npz"), "--runtime", "builtin@arm64"]
    for command in ("diff", "explain"):
        result = CliRunner().invoke(
            main, [command, *arguments, "--json", *(["--runtime", "builtin"] * (command != "diff"))]
        )
        assert result.exit_code in (0, 1), result.output
        assert "builtin@arm64" in result.stdout
    text = CliRunner().invoke(main, ["diff", *arguments]).output
    assert "builtin@arm64 is simulated: no arm64 runtime is here; `quantdiff runtimes --fetch arm64` brings it" in text
    worked = CliRunner().invoke(main, ["work", *arguments[1:4], "--op", "0", "--element", "0,1,2,3", *arguments[4:]])
    assert "S: one integer rounding" in worked.stdout
    assert "is simulated" in worked.stderr
    for command, *more in (["record", "--out", str(tmp_path / "dump.npz")], ["identify"]):
        told = CliRunner().invoke(main, [command, *arguments[1:], *more])
        assert (told.exit_code, "is simulated" in told.stderr) == (0, True), told.output
    cut = ["reduce", *arguments[1:], "--check", "differs", "--out", str(tmp_path / "cut")]
    assert "is not here to hold anything against" in CliRunner().invoke(main, cut).stderr


def test_verify_wants_the_real_one(nothing: Path, model: Path) -> None:
    result = CliRunner().invoke(main, ["verify", str(model), "--runtime", "builtin@arm64", "--json"])
    assert result.exit_code == 2
    said = json.loads(result.stdout)["runtimes"]["builtin@arm64"]
    assert said["status"] == "unavailable"
    assert "quantdiff runtimes --fetch arm64" in said["why"]


def test_rows_have_kernels_of_their_own_so_samples_run_alone(model: Path) -> None:
    graph = load_tflite(model).main
    assert may_batch(graph, Runtime.BUILTIN)
    assert may_batch(graph, Runtime.XNNPACK_ARM64)
    assert not may_batch(graph, Runtime.BUILTIN_ARM64)
    apart = float_layers.delegated(Dice(), float_layers.spread_hybrid)
    for case in (hybrid.dense(Dice(), True), products.dense(Dice()), apart):
        floats = read_model(memoryview(case.write())).main
        assert may_batch(floats, Runtime.XNNPACK)
        assert not may_batch(floats, Runtime.XNNPACK_ARM64)


def test_a_folder_that_is_not_whole_is_not_taken(nothing: Path) -> None:
    (nothing / "usr" / "bin").mkdir(parents=True)
    assert emulation.root() is None
    with pytest.raises(RootNotMade, match="is there and no such folder; remove it first"):
        emulation_root.make_root(None, print)
    for part in (emulation.COMPLETE, emulation.EMULATOR, emulation.PYTHON):
        (nothing / part).touch()
        assert emulation.root() is None
    for part in (emulation.COMPLETE, emulation.EMULATOR, emulation.PYTHON):
        (nothing / part).write_text("ai-edge-litert 2.3.0")
    assert emulation.root() == nothing
    with pytest.raises(RootNotMade, match="is made already"):
        emulation_root.make_root(None, print)


def test_what_cannot_be_fetched_is_one_line_and_leaves_nothing(
    nothing: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    result = CliRunner().invoke(main, ["runtimes", "--fetch", "arm64", "--into", str(tmp_path / "there")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no apt-get here")
    monkeypatch.setattr(shutil, "which", lambda name: f"/nowhere/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, ["runtimes", "--fetch", "arm64", "--into", str(tmp_path / "there")])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: dpkg cannot be started")
    assert [*tmp_path.iterdir()] == []
    assert CliRunner().invoke(main, ["runtimes", "--into", str(tmp_path)]).exit_code == 2


@pytest.mark.golden
@needs_root
def test_the_emulated_runtimes_are_exact(model: Path) -> None:
    verdicts = load_and_verify(model, ["all@arm64"], samples=8).verdicts
    assert {name: verdict.status for name, verdict in verdicts.items()} == dict.fromkeys(ALL, "exact")
    kernels = [each.kernel for each in verdicts["builtin@arm64"].operators]
    assert kernels == ["builtin@arm64", "builtin", "builtin", "builtin"]  # the dense layer sees one row


@pytest.mark.golden
@needs_root
def test_the_simulator_gives_what_the_emulated_one_gives(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch({"x": np.random.default_rng(1).normal(0, 3, (40, 5, 4, 2)).astype(np.float32)}, "memory")
    read = load_tflite(model)
    with started("builtin@arm64") as process:
        real = trace_tflite(read, batch, process)
    monkeypatch.setenv("XDG_CACHE_HOME", str(model.parent))
    with started("builtin@arm64") as process:
        found = trace_tflite(read, batch, process)
    assert real.notes == ("builtin@arm64 ran the samples one by one",)
    assert found.notes[0].startswith("builtin@arm64 is simulated")
    np.testing.assert_array_equal(real.outputs[0].array, found.outputs[0].array)


VERIFIED = """
from quantdiff.compare.verification import load_and_verify
for model in sys.argv[2:]:
    for name, verdict in load_and_verify(Path(model), ["builtin", "reference"], samples=2).verdicts.items():
        print(name, verdict.status, verdict.operators[0].kernel if verdict.operators else verdict.why)
"""
EXPLAINED = """
from quantdiff import api
for runtime in ("builtin", "xnnpack"):
    (found,) = api.explain(*sys.argv[2:], api.Settings(runtimes=(runtime,))).found
    print(found.made_by["versions"]["machine"], runtime, found.closed_candidate, found.unexplained)
"""


@pytest.fixture
def emulated(tmp_path: Path) -> Callable[..., str]:
    """What a program prints that uses this package as a whole under the emulated Python, whose machine is ARM64.

    Its C library is the runtime's own; packages without machine code are those of this Python.
    """
    folder, start = emulation.root(), tmp_path / "python"
    assert folder is not None
    words = [word for word in emulation.python(folder) if word not in ("-I", "-S")]
    start.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    start.chmod(0o755)
    here = Path(emulation.__file__).parents[2], Path(jinja2.__file__).parents[1]
    paths = os.pathsep.join(map(str, (folder / emulation.SITE, *here)))

    def run(program: str, *arguments: Path) -> str:
        beginning = "import sys\nfrom pathlib import Path\nsys.executable = sys.argv[1]\n"
        done = subprocess.run(
            [start, "-S", "-c", beginning + program, start, *arguments],
            env={**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.golden
@pytest.mark.thorough
@needs_root
def test_on_an_arm64_machine_plain_names_are_exact(model: Path, tmp_path: Path, emulated: Callable[..., str]) -> None:
    curve = models.save(tmp_path, curves.XNNPACK["ELU float32"](Dice()).write(), "elu.tflite")
    said = ["builtin exact builtin@arm64", "reference exact reference", "builtin exact builtin@arm64"]
    assert emulated(VERIFIED, model, curve).splitlines()[:3] == said


@pytest.mark.golden
@pytest.mark.thorough
@needs_root
def test_on_an_arm64_machine_the_account_closes(tmp_path: Path, emulated: Callable[..., str]) -> None:
    net, data = float_pairs.dense(), tmp_path / "data.npz"
    pair = float_pairs.float_model(net), float_pairs.int8_model(net, float_pairs.ranges(net))
    float_file, int8_file = (models.save(tmp_path, each, f"{k}.tflite") for k, each in enumerate(pair))
    (given,) = (t for t in load_tflite(float_file).main.tensors if t.index in load_tflite(float_file).main.inputs)
    np.savez(data, x=np.random.default_rng(0).normal(size=(40, *given.shape[1:])).astype(np.float32))
    said = [f"Linux aarch64 {runtime} True 0" for runtime in ("builtin", "xnnpack")]
    assert emulated(EXPLAINED, float_file, int8_file, data).splitlines() == said


def test_settings_take_the_names() -> None:
    assert api.Settings(runtimes=ALL).runtimes == ALL
