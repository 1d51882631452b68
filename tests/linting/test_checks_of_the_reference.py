"""The checks of the trained model on what is read of Keras: real TFMOT models whose ranges are set by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linting.models_with_findings import chain, dense, f
from linting.test_trained import Given

from quantdiff.linting.lint import Finding, Trained, lint_model
from quantdiff.load.tflite import read_model
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import KerasModel, describe, load_keras
from quantdiff.references.keras.reference import converter_of

pytestmark = pytest.mark.keras

SHAPE = (4, 4, 2)
INT8, FLOAT = read_model(memoryview(dense())), read_model(memoryview(chain([("TANH", f("y"))], f("x"))))
RELU_RANGES = {"conv": "quant_relu output", "dense": "quant_dense post_activation", "act": "quant_act output"}


def quantize_aware(*layers: Any) -> Any:
    """A TFMOT model that has seen three batches."""
    model = frameworks().keras.Sequential([frameworks().keras.layers.InputLayer(input_shape=SHAPE), *layers])
    with quiet():
        qat = tfmot().quantization.keras.quantize_model(model)
    rng = np.random.default_rng(0)
    for _ in range(3):
        qat(rng.normal(size=(16, *SHAPE)).astype(np.float32), training=True)
    return qat


@pytest.fixture(scope="module")
def trained() -> Any:
    layers = frameworks().keras.layers
    return quantize_aware(
        layers.Conv2D(3, 2, name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.Flatten(name="flat"),
        layers.Dense(4, activation="relu", name="dense"),
        layers.Dense(4, name="before"),
        layers.Activation("relu", name="act"),
        layers.Dense(4, name="linear"),
    )


@pytest.fixture
def settled(trained: Any) -> Any:
    """The model as after long training: 0 to 4 behind a ReLU, -3 to 3 elsewhere."""
    for layer in trained.layers:
        for variable in layer.weights:
            name = variable.name.split("/")[-1]
            if name.endswith(("_min:0", "_max:0")) and not name.startswith("kernel"):
                behind = any(key == f"{layer.name} {name[:-6]}" for key in RELU_RANGES.values())
                variable.assign((0.0 if behind else -3.0) if "_min" in name else (4.0 if behind else 3.0))
    return trained


def put(model: Any, layer: str, stem: str, low: float, high: float) -> None:
    variables = {v.name.split("/")[-1].removesuffix(":0"): v for v in model.get_layer(layer).weights}
    for end, value in (("min", low), ("max", high)):
        variables[f"{stem}_{end}"].assign(np.full(variables[f"{stem}_{end}"].shape, value, np.float32))


def given(keras: KerasModel) -> Given:
    return Given(keras.kind, read_layers(keras))


def found(model: Any, file: Any = INT8) -> tuple[Finding, ...]:
    return lint_model(file, given(describe(model, "qat"))).findings


def test_a_settled_model_has_no_finding(settled: Any) -> None:
    assert found(settled) == ()


@pytest.mark.parametrize(
    ("layer", "stem"), [("quant_linear", "kernel"), ("quant_conv", "kernel"), ("quant_relu", "output")]
)
def test_a_range_that_was_never_touched(settled: Any, layer: str, stem: str) -> None:
    kept = [variable.numpy() for variable in settled.weights]
    put(settled, layer, stem, -6, 6)
    (finding,) = found(settled)
    settled.set_weights(kept)
    assert (finding.code, finding.evidence) == ("QAT01", "-6 and 6, the values at the start")
    assert finding.place.text.endswith(f"{layer} {stem}_min/max")


@pytest.mark.parametrize(("low", "high", "codes"), [(-5.6, 5.5, ["QAT02"]), (-5.6, 3.0, []), (-5.3, 5.9, [])])
def test_a_range_near_its_start(settled: Any, low: float, high: float, codes: list[str]) -> None:
    put(settled, "quant_linear", "post_activation", low, high)
    assert [finding.code for finding in found(settled)] == codes


def test_the_input_range_may_be_anything_but_the_start(settled: Any) -> None:
    put(settled, settled.layers[0].name, settled.layers[0].name, -5.9, 5.9)
    (finding,) = found(settled)
    assert (finding.code, finding.evidence) == ("QAT02", "-5.9 to 5.9")


@pytest.mark.parametrize("where", RELU_RANGES.values())
def test_a_relu_that_reaches_below_0(settled: Any, where: str) -> None:
    layer, stem = where.split()
    put(settled, layer, stem, -1.0, 4.0)
    (finding,) = found(settled)
    assert (finding.code, finding.evidence) == ("QAT03", "-1 to 4: 20.0% of the codes; as after 1791 steps")
    put(settled, layer, stem, -0.1, 4.0)
    assert found(settled) == ()


def test_a_linear_layer_may_reach_below_0(settled: Any) -> None:
    put(settled, "quant_linear", "post_activation", -2.0, 4.0)
    assert found(settled) == ()


def test_a_leaky_relu_may_reach_below_0() -> None:
    layers = frameworks().keras.layers
    model = quantize_aware(layers.ReLU(negative_slope=0.1), layers.Flatten())
    learned = list(Trained("qat", given(describe(model, "")).layers(), INT8).ranges())
    assert learned
    assert not any(each.behind_relu for each in learned)


def test_annotated_but_never_applied() -> None:
    used = frameworks()
    annotate = tfmot().quantization.keras.quantize_annotate_layer
    dense_layer, given = used.keras.layers.Dense, used.keras.layers.InputLayer(input_shape=(4,))
    model = used.keras.Sequential([given, annotate(dense_layer(3)), dense_layer(2)])
    (finding,) = found(model)
    assert (finding.code, finding.evidence) == ("QAT04", "1 annotated layer, none quantized")
    assert found(used.keras.Sequential([dense_layer(2, input_shape=(4,))])) == ()


def test_a_quantization_aware_model_with_a_float_file(settled: Any) -> None:
    assert [finding.code for finding in found(settled, FLOAT)] == ["QAT05"]


@pytest.mark.parametrize(("fold", "island"), [(False, True), (True, False)])
def test_dense_norm_relu_through_tfmot_is_a_float_island(fold: bool, island: bool, tmp_path: Path) -> None:
    used, layers = frameworks(), frameworks().keras.layers
    body = [layers.Dense(6, "relu")] if fold else [layers.Dense(6), layers.BatchNormalization(), layers.ReLU()]
    model = quantize_aware(layers.Flatten(), *body, layers.Dense(3))
    converter = converter_of(model)
    converter.optimizations = [used.tf.lite.Optimize.DEFAULT]
    with quiet():
        data = converter.convert()
        model.save(tmp_path / "qat.h5")
    report = lint_model(read_model(memoryview(data)), given(load_keras(tmp_path / "qat.h5")))
    codes = {finding.code for finding in report.findings}
    assert ("FLOAT01" in codes) is island
    assert codes >= {"RANGE02", "QAT03"}  # three steps of training settle nothing
