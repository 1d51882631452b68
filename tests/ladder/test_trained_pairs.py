"""The account closes on whole trained networks and on every runtime; what is planted is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Runs
from networks import NETWORKS, thorough
from quantized_models import Made

from quantdiff import api
from quantdiff.ladder.explanation import BIAS, KERNEL, LISTED, MECHANISMS, ROUNDING, WEIGHTS, Explanation
from quantdiff.load.data import Batch, load_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.reference import converter_of
from quantdiff.run.runtimes import RUNTIMES

SAMPLES = 24
ALL = api.Settings(runtimes=tuple(RUNTIMES))

pytestmark = [pytest.mark.keras, pytest.mark.golden]


def some(path: Path, count: int = SAMPLES) -> Batch:
    batch = load_batch(path)
    return replace(batch, arrays={name: array[:count] for name, array in batch.arrays.items()}, labels=None)


def check_account(explanation: Explanation) -> None:
    """Every item adds up, every output that differs is resolved once, and both ends are the real ones."""
    assert not explanation.unaccounted
    assert not explanation.unsupported
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert explanation.unexplained == 0
    assert explanation.frontier is not None
    assert explanation.frontier.closes < 1e-9
    if explanation.frontier.rms_steps:
        assert sum(explanation.frontier.shares.values()) == pytest.approx(1, abs=1e-9)
    assert [rung.mechanism for rung in explanation.rungs] == list(MECHANISMS)
    assert sum(rung.resolved for rung in explanation.rungs) == explanation.differing
    assert explanation.rungs[0].differing_after == explanation.differing
    assert explanation.rungs[-1].differing_after == 0
    listed = Counter(each.mechanism for each in explanation.differences)
    if explanation.differing <= LISTED:
        assert listed == {rung.mechanism: rung.resolved for rung in explanation.rungs if rung.resolved}
    restating = [item for item in explanation.frontier.items if item.op in ("DEQUANTIZE", "RESHAPE")]
    assert sum(abs(item.power) for item in restating if item.mechanism == KERNEL) < 1e-6
    for above, below in pairwise(explanation.rungs):
        assert abs(above.differing_after - below.differing_after) <= below.changed
    for layer in explanation.layers:
        assert layer.local[-2:] == layer.differing_after[-2:] == (0, 0)


def check_graph(explanation: Explanation) -> None:
    """The file's graph with the reference's numbers is the reference, but for a tie at one of its own roundings."""
    assert explanation.rewritten is not None
    assert explanation.real is not None
    assert not explanation.departs
    assert explanation.rewritten.flips <= explanation.real.flips + 1
    if explanation.reference == "float":
        assert explanation.rewritten.max_steps < 1e-3
    assert all(match.how != "none" for match in explanation.matching)


@pytest.mark.parametrize("name", thorough(sorted(NETWORKS)))
def test_every_output_of_every_network_is_accounted_for(networks: Callable[[str], Made], name: str) -> None:
    made = networks(name)
    answer = api.explain(made.keras, made.tflite, some(made.data), ALL)
    assert not answer.failures
    assert [each.runtime for each in answer.found] == list(RUNTIMES)
    for explanation in answer.found:
        check_account(explanation)
        check_graph(explanation)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("model", thorough(["dense1", "dense2", "dense3", "dense4", "CNN"], ["dense2", "CNN"]))
def test_zoo_with_and_without_bias(runs: Runs, model: str, bias: bool) -> None:
    _, out = runs(model=model, bias=bias)
    answer = api.explain(out / "qat.h5", out / "model.tflite", some(out / "data.npz", 400), ALL)
    for explanation in answer.found:
        check_account(explanation)
        rung = explanation.find(BIAS)
        assert rung is not None
        assert bias or model == "CNN" or rung.changed == 0


def test_bias_leads_on_reference_and_rounding_on_builtin(runs: Runs) -> None:
    _, out = runs(model="dense2")
    answer = api.explain(out / "qat.h5", out / "model.tflite", out / "data.npz", ALL)
    leading = {each.runtime: each.leading for each in answer.found}
    assert leading["reference"] == leading["xnnpack"] == BIAS
    rungs = {each.runtime: {rung.mechanism: rung.resolved for rung in each.rungs} for each in answer.found}
    assert rungs["reference"][BIAS] > 0.9 * answer.found[0].differing
    assert rungs["builtin"][ROUNDING] > rungs["builtin"][BIAS]


def test_a_grid_that_the_reference_puts_behind_its_flattening_stands_at_the_files_input(
    runs: Runs, tmp_path: Path
) -> None:
    """The file quantizes its input at once: values between the steps, and beyond the range, are the same on both."""
    _, out = runs(model="dense2")
    x = np.random.default_rng(3).uniform(-0.5, 2, (200, 28, 28)).astype(np.float32)
    np.savez(tmp_path / "between.npz", allow_pickle=False, x=x)
    (explanation,) = api.explain(out / "qat.h5", out / "model.tflite", tmp_path / "between.npz").found
    check_account(explanation)
    check_graph(explanation)
    assert not explanation.unaccounted


def test_float_reference_begins_with_ranges_and_weights(runs: Runs) -> None:
    _, out = runs(model="CNN")
    (explanation,) = api.explain(out / "float.keras", out / "model.tflite", some(out / "data.npz")).found
    check_account(explanation)
    assert explanation.reference == "float"
    assert not {each.tensor for each in explanation.wrong_weights if each.planted}


def test_two_runtimes_of_one_file_differ_by_rounding_alone(runs: Runs) -> None:
    _, out = runs(model="dense2")
    settings = api.Settings(runtimes=("reference", "builtin", "xnnpack"))
    answer = api.explain(out / "model.tflite", out / "model.tflite", out / "data.npz", settings)
    assert [each.reference for each in answer.found] == ["tflite:reference"] * 2
    for explanation in answer.found:
        assert explanation.closed_reference
        assert explanation.closed_candidate
        rung = explanation.find(ROUNDING)
        assert rung is not None
        assert rung.resolved == explanation.differing
    assert answer.found[0].differing > answer.found[1].differing == 0


def test_planted_weight_is_found_named_and_told_from_rounding(runs: Runs, tmp_path: Path) -> None:
    _, out = runs(model="dense2")
    model = load_tflite(out / "model.tflite")
    kernel = next(t for t in model.main.tensors if t.is_constant and t.shape == (10, 10))
    assert kernel.data is not None
    data = bytearray((out / "model.tflite").read_bytes())
    at = data.index(kernel.data.tobytes())
    data[at + 37] ^= 0x60
    (tmp_path / "planted.tflite").write_bytes(data)
    (explanation,) = api.explain(out / "qat.h5", tmp_path / "planted.tflite", some(out / "data.npz")).found
    check_account(explanation)
    (wrong,) = explanation.wrong_weights
    assert (wrong.count, wrong.worst) == (1, (3, 7))
    assert "dense_1" in wrong.layer
    assert wrong.planted
    assert wrong.max_steps > 30
    assert explanation.leading == WEIGHTS


def test_local_errors_belong_to_the_layer_that_makes_them(runs: Runs) -> None:
    _, out = runs(model="dense2")
    (explanation,) = api.explain(out / "qat.h5", out / "model.tflite", out / "data.npz").found
    first, last = (layer for layer in explanation.layers if layer.op == "FULLY_CONNECTED")
    assert first.local == first.differing_after
    assert explanation.differing == last.differing_after[0]


def several_ends() -> object:
    """Two inputs, a layer that is called on both, a model inside, two outputs."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    left, right = layers.Input((6,), name="left"), layers.Input((6,), name="right")
    shared = layers.Dense(5, activation="relu", name="shared")
    inner = layers.Input((10,))
    nested = model(inner, layers.Dense(4, activation="tanh", name="deep")(inner), name="nested")
    joined = nested(layers.Concatenate()([shared(left), shared(right)]))
    return model([left, right], [layers.Dense(3, name="first")(joined), layers.Dense(2, name="second")(joined)])


def test_several_inputs_and_outputs_shared_and_nested_layers(tmp_path: Path) -> None:
    frameworks().keras.utils.set_random_seed(5)
    model: Any = several_ends()
    dice = np.random.default_rng(6)
    x = {name: dice.normal(size=(60, 6)).astype(np.float32) for name in ("left", "right")}
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign(dice.normal(size=weight.shape))
    lite = frameworks().tf.lite
    with quiet():
        model.save(str(tmp_path / "model.h5"))
        converter = converter_of(model)
        converter.optimizations = [lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x["left"][i : i + 1], x["right"][i : i + 1]] for i in range(60))
        converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = frameworks().tf.int8
        (tmp_path / "model.tflite").write_bytes(converter.convert())
    np.savez(tmp_path / "data.npz", allow_pickle=False, **x)
    files = tmp_path / "model.h5", tmp_path / "model.tflite", tmp_path / "data.npz"
    answer = api.explain(*files, api.Settings(runtimes=("reference", "xnnpack")))
    for explanation in answer.found:
        check_account(explanation)
        assert explanation.count == 60 * 5
        check_graph(explanation)
