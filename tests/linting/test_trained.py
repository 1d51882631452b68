"""The checks of the trained model need its layers as values, and nothing of the framework that trained it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from linting.models_with_findings import chain, dense, f

from quantdiff.linting.lint import Trained, checks, lint_model
from quantdiff.load.tflite import read_model
from quantdiff.ops import Layer, TrainedRange

INT8, FLOAT = read_model(memoryview(dense())), read_model(memoryview(chain([("TANH", f("y"))], f("x"))))


@dataclass
class Given:
    """A reference by its kind and layers."""

    kind: str
    found: tuple[Layer, ...] = ()

    def layers(self) -> tuple[Layer, ...]:
        return self.found


def learned(name: str, low: float, high: float, kind: str = "Dense", activation: str = "linear") -> Layer:
    """A layer with one range that training left."""
    return Layer("fc", kind, (), activation, (TrainedRange(name, (low,), (high,), "any"),))


def relu(low: float, high: float, slope: float) -> Layer:
    """A ReLU of its own, with ``slope`` below 0."""
    return replace(learned("output", low, high, "ReLU"), options={"negative_slope": slope})


FOUND = {
    "QAT01": [learned("kernel", -6, 6), relu(-6, 6, 0.0), learned("quantize_layer", -6, 6)],
    "QAT02": [learned("post_activation", -5.6, 5.5), learned("pre_activation", -5.9, 5.9), relu(-5.6, 5.5, 0.1)],
    "QAT03": [
        learned("post_activation", -1, 4, activation="relu"),
        learned("output", -1, 4, "Activation", "relu6"),
        relu(-1, 4, 0.0),
    ],
    "QAT04": [Layer("marked", "QuantizeAnnotate", ())],
}
SILENT = [
    learned("post_activation", -3, 3),
    learned("post_activation", -2, 4),
    learned("kernel", -5.9, 5.9),
    learned("post_activation", -0.1, 4, activation="relu"),
    relu(-1, 4, 0.1),
    learned("pre_activation", -1, 4, activation="relu"),
]


def codes(kind: str, *layers: Layer) -> list[str]:
    return [finding.code for finding in lint_model(INT8, Given(kind, layers)).findings]


@pytest.mark.parametrize(("code", "layer"), [(code, layer) for code, group in FOUND.items() for layer in group])
def test_fires(code: str, layer: Layer) -> None:
    assert codes("float" if code == "QAT04" else "qat", layer) == [code]


@pytest.mark.parametrize("layer", SILENT)
def test_is_silent(layer: Layer) -> None:
    assert codes("qat", layer) == []


def test_what_is_quantized_may_be_annotated_in_part() -> None:
    assert codes("qat", *FOUND["QAT04"]) == []


def test_a_file_without_integers_lost_the_training() -> None:
    assert [finding.code for finding in lint_model(FLOAT, Given("qat")).findings] == ["QAT05"]
    assert lint_model(FLOAT, Given("float")).findings == ()


def test_a_file_without_integers_lost_the_integers_of_the_reference() -> None:
    layer = Layer("dense", "Dense", (), options={"quantization_mode": "int4"})
    (finding,) = lint_model(FLOAT, Given("float", (layer,))).findings
    assert (finding.code, finding.evidence) == ("QAT06", "1 layer in int4, no integers in the file")
    assert lint_model(INT8, Given("float", (layer,))).findings == ()
    assert lint_model(FLOAT, Given("float", (replace(layer, options={"quantization_mode": None}),))).findings == ()


def test_the_place_is_the_variables_own_name() -> None:
    layers = (
        learned("post_activation", -3, 3),
        replace(learned("quantize_layer", -6, 6, "QuantizeLayer"), name="early/quantize_layer_3"),
    )
    (finding,) = lint_model(INT8, Given("qat", layers)).findings
    assert finding.place.text == "layer 1 early/quantize_layer_3 quantize_layer_3_min/max"


def test_a_range_per_channel_counts_by_its_widest() -> None:
    wide = TrainedRange("kernel", (-6.0, -1.0), (2.0, 6.0), "any")
    assert codes("qat", replace(learned("kernel", 0, 1), ranges=(wide,))) == ["QAT01"]


def test_a_reference_without_layers_adds_nothing() -> None:
    assert lint_model(INT8, Given("tflite:xnnpack")) == lint_model(INT8)


def test_every_check_of_the_trained_model_is_here() -> None:
    wanted = {check.code for check in checks() if check.subject is Trained}
    assert {*FOUND, "DATA01", "QAT05", "QAT06"} == wanted, "tests/linting/test_trained.py: FOUND needs a layer for each"
