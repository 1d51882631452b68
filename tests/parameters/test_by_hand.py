"""Layers computed by hand against plain loops, and chains folded into one layer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from quantdiff.ops import BatchNorm, Layer
from quantdiff.parameters.constants import Linear, by_hand, factor, folded_bias, linear
from quantdiff.quant import Array

DICE = np.random.default_rng(1)
OPTIONS, FIRST = {"strides": (1, 1)}, "channels_first"


def test_dense() -> None:
    layer = Linear("FULLY_CONNECTED", np.array([[1.0, 3], [-2, 4]]), np.array([0.5, 0]), clamp=(0.0, 6.0))
    assert by_hand(layer, np.array([[1.0, 1], [-1, 1]])).tolist() == [[4.5, 2], [2.5, 6]]


def slow(x: Array, kernel: Array, strides: int, dilation: int, same: bool, depthwise: bool) -> Array:
    """A convolution in loops: one output element at a time."""
    n, height, width, channels = x.shape
    kh, kw, _, last = kernel.shape
    span = (kh - 1) * dilation + 1, (kw - 1) * dilation + 1
    sizes = [
        -(-d // strides) if same else -(-(d - s + 1) // strides) for d, s in zip((height, width), span, strict=True)
    ]
    pads = [
        max((o - 1) * strides + s - d, 0) // 2 if same else 0
        for o, s, d in zip(sizes, span, (height, width), strict=True)
    ]
    y = np.zeros((n, *sizes, channels * last if depthwise else last))
    for i, r, c, a, b, k in itertools.product(range(n), *map(range, sizes), range(kh), range(kw), range(channels)):
        row, column = r * strides - pads[0] + a * dilation, c * strides - pads[1] + b * dilation
        if 0 <= row < height and 0 <= column < width:
            out = slice(k * last, (k + 1) * last) if depthwise else slice(None)
            y[i, r, c, out] += x[i, row, column, k] * kernel[a, b, k]
    return y


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_convolutions(op: str, strides: int, dilation: int, padding: str) -> None:
    x, kernel = DICE.normal(size=(2, 7, 6, 2)), DICE.normal(size=(3, 2, 2, 3))
    options = {"strides": (strides, strides), "dilation_rate": (dilation, dilation), "padding": padding}
    wanted = slow(x, kernel, strides, dilation, padding == "same", op == "DEPTHWISE_CONV_2D")
    stored = kernel.reshape(1, 3, 2, 6) if op == "DEPTHWISE_CONV_2D" else np.moveaxis(kernel, -1, 0)
    np.testing.assert_allclose(by_hand(Linear(op, stored, None, options), x), wanted, rtol=1e-12, atol=1e-12)


def test_batch_norm_and_relu_are_folded() -> None:
    norm = BatchNorm(np.array([2.0]), np.array([1.0]), np.array([3.0]), np.array([3.0]), epsilon=1.0)
    dense = Layer("d", "Dense", (), kernel=np.array([[1.0, 2.0]]), bias=np.array([0.5]), op="FULLY_CONNECTED")
    chain = (
        dense,
        Layer("n", "BatchNormalization", ("d",), norm=norm),
        Layer("r", "ReLU", ("n",), options={"max_value": 6.0}, op="RELU"),
    )
    assert factor(chain) == [1.0]  # 2 / sqrt(3 + 1)
    assert folded_bias(chain) == [-1.5]  # (0.5 - 3) * 1 + 1
    spec = linear(chain)
    assert spec is not None
    assert (spec.kernel.tolist(), spec.clamp) == ([[1.0, 2.0]], (0.0, 6.0))
    assert by_hand(spec, np.array([[1.0, 1.0], [9.0, 9.0]])).tolist() == [[1.5], [6.0]]


def test_without_bias_or_norm_nothing_is_added() -> None:
    chain = (Layer("d", "Dense", (), kernel=np.ones((1, 2)), op="FULLY_CONNECTED"),)
    assert (factor(chain), folded_bias(chain)) == (None, None)


@pytest.mark.parametrize(
    "layer",
    [
        Layer("t", "Conv2DTranspose", (), kernel=np.ones((1, 1, 1, 1)), op="TRANSPOSE_CONV"),
        Layer("s", "Dense", (), activation="softmax", kernel=np.ones((1, 1)), op="FULLY_CONNECTED"),
        Layer("g", "Conv2D", (), kernel=np.ones((1, 1, 1, 2)), options={**OPTIONS, "groups": 2}, op="CONV_2D"),
        Layer("f", "Conv2D", (), kernel=np.ones((1, 1, 1, 2)), options={**OPTIONS, "data_format": FIRST}, op="CONV_2D"),
    ],
)
def test_other_layers_are_not_computed(layer: Layer) -> None:
    assert linear((layer,)) is None
