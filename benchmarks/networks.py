"""MobileNetV2 and DS-CNN in int8 with the statistics of trained networks, written without a converter.

Every convolution is drawn at random, then scaled so that its outputs have the mean and spread that a trained
batch normalization gives them; activation scales come from running the float network on smooth images. So
accumulators, rounding and saturation are those of a real model, and no layer is constant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from written_models import Op, Sig, Sub, T, write_model, write_tflite

from quantdiff.quant import Array
from quantdiff.sim.accumulate import axis_of, pad_image, windows

ACTIVATIONS = {"NONE": (0, -np.inf, np.inf), "RELU": (1, 0.0, np.inf), "RELU6": (3, 0.0, 6.0)}
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and stride of each stage (Sandler et al. 2018, table 2)."""


@dataclass
class Network:
    """A network under construction: its tensors and operators, and the float values for the calibration images."""

    images: Array
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    tensors: list[T] = field(default_factory=list)
    operators: list[Op] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.add("input", self.images)

    def add(self, name: str, value: Array, like: T | None = None) -> str:
        """An activation whose scale covers nearly all of ``value``, or that of ``like``."""
        if like is None:
            low, high = min(0.0, float(np.quantile(value, 0.0005))), max(0.0, float(np.quantile(value, 0.9995)))
            scale = np.float32((high - low) / 255)
            zero_point = int(np.clip(round(-128 - low / scale), -128, 127))
        else:
            scale, zero_point = like.scale, like.zero_point
        self.values[name] = value
        self.tensors.append(T(name, (1, *value.shape[1:]), "int8", float(scale), zero_point))
        return name

    def tensor(self, name: str) -> T:
        """The tensor of that name."""
        return next(t for t in self.tensors if t.name == name)

    def write(self) -> bytes:
        """The model as a file, from the first tensor to the last operator's output."""
        return write_tflite(self.tensors, self.operators, ["input"], self.operators[-1].outputs)

    def weighted(
        self, op: str, x: str, w: Array, product: Callable[[Array], Array], options: dict[str, int], activation: str
    ) -> str:
        """Any operator with weights: outputs normalized per channel, weights and bias quantized."""
        name, axis = f"t{len(self.operators)}", 3 if op == "DEPTHWISE_CONV_2D" else 0
        channels, others = w.shape[axis], tuple(i for i in range(w.ndim) if i != axis)
        y = product(w)
        over = tuple(range(y.ndim - 1))
        if op == "FULLY_CONNECTED":  # the last layer has no normalization: one spread for all classes
            over = (0, 1)
        gain = self.rng.lognormal(0, 0.4, channels) / (y.std(over) + 1e-3)
        shift = self.rng.normal(0.2, 0.6, channels) - y.mean(over) * gain
        w = (w * gain.reshape([-1 if i == axis else 1 for i in range(w.ndim)])).astype(np.float32)
        code, low, high = ACTIVATIONS[activation]
        scales = np.float32(np.abs(w).max(others) / 127)
        if op == "FULLY_CONNECTED":
            scales = scales.max(keepdims=True)
        stored = np.rint(w / scales.reshape([-1 if i == axis else 1 for i in range(w.ndim)])).clip(-127, 127)
        unit = np.float32(self.tensor(x).scale) * scales
        self.tensors += [
            T(f"{name}/w", w.shape, "int8", scales, 0, axis, stored),
            T(f"{name}/b", (channels,), "int32", unit, 0, 0, np.rint(shift / unit)),
        ]
        self.add(name, np.clip(y * gain + shift, low, high).astype(np.float32))
        self.operators.append(
            Op(op, [x, f"{name}/w", f"{name}/b"], [name], {**options, "fusedActivationFunction": code})
        )
        return name

    def conv(self, x: str, out: int, taps: tuple[int, int] = (1, 1), stride: int = 1, activation: str = "RELU6") -> str:
        """A convolution with SAME padding."""
        w = self.rng.standard_normal((out, *taps, self.values[x].shape[3])).astype(np.float32)
        columns = self.columns(x, taps, stride)
        options = {"padding": 0, "strideH": stride, "strideW": stride, "dilationHFactor": 1, "dilationWFactor": 1}

        def product(w: Array) -> Array:
            flat = columns.reshape(-1, w[0].size) @ w.reshape(out, -1).T
            return flat.reshape(*columns.shape[:3], out)

        return self.weighted("CONV_2D", x, w, product, options, activation)

    def depthwise(self, x: str, stride: int = 1, activation: str = "RELU6") -> str:
        """A depthwise 3×3 convolution with SAME padding."""
        w = self.rng.standard_normal((1, 3, 3, self.values[x].shape[3])).astype(np.float32)
        columns = self.columns(x, (3, 3), stride)
        options = {"padding": 0, "strideH": stride, "strideW": stride, "depthMultiplier": 1}
        options |= {"dilationHFactor": 1, "dilationWFactor": 1}
        return self.weighted(
            "DEPTHWISE_CONV_2D", x, w, lambda w: np.einsum("nhwijc,ijc->nhwc", columns, w[0]), options, activation
        )

    def columns(self, x: str, taps: tuple[int, int], stride: int) -> Array:
        """All windows of a value."""
        value = self.values[x]
        rows, columns = (axis_of(value.shape[i + 1], taps[i], stride, 1, "SAME") for i in (0, 1))
        return windows(pad_image(value, (rows, columns), 0.0), (rows, columns))

    def dense(self, x: str, out: int) -> str:
        """A fully connected layer, one scale."""
        w = self.rng.standard_normal((out, self.values[x].shape[1])).astype(np.float32)
        return self.weighted("FULLY_CONNECTED", x, w, lambda w: self.values[x] @ w.T, {}, "NONE")

    def plus(self, a: str, b: str) -> str:
        """The sum of two."""
        self.operators.append(Op("ADD", [a, b], [name := f"t{len(self.operators)}"], {"fusedActivationFunction": 0}))
        return self.add(name, self.values[a] + self.values[b])

    def mean(self, x: str) -> str:
        """The mean over the image."""
        name = f"t{len(self.operators)}"
        self.tensors.append(T(f"{name}/axes", (2,), "int32", data=[1, 2]))
        self.operators.append(Op("MEAN", [x, f"{name}/axes"], [name], {"keepDims": False}, "ReducerOptions"))
        return self.add(name, self.values[x].mean((1, 2)))

    def softmax(self, x: str) -> str:
        """Probabilities at the scale that the kernel asks for."""
        name = f"t{len(self.operators)}"
        self.operators.append(Op("SOFTMAX", [x], [name], {"beta": 1.0}))
        exp = np.exp(self.values[x])
        return self.add(name, exp / exp.sum(-1, keepdims=True), T("", (), scale=1 / 256, zero_point=-128))


def smooth_images(count: int, shape: tuple[int, int, int], seed: int = 1) -> Array:
    """Sums of a few waves with a little noise, in −1 … 1. Shape: (count, *shape)."""
    rng = np.random.default_rng(seed)
    h, w, c = shape
    rows, columns = np.mgrid[0 : 1 : h * 1j, 0 : 1 : w * 1j][..., None]

    def one() -> Iterator[Array]:
        for _ in range(6):
            f, g, phase = rng.normal(0, 9, c), rng.normal(0, 9, c), rng.uniform(0, 6.3, c)
            yield rng.uniform(0.1, 0.5, c) * np.sin(f * rows + g * columns + phase)

    noise = rng.normal(0, 0.1, (count, *shape))
    return np.clip(np.stack([sum(one()) for _ in range(count)]) + noise, -1, 1).astype(np.float32)


def quantized(network: Network, images: Array) -> Array:
    """Images as the model's int8 input."""
    x = network.tensor("input")
    return np.clip(np.rint(images / np.float32(x.scale)) + x.zero_point, -128, 127).astype(np.int8)


def mobilenet_v2(size: int = 224) -> Network:
    """MobileNetV2 1.0, 1,000 classes."""
    net = Network(smooth_images(2, (size, size, 3)))
    x = net.conv("input", 32, (3, 3), 2)
    for expansion, channels, repeats, stride in MOBILENET:
        for i in range(repeats):
            x = bottleneck(net, x, expansion, channels, stride if i == 0 else 1)
    x = net.conv(x, 1280)
    net.softmax(net.dense(net.mean(x), 1000))
    return net


def bottleneck(net: Network, x: str, expansion: int, channels: int, stride: int) -> str:
    """Expand, filter, project, and add where the shapes allow it."""
    width = net.values[x].shape[3]
    y = net.conv(x, width * expansion) if expansion > 1 else x
    y = net.conv(net.depthwise(y, stride), channels, activation="NONE")
    return net.plus(x, y) if stride == 1 and width == channels else y


def ds_cnn() -> Network:
    """The keyword spotter of MLPerf Tiny: 49 × 10 features, 12 words."""
    net = Network(smooth_images(64, (49, 10, 1)))
    x = net.conv("input", 64, (10, 4), 2, "RELU")
    for _ in range(4):
        x = net.conv(net.depthwise(x, activation="RELU"), 64, activation="RELU")
    net.softmax(net.dense(net.mean(x), 12))
    return net


def in_float(tensor: T) -> T:
    """The tensor in float32; shapes and axes stay integers."""
    if tensor.scale is None:
        return tensor
    data = tensor.data
    if data is not None:
        scale = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        shape = [-1 if i == tensor.axis and scale.size > 1 else 1 for i in range(len(tensor.shape))]
        data = np.asarray(data) * scale.reshape(shape)
    return replace(tensor, dtype="float32", scale=None, zero_point=0, axis=0, data=data)


def write_pair(network: Network, folder: Path) -> tuple[Path, Path]:
    """``float.tflite`` and ``int8.tflite`` of one network, each with a signature."""
    paths, end = (folder / "float.tflite", folder / "int8.tflite"), network.operators[-1].outputs
    signature = Sig("serving_default", {"input": "input"}, {"output": end[0]})
    for path, tensors in zip(paths, ([*map(in_float, network.tensors)], network.tensors), strict=True):
        path.write_bytes(write_model([Sub(tensors, network.operators, ["input"], end)], [signature]))
    return paths
