"""Every kind of file that the converter makes, against the float file and the Keras model: the account closes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import once

from quantdiff import api
from quantdiff.graph import Graph, Tensor
from quantdiff.ladder.explanation import BIAS, CLIPPING, GRAPH, KERNEL, WEIGHTS, Explanation
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.reference import converter_of

pytestmark = [pytest.mark.keras, pytest.mark.golden]

Kinds = dict[str, Path]


def network() -> Any:
    """Convolution, norm, residual sum, mean, dense, softmax."""
    layers, model = frameworks().keras.layers, frameworks().keras.Model
    image = layers.Input((8, 8, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(24, 3, padding="same")(image)))
    x = layers.Add()([x, layers.Conv2D(24, 3, padding="same", activation="relu")(x)])
    return model(image, layers.Dense(5, activation="softmax", name="head")(layers.GlobalAveragePooling2D()(x)))


def settings_of(kind: str, converter: Any, x: Array) -> None:
    """Ask the converter for a kind of file."""
    tf = frameworks().tf
    if kind == "float":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "uint8", "int8 inside", "int16x8"):
        converter.representative_dataset = lambda: ([row[None]] for row in x)
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide if kind == "int16x8" else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind in ("int8", "uint8"):
        converter.inference_input_type = converter.inference_output_type = tf.int8 if kind == "int8" else tf.uint8


KINDS = ("float", "int8", "uint8", "int8 inside", "int16x8", "float16", "dynamic range")


def make(folder: Path) -> Kinds:
    """The model, its data, and every kind of file."""
    frameworks().keras.utils.set_random_seed(7)
    dice, model = np.random.default_rng(8), network()
    x = dice.normal(size=(96, 8, 8, 3)).astype(np.float32)
    for weight in model.weights:
        if "kernel" not in weight.name:
            weight.assign(dice.uniform(0.3, 0.9, weight.shape))
    found = {"keras": folder / "model.keras", "data": folder / "data.npz"}
    with quiet():
        model.save(str(found["keras"]))
        for kind in KINDS:
            converter = converter_of(model)
            settings_of(kind, converter, x)
            found[kind] = folder / f"{kind.replace(' ', '-')}.tflite"
            found[kind].write_bytes(converter.convert())
    np.savez(found["data"], allow_pickle=False, x=x)
    return found


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    return once(tmp_path_factory, "kinds", make)


def explained(kinds: Kinds, reference: str, kind: str) -> Explanation:
    settings = api.Settings(runtimes=("reference",), tolerance=1e-6)
    (explanation,) = api.explain(kinds[reference], kinds[kind], kinds["data"], settings).found
    return explanation


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_account_closes_against_the_float_file(kinds: Kinds, kind: str) -> None:
    explanation = explained(kinds, "float", kind)
    assert not explanation.unaccounted
    assert explanation.closed_reference
    assert explanation.frontier is not None
    assert sum(explanation.frontier.shares.values()) == pytest.approx(1, abs=1e-9)
    assert explanation.rewritten is not None
    finer = 256 if kind == "int16x8" else 1  # such steps, and those of biases of 64 bits, are finer than float32
    assert explanation.rewritten.max_steps < 1e-3 * finer
    assert explanation.real is not None
    graph = [item.max_steps for item in explanation.frontier.items if item.mechanism == GRAPH]
    assert max(graph, default=0.0) < 1e-6, "beside the reference in double, whatever the step"
    assert explanation.rewritten.max_steps == pytest.approx(explanation.real.max_steps, abs=1e-6)
    assert all(match.how == "position" for match in explanation.matching)
    assert all(match.steps is not None and match.steps < (1 if finer > 1 else 0.51) for match in explanation.matching)
    if kind != "float16":
        assert abs(explanation.frontier.shares.get(BIAS, 0.0)) < 0.05


def test_a_keras_model_says_the_same(kinds: Kinds) -> None:
    ours, theirs = (explained(kinds, reference, "int8") for reference in ("keras", "float"))
    assert ours.frontier is not None
    assert theirs.frontier is not None
    assert ours.closed_reference
    assert any("head" in item.layer for item in ours.frontier.items), [item.layer for item in ours.frontier.items]
    for mechanism, share in theirs.frontier.shares.items():
        assert ours.frontier.shares.get(mechanism, 0.0) == pytest.approx(share, abs=1e-4)


def test_float16_is_a_matter_of_weights(kinds: Kinds) -> None:
    explanation = explained(kinds, "float", "float16")
    assert explanation.frontier is not None
    assert explanation.frontier.shares[WEIGHTS] + explanation.frontier.shares[BIAS] > 0.95


def test_dynamic_range_rounds_its_inputs_in_the_kernel(kinds: Kinds) -> None:
    explanation = explained(kinds, "float", "dynamic range")
    assert explanation.frontier is not None
    assert explanation.frontier.shares[WEIGHTS] + explanation.frontier.shares[KERNEL] > 0.95
    assert explanation.frontier.shares[KERNEL] > 0.01
    said = [note for note in explanation.notes if note.startswith("dynamic range: ")]
    assert len(said) == (explanation.frontier.shares[KERNEL] >= 0.05)


def kernel_negated(data: bytearray, graph: Graph) -> str:
    """The head's kernel with its signs turned round."""
    kernel = next(t for t in graph.tensors if t.is_constant and t.shape == (5, 24))
    _overwrite(data, kernel, -np.asarray(kernel.data))
    return WEIGHTS


def bias_wrong(data: bytearray, graph: Graph) -> str:
    """One bias of the first convolution three times as large as what the sums reach."""
    first = next(op for op in graph.operators if op.op == "CONV_2D")
    bias = graph.tensors[first.inputs[2]]
    stored = np.array(bias.data)
    stored[4] += 30_000
    _overwrite(data, bias, stored)
    return BIAS


def range_narrow(data: bytearray, graph: Graph) -> str:
    """The sum's range a fifth of what it was."""
    added = graph.tensors[next(op for op in graph.operators if op.op == "ADD").outputs[0]]
    assert added.quant is not None
    scale = np.float32(added.quant.scale[0])
    places = [at for at in range(len(data)) if data[at : at + 4] == scale.tobytes()]
    for at in places:  # others may have the same scale
        changed = bytearray(data)
        changed[at : at + 4] = np.float32(scale / 5).tobytes()
        tensor = read_model(memoryview(bytes(changed))).main.tensors[added.index]
        if tensor.quant is not None and tensor.quant.scale[0] < scale:
            data[:] = changed
            break
    return CLIPPING


def _overwrite(data: bytearray, tensor: Tensor, values: Array) -> None:
    assert tensor.data is not None
    at = data.index(tensor.data.tobytes())
    data[at : at + tensor.data.nbytes] = values.astype(tensor.data.dtype).tobytes()


@pytest.mark.parametrize("plant", [kernel_negated, bias_wrong, range_narrow])
@pytest.mark.parametrize("reference", ["keras", "float"])
def test_what_is_planted_in_a_converted_file_leads(
    kinds: Kinds, tmp_path: Path, reference: str, plant: Callable[[bytearray, Graph], str]
) -> None:
    data = bytearray(kinds["int8"].read_bytes())
    mechanism = plant(data, load_tflite(kinds["int8"]).main)
    (tmp_path / "planted.tflite").write_bytes(data)
    explanation = explained({**kinds, "planted": tmp_path / "planted.tflite"}, reference, "planted")
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert explanation.leading == mechanism
    assert explanation.frontier is not None
    assert explanation.frontier.items[0].mechanism == mechanism
    assert explanation.frontier.items[0].share >= 0.9
