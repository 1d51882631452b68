"""Small float networks with the int8 files made from them, both written by hand: no converter, any fault planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from written_models import Op, T, write_tflite

from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.switches import real_graph
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.quant import Array

RELU, RELU6 = 1, 3
Ends = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """One operator: what it reads and gives by name, its options, and its weights where it has some."""

    op: str
    inputs: Sequence[str]
    output: str
    shape: Sequence[int]
    options: Mapping[str, Any] = field(default_factory=dict)
    kernel: Array | None = None
    bias: Array | None = None
    shared: str = ""  # the tensor whose grid the output has
    grid: tuple[float, int] | None = None  # of integers in the float file


@dataclass(frozen=True)
class Net:
    """A network and the data that it was calibrated on."""

    inputs: Mapping[str, Sequence[int]]
    nodes: Sequence[Node]
    data: Mapping[str, Array]

    def changed(self, output: str, **how: Any) -> Net:
        """The same with one node changed."""
        return replace(self, nodes=[replace(n, **how) if n.output == output else n for n in self.nodes])

    def node(self, output: str) -> Node:
        """The node that gives a tensor."""
        return next(n for n in self.nodes if n.output == output)


def float_model(net: Net) -> bytes:
    """The float file."""
    tensors = [T(name, shape, "float32") for name, shape in net.inputs.items()]
    operators = []
    for n in net.nodes:
        tensors.append(T(n.output, n.shape, "int8", *n.grid) if n.grid else T(n.output, n.shape, "float32"))
        names = list(n.inputs)
        for role, values in (("w", n.kernel), ("b", n.bias)):
            if values is not None:
                dtype = "int32" if values.dtype.kind == "i" else "float32"
                tensors.append(T(f"{n.output}_{role}", values.shape, dtype, data=values))
                names.append(f"{n.output}_{role}")
        operators.append(Op(n.op, names, [n.output], n.options, "ReducerOptions" if n.op == "MEAN" else None))
    return write_tflite(tensors, operators, list(net.inputs), [net.nodes[-1].output])


def ranges(net: Net) -> dict[str, Ends]:
    """What the data reach at every tensor, 0 within."""
    model = read_model(memoryview(float_model(net)))
    inputs = [net.data[name].astype(np.float64)[:, None] for name in net.inputs]
    values = real_graph(model.main).run(inputs, Setting())
    found = {}
    for tensor in model.main.tensors:
        if tensor.index in values:
            array = values[tensor.index]
            found[tensor.name] = min(0.0, float(array.min())), max(0.0, float(array.max()))
    return found


def int8_model(net: Net, held: Mapping[str, Ends], scales: Mapping[str, Array] | None = None) -> bytes:
    """The int8 file whose tensors have the ranges ``held``; ``scales`` multiply those that kernels are stored with."""
    grids: dict[str, tuple[float, int]] = {}
    for name in net.inputs:
        grids[name] = _grid(held[name])
    for n in net.nodes:
        grids[n.output] = grids[n.shared] if n.shared else _grid(held[n.output])
    tensors = [T(name, shape, "int8", *grids[name]) for name, shape in net.inputs.items()]
    operators = []
    for n in net.nodes:
        tensors.append(T(n.output, n.shape, "int8", *grids[n.output]))
        names = list(n.inputs)
        if n.kernel is not None and n.kernel.dtype.kind == "i":
            tensors.append(T(f"{n.output}_w", n.kernel.shape, "int32", data=n.kernel))
            names.append(f"{n.output}_w")
        elif n.kernel is not None:
            axis = 3 if n.op == "DEPTHWISE_CONV_2D" else 0
            others = tuple(k for k in range(n.kernel.ndim) if k != axis)
            scale = (np.abs(n.kernel).max(axis=others) / 127).astype(np.float32)
            shape = [-1 if k == axis else 1 for k in range(n.kernel.ndim)]
            codes = np.clip(np.rint(n.kernel / scale.reshape(shape)), -127, 127).astype(np.int8)
            scale = scale * (scales or {}).get(n.output, np.ones(1, np.float32))
            scale = scale.astype(np.float32)
            tensors.append(T(f"{n.output}_w", n.kernel.shape, "int8", scale, [0] * scale.size, axis, data=codes))
            names.append(f"{n.output}_w")
            if n.bias is not None:
                unit = np.float32(grids[n.inputs[0]][0]) * scale
                stored = np.rint(n.bias / unit).astype(np.int32)
                axis = n.bias.ndim - 1
                tensors.append(T(f"{n.output}_b", n.bias.shape, "int32", unit, [0] * unit.size, axis, data=stored))
                names.append(f"{n.output}_b")
        operators.append(Op(n.op, names, [n.output], n.options, "ReducerOptions" if n.op == "MEAN" else None))
    return write_tflite(tensors, operators, list(net.inputs), [net.nodes[-1].output])


def _grid(ends: Ends) -> tuple[float, int]:
    low, high = ends
    scale = float(np.float32((high - low) / 255 or 1.0))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


@dataclass(frozen=True)
class Files:
    """A pair on disk, with its data."""

    reference: Path
    candidate: Path
    batch: Batch


def write_pair(
    folder: Path,
    net: Net,
    held: Mapping[str, Ends] | None = None,
    stored: Net | None = None,
    scales: Mapping[str, Array] | None = None,
) -> Files:
    """The float file of ``net``, and the int8 file of ``stored`` with the ranges ``held``; by default no fault."""
    paths = folder / "float.tflite", folder / "int8.tflite"
    paths[0].write_bytes(float_model(net))
    paths[1].write_bytes(int8_model(stored or net, held or ranges(net), scales))
    for path in paths:
        load_tflite(path)
    return Files(*paths, Batch(dict(net.data)))


def dense(seed: int = 0, samples: int = 96) -> Net:
    """Three dense layers."""
    dice = np.random.default_rng(seed)
    return Net(
        {"x": (1, 12)},
        [
            _fc(dice, "x", "h1", 12, 16, RELU),
            _fc(dice, "h1", "h2", 16, 16, RELU),
            _fc(dice, "h2", "y", 16, 5),
        ],
        {"x": dice.normal(size=(samples, 12)).astype(np.float32)},
    )


def convolutional(seed: int = 1, samples: int = 96) -> Net:
    """Convolution, depthwise convolution, mean, dense."""
    dice = np.random.default_rng(seed)
    same = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": RELU}
    kernel = dice.normal(size=(6, 3, 3, 3)).astype(np.float32) / 4
    depthwise = dice.normal(size=(1, 3, 3, 6)).astype(np.float32) / 2
    return Net(
        {"x": (1, 6, 6, 3)},
        [
            Node("CONV_2D", ["x"], "h1", (1, 6, 6, 6), same, kernel, _bias(dice, 6)),
            Node(
                "DEPTHWISE_CONV_2D",
                ["h1"],
                "h2",
                (1, 6, 6, 6),
                {**same, "depthMultiplier": 1},
                depthwise,
                _bias(dice, 6),
            ),
            Node("MEAN", ["h2"], "m", (1, 6), {"keepDims": False}, np.array([1, 2], np.int32)),
            _fc(dice, "m", "y", 6, 4),
        ],
        {"x": dice.normal(size=(samples, 6, 6, 3)).astype(np.float32)},
    )


def residual(seed: int = 2, samples: int = 96) -> Net:
    """A dense layer around which its input goes too, and what both add up to."""
    dice = np.random.default_rng(seed)
    return Net(
        {"x": (1, 12)},
        [
            _fc(dice, "x", "h1", 12, 16, RELU),
            _fc(dice, "h1", "h2", 16, 16),
            Node("ADD", ["h1", "h2"], "s", (1, 16), {"fusedActivationFunction": RELU}),
            Node("RESHAPE", ["s"], "r", (1, 4, 4), {}, np.array([1, 4, 4], np.int32), shared="s"),
            Node("RESHAPE", ["r"], "f", (1, 16), {}, np.array([1, 16], np.int32), shared="s"),
            _fc(dice, "f", "y", 16, 5),
        ],
        {"x": dice.normal(size=(samples, 12)).astype(np.float32)},
    )


def two_inputs(seed: int = 3, samples: int = 96) -> Net:
    """Two inputs, one thirty times as large as the other."""
    dice = np.random.default_rng(seed)
    return Net(
        {"a": (1, 8), "b": (1, 6)},
        [
            _fc(dice, "a", "h1", 8, 12, RELU),
            _fc(dice, "b", "h2", 6, 12, RELU, size=0.03),
            Node("ADD", ["h1", "h2"], "s", (1, 12), {}),
            _fc(dice, "s", "y", 12, 4),
        ],
        {
            "a": dice.normal(size=(samples, 8)).astype(np.float32),
            "b": (30 * dice.normal(size=(samples, 6))).astype(np.float32),
        },
    )


NETS = {"dense": dense, "convolutional": convolutional, "residual": residual, "two inputs": two_inputs}


def _fc(  # noqa: PLR0913, PLR0917 (a layer has as many sides)
    dice: np.random.Generator, x: str, y: str, depth: int, units: int, activation: int = 0, size: float = 1.0
) -> Node:
    kernel = (size * dice.normal(size=(units, depth)) / np.sqrt(depth)).astype(np.float32)
    options = {"fusedActivationFunction": activation} if activation else {"keepNumDims": False}
    return Node("FULLY_CONNECTED", [x], y, (1, units), options, kernel, _bias(dice, units))


def _bias(dice: np.random.Generator, units: int) -> Array:
    return (0.3 * dice.normal(size=units)).astype(np.float32)
