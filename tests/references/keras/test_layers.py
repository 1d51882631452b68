"""What is read from a quantization-aware model, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from quantized_models import Made, convolutions

from quantdiff.ops import Layer
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import describe, load_keras

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def layers(made: Callable[..., Made]) -> dict[str, Layer]:
    return {layer.kind: layer for layer in reversed(read_layers(load_keras(made(convolutions).keras)))}


def test_the_wrapper_is_taken_off(layers: dict[str, Layer]) -> None:
    assert {"Conv2D", "BatchNormalization", "ReLU", "DepthwiseConv2D", "Add", "Dense", "QuantizeLayer"} <= set(layers)
    assert layers["Conv2D"].name.startswith("quant_")
    assert layers["Conv2D"].plain == layers["Conv2D"].name[6:]


def test_ranges_have_their_quantizers(layers: dict[str, Layer]) -> None:
    (kernel,) = layers["Conv2D"].ranges
    assert (kernel.name, len(kernel.low), kernel.narrow, kernel.bits) == ("kernel", 4, True, 8)
    assert kernel.low == tuple(-end for end in kernel.high)
    (depthwise,) = layers["DepthwiseConv2D"].ranges
    assert (depthwise.name, len(depthwise.low)) == ("depthwise_kernel", 2)
    (relu,) = layers["ReLU"].ranges
    assert (relu.name, relu.quantizer, relu.narrow) == ("output", "MovingAverageQuantizer", False)
    assert [r.name for r in layers["Dense"].ranges] == ["kernel", "pre_activation"]
    (given,) = layers["QuantizeLayer"].ranges
    assert (given.name, given.quantizer) == ("quantize_layer", "AllValuesQuantizer")


def test_weights_graph_and_options(layers: dict[str, Layer]) -> None:
    conv, norm, relu = layers["Conv2D"], layers["BatchNormalization"], layers["ReLU"]
    assert conv.kernel is not None
    assert (conv.kernel.shape, conv.bias, conv.activation) == ((4, 3, 3, 3), None, "linear")
    assert (conv.options["strides"], conv.options["padding"]) == ((2, 2), "same")
    assert norm.norm is not None
    assert norm.norm.factor == pytest.approx(norm.norm.gamma / np.sqrt(norm.norm.variance + 1e-3))
    assert (norm.inputs, relu.inputs) == ((conv.name,), (norm.name,))
    assert len(layers["Add"].inputs) == 2
    assert layers["Dense"].activation == "softmax"


def test_a_nested_model_feeds_by_its_last_layer() -> None:
    from quantdiff.references.keras.frameworks import frameworks

    keras = frameworks().keras
    dense = keras.layers.Dense
    inner = keras.Sequential([keras.layers.InputLayer((3,)), dense(2, name="a"), dense(2, name="b")], name="inner")
    given = keras.layers.Input((3,))
    read = read_layers(describe(keras.Model(given, dense(1, name="c")(inner(given))), "nested"))
    assert {layer.name: layer.inputs for layer in read if layer.kind == "Dense"}["c"] == ("inner/b",)
