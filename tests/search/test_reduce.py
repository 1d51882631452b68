"""Planted faults in six networks come down to the operator that they are planted in, with the same difference."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from float_pairs import NETS, RELU, Net, Node, write_pair
from onnx import numpy_helper
from planted_faults import Plant, bias_wrong, kernel_changed, range_narrow, ranges_swapped, scale_doubled
from small_models import ABORTS, save

from quantdiff import api
from quantdiff.align.alignment import Alignment
from quantdiff.cli import main
from quantdiff.errors import BadExpression, NotConfirmed
from quantdiff.graph import Model
from quantdiff.load.data import Batch, load_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.recording import Flow
from quantdiff.references.tflite.reference import Tracer
from quantdiff.report.folder import write_reduction
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.inputs import inputs_of
from quantdiff.run.runner import RuntimeProcess
from quantdiff.search.cuts import Cutter, partners_of
from quantdiff.search.fault import Fault, Models
from quantdiff.search.reduce import Found, ask
from quantdiff.sim.node import Kernel, kernels
from quantdiff.sim.node import Node as SimNode


def chain(names: list[str], width: int = 12) -> Net:
    """Dense layers one after the other."""
    dice, nodes, before = np.random.default_rng(7), list[Node](), "x"
    for name in names:
        kernel = (1.2 * dice.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32)
        bias = (0.3 * dice.normal(size=width)).astype(np.float32)
        options = {"fusedActivationFunction": RELU if name != "y" else 0}
        nodes.append(Node("FULLY_CONNECTED", [before], name, (1, width), options, kernel, bias))
        before = name
    return Net({"x": (1, width)}, nodes, {"x": dice.normal(size=(32, width)).astype(np.float32)})


CASES: list[tuple[Callable[[], Net], Callable[[Net], Plant], float]] = [
    (NETS["dense"], kernel_changed, 0.5),
    (NETS["convolutional"], range_narrow, 0.1),
    (NETS["residual"], bias_wrong, 0.3),
    (NETS["two inputs"], ranges_swapped, 1.0),
    (lambda: chain(["a", "b", "c", "h1", "h2", "d", "y"]), bias_wrong, 0.2),
    (lambda: chain(["h1", "h2", "a", "b", "c", "y"]), scale_doubled, 0.5),
]
"""A network, a fault, and an error that roundings do not make."""


@pytest.mark.golden
@pytest.mark.parametrize(("net", "plant", "error"), CASES)
def test_a_planted_fault_comes_down_to_its_operator(
    tmp_path: Path, net: Callable[[], Net], plant: Callable[[Net], Plant], error: float
) -> None:
    planted = plant(net())
    pair = write_pair(tmp_path, planted.trained, planted.held, planted.stored, planted.scales)
    found = api.reduce([pair.reference, pair.candidate], pair.batch, f"max_abs_error>{error}").search
    model = load_tflite(pair.candidate)
    at = next(t.index for t in model.main.tensors if t.name == planted.tensor)
    maker = model.main.producer(at) or model.main.readers(at)[0]  # of an input what reads it
    assert found.ended == "smallest"
    assert found.found.operators == (f"{maker.index} {maker.op}",)
    assert len(found.found.rows) == 1
    _same_values(maker.outputs[0], found.found, pair.candidate, pair.batch, tmp_path)


def _same_values(index: int, found: Found, candidate: Path, batch: Batch, folder: Path) -> None:
    """What the part gives is, bit for bit, what the whole gives for some sample."""
    model, given = load_tflite(candidate), found.batch
    with RuntimeProcess("xnnpack") as process:
        whole = read_everything(model, inputs_of(model, batch), process).values
    path = folder / "part.tflite"
    path.write_bytes(found.models["model.tflite"])
    with RuntimeProcess("xnnpack") as process:
        (value,) = Tracer(load_tflite(path), process).trace(given).outputs
    assert any(np.array_equal(sample.reshape(-1), value.array.reshape(-1)) for sample in whole[index])


ONNX = Path(__file__).parent.parent / "onnx2tf_files"


@pytest.mark.golden
@pytest.mark.parametrize("channels_first", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_a_fault_beside_an_onnx_model_comes_down_to_its_operator(tmp_path: Path, channels_first: bool) -> None:
    """Its images are of as many channels as rows and columns there, so that no shape tells which axis is which."""
    model = onnx.load(ONNX / "net.onnx")
    (bias,) = (each for each in model.graph.initializer if each.name == "_v_76")
    changed = numpy_helper.to_array(bias) + np.array([0, 3, 0, 0, 0, 0], np.float32)
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    onnx.save(model, tmp_path / "net.onnx")
    images, candidate = load_batch(ONNX / "data.npz").arrays["image"], ONNX / "net_full_integer_quant.tflite"
    images = images if channels_first else np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    batch = Batch({"image": images})
    done = api.reduce([tmp_path / "net.onnx", candidate], batch, "max_abs_error>1.5")
    found = done.search.found
    assert (done.search.ended, found.operators, len(found.rows)) == ("smallest", ("2 CONV_2D",), 1)
    _same_values(8, found, candidate, batch, tmp_path)
    write_reduction(done, tmp_path / "d")
    again = CliRunner().invoke(main, shlex.split(done.line(tmp_path / "d"))[1:])
    assert (again.exit_code, found.says in again.stderr) == (1, True)
    assert float(found.says.removeprefix("max_abs_error is ")) == pytest.approx(3, abs=0.1)  # what was planted, alone


@pytest.mark.golden
def test_a_part_of_the_reference_takes_and_gives_values_as_they_lie_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file ends here with channels first, the reference with channels last: 6 of them, 6 rows, 6 columns."""
    found = list[Cutter]()

    def smallest(cutter: Cutter, *_: object) -> None:
        found.append(cutter)
        raise NotConfirmed("that is enough")

    monkeypatch.setattr("quantdiff.api.reductions.smallest", smallest)
    models = [ONNX / "net.onnx", ONNX / "net_full_integer_quant.tflite"]
    with pytest.raises(NotConfirmed, match="enough"):
        api.reduce(models, ONNX / "data.npz", "max_steps>=1")
    (cutter,) = found
    assert cutter.fits([3, 4, 5])
    files, batch = cutter.cut([3, 4, 5], [0])
    with RuntimeProcess("reference") as process:
        ours, theirs = (Tracer(_written(tmp_path / name, files[name]), process).trace(batch) for name in sorted(files))
    assert np.abs(ours.outputs[0].real - theirs.outputs[0].real).max() < 0.02
    assert ours.outputs[0].real.std() > 0.2


def _written(path: Path, content: bytes) -> Model:
    path.write_bytes(content)
    return load_tflite(path)


@pytest.mark.parametrize("net", NETS)
def test_where_no_values_agree_operators_that_compute_on_what_is_known_are_partners(tmp_path: Path, net: str) -> None:
    """As behind a fault in a large network: only inputs and outputs are known, by their places."""
    pair = write_pair(tmp_path, NETS[net]())
    models, nothing = [load_tflite(path) for path in (pair.reference, pair.candidate)], Flow("", (), (), ())
    found = partners_of(Alignment(nothing, nothing), models[1], models[0])
    names = {models[1].main.tensors[i].name: models[0].main.tensors[j].name for i, (j, _) in found.items()}
    every = {*NETS[net]().inputs, *(node.output for node in NETS[net]().nodes)}
    assert all(mine == other for mine, other in names.items())
    assert every - {*names} <= {"f"}  # a RESHAPE behind another one


@pytest.mark.golden
def test_what_rounds_beside_an_onnx_model_with_quantizers(tmp_path: Path) -> None:
    """Cuts at flattened values are among those tried; the reference is flattened before them, the file behind."""
    models = [ONNX / "net_qdq.onnx", ONNX / "net_full_integer_quant.tflite"]
    done = api.reduce(models, ONNX / "data.npz", "max_steps>=1")
    assert done.search.ended == "smallest"
    assert len(done.search.found.operators) <= 3
    write_reduction(done, tmp_path / "d")
    again = CliRunner().invoke(main, shlex.split(done.line(tmp_path / "d"))[1:])
    assert (again.exit_code, done.search.found.says in again.stderr) == (1, True)


@pytest.mark.golden
def test_what_is_written_shows_it_again_without_names(tmp_path: Path) -> None:
    planted = kernel_changed(NETS["dense"]())
    pair = write_pair(tmp_path, planted.trained, planted.held, planted.stored)
    np.savez(tmp_path / "x.npz", x=pair.batch.arrays["x"])
    words = ["reduce", str(pair.reference), str(pair.candidate), "--data", str(tmp_path / "x.npz")]
    out = tmp_path / "small"
    done = CliRunner().invoke(main, [*words, "--check", "max_abs_error>1", "--out", str(out), "--anonymous", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert sorted(each.name for each in out.iterdir()) == [
        "inputs.npz", "model.tflite", "reference.tflite", "reproduce.txt",
    ]  # fmt: skip
    line = (out / "reproduce.txt").read_text()
    assert shlex.split(line) == shlex.split(told["command"])
    again = CliRunner().invoke(main, shlex.split(line)[1:])
    assert (again.exit_code, "max_abs_error>1" in again.stderr) == (1, True)
    assert told["after"] in again.stderr
    for name in ("model.tflite", "reference.tflite"):
        small, whole = (load_tflite(path).main for path in (out / name, pair.candidate))
        assert {t.name for t in small.tensors}.isdisjoint(t.name for t in whole.tensors)
    before = next(t.data for t in load_tflite(pair.candidate).main.tensors if t.name == "h2_w")
    kernels = (t.data for t in load_tflite(out / "model.tflite").main.tensors if t.data is not None)
    after = next(kernel for kernel in kernels if kernel.ndim > 1)
    assert before is not None
    assert not np.array_equal(after, before)
    assert np.array_equal(np.sort(after, axis=1), np.sort(before, axis=1))  # the same codes in each channel
    assert len(load_batch(out / "inputs.npz")) == 1


@pytest.mark.golden
def test_a_crash_is_tried_in_children(tmp_path: Path) -> None:
    path = save(tmp_path, ABORTS)
    found = api.reduce([path], "random:4", "crash")
    assert "crashed" in found.before
    assert (found.search.found.operators, len(found.search.found.rows)) == (("0 ADD",), 1)
    write_reduction(found, tmp_path / "d")
    again = CliRunner().invoke(main, shlex.split(found.line(tmp_path / "d"))[1:])
    assert (again.exit_code, "xnnpack on model.tflite crashed" in again.stderr) == (2, True)


@pytest.mark.golden
def test_a_runtime_that_is_not_as_its_simulator_comes_down_to_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator's maximum is broken on purpose, since none is known that differs."""
    right = kernels()["MEAN"]

    def wrong(node: SimNode, *inputs: Array, **how: Any) -> Any:
        return np.maximum(cast("Array", right.function(node, *inputs, **how)), -100)

    monkeypatch.setitem(cast("dict[str, Kernel]", kernels()), "MEAN", replace(right, function=wrong))
    pair = write_pair(tmp_path, NETS["convolutional"]())
    np.savez(tmp_path / "x.npz", x=pair.batch.arrays["x"])
    words = ["reduce", str(pair.candidate), "--data", str(tmp_path / "x.npz"), "--check", "differs"]
    out = tmp_path / "small"
    done = CliRunner().invoke(main, [*words, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["operators"], told["samples"], told["ended"]) == ([2], 1, "smallest")
    again = CliRunner().invoke(main, shlex.split(told["command"])[1:])
    assert (again.exit_code, "MEAN" in again.stdout) == (1, True)
    monkeypatch.undo()
    assert CliRunner().invoke(main, shlex.split(told["command"])[1:]).exit_code == 0
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "none")])
    assert (done.exit_code, done.stderr.count("\n"), (tmp_path / "none").exists()) == (2, 1, False)
    assert "--check differs does not show, for these models and data; there is nothing to reduce" in done.stderr


@pytest.mark.golden
def test_nothing_to_reduce(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, NETS["dense"]())
    with pytest.raises(NotConfirmed, match="max_steps>100 does not hold: max_steps is"):
        api.reduce([pair.reference, pair.candidate], pair.batch, "max_steps>100")
    with pytest.raises(BadExpression, match="give a reference too, or two runtimes"):
        api.reduce([pair.candidate], pair.batch, "max_steps>1")
    with pytest.raises(BadExpression, match="leave the reference out"):
        api.reduce([pair.reference, pair.candidate], pair.batch, "crash")


@pytest.mark.golden
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_the_best_so_far_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    planted = bias_wrong(NETS["residual"]())
    pair = write_pair(tmp_path, planted.trained, planted.held, planted.stored)
    files, check = [pair.reference, pair.candidate], "max_abs_error>0.3"
    assert api.reduce(files, pair.batch, check, limit=1e-9).search.ended == "time"
    asked, out = list[Path](), tmp_path / "small"

    def interrupted(fault: Fault, models: Models, batch: Batch, folder: Path) -> str:
        asked.append(folder)
        if len(asked) == 3:
            os.kill(os.getpid(), number)
        return ask(fault, models, batch, folder)

    monkeypatch.setattr("quantdiff.search.reduce.ask", interrupted)
    np.savez(tmp_path / "x.npz", x=pair.batch.arrays["x"])
    words = ["reduce", *map(str, files), "--data", str(tmp_path / "x.npz"), "--check", check, "--out", str(out)]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 128 + number
    assert f"interrupted; the smallest so far is in {out}" in done.stderr
    told = json.loads(done.stdout)
    assert (told["ended"], 0 < len(told["operators"]) < 6) == ("interrupted", True)
    monkeypatch.undo()
    assert CliRunner().invoke(main, shlex.split(told["command"])[1:]).exit_code == 1
