"""A small int8 network, and devices that compute it by rules of their own, without the simulator's roundings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph, Operator
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.runtime import Runtime

Scaling = Callable[[int, float], int]
SIDE, CHANNELS = 6, 12


def write_network(path: Path) -> Path:
    """Three convolutions of 1 × 1, of 12 channels each with a scale of its own, then a pool, a dense layer, softmax."""
    rng = np.random.default_rng(3)
    image = (1, SIDE, SIDE, CHANNELS)
    tensors = [T("x", image, scale=0.031, zero_point=-4)]
    operators = []
    before = "x"
    for k, scale in enumerate((0.047, 0.058, 0.069)):
        w_scale = rng.uniform(0.002, 0.009, CHANNELS)
        tensors += [
            T(
                f"w{k}",
                (CHANNELS, 1, 1, CHANNELS),
                scale=w_scale,
                data=rng.integers(-127, 128, (CHANNELS, 1, 1, CHANNELS)),
            ),
            T(f"b{k}", (CHANNELS,), "int32", scale=w_scale * 0.031, data=rng.integers(-900, 900, CHANNELS)),
            T(f"y{k}", image, scale=scale, zero_point=3 * k - 5),
        ]
        operators.append(Op("CONV_2D", [before, f"w{k}", f"b{k}"], [f"y{k}"], {"strideH": 1, "strideW": 1}))
        before = f"y{k}"
    tensors += [
        T("pooled", (1, 1, 1, CHANNELS), scale=0.069, zero_point=1),
        T("flat", (1, CHANNELS), scale=0.069, zero_point=1),
        T("shape", (2,), "int32", data=[1, CHANNELS]),
        T("w", (4, CHANNELS), scale=0.004, data=rng.integers(-127, 128, (4, CHANNELS))),
        T("b", (4,), "int32", scale=0.004 * 0.069, data=[50, -60, 70, -80]),
        T("scores", (1, 4), scale=0.03, zero_point=7),
        T("shares", (1, 4), scale=1 / 256, zero_point=-128),
    ]
    pool = {"filterHeight": SIDE, "filterWidth": SIDE, "strideH": 1, "strideW": 1, "padding": 1}
    operators += [
        Op("AVERAGE_POOL_2D", [before], ["pooled"], pool),
        Op("RESHAPE", ["pooled", "shape"], ["flat"]),
        Op("FULLY_CONNECTED", ["flat", "w", "b"], ["scores"], version=4),
        Op("SOFTMAX", ["scores"], ["shares"], {"beta": 1.0}, version=2),
    ]
    path.write_bytes(write_tflite(tensors, operators, ["x"], ["shares"]))
    return path


def random_images(samples: int, seed: int) -> Array:
    """Inputs of the network."""
    return np.random.default_rng(seed).integers(-128, 128, (samples, 1, SIDE, SIDE, CHANNELS)).astype(np.int8)


def run_device(path: Path, x: Array, rules: Mapping[int, Scaling]) -> dict[int, Array]:
    """Every tensor of a device whose operators of these indices scale sums so; the others are TFLM's."""
    graph = load_tflite(path).main
    held: dict[int, Array] = {graph.inputs[0]: x}
    for operator in graph.operators:
        if operator.index in rules:
            held[operator.outputs[0]] = _product(graph, operator, held[operator.inputs[0]], rules[operator.index])
        else:
            held |= dict(zip(operator.outputs, run_operator(graph, operator, held, Runtime.TFLM), strict=True))
    return held


def _product(graph: Graph, operator: Operator, x: Array, scaling: Scaling) -> Array:
    """A dense layer of each pixel. Shapes: x (…, depth) -> (…, units)."""
    given, w, b, made = (graph.tensors[i] for i in (*operator.inputs, *operator.outputs))
    assert given.quant and w.quant and made.quant and w.data is not None and b.data is not None  # noqa: PT018
    kernel = w.data.reshape(w.shape[0], -1).astype(np.int64)
    sums = (x.astype(np.int64) - given.quant.zero_point[0]) @ kernel.T + b.data.reshape(-1)
    s_x, s_y = np.float64(np.float32(given.quant.scale[0])), np.float64(np.float32(made.quant.scale[0]))
    s_w = np.broadcast_to(np.asarray(w.quant.scale, np.float32).astype(np.float64), (w.shape[0],))
    scales = s_x * s_w / s_y
    distinct = {(int(c), int(total)) for c in range(w.shape[0]) for total in np.unique(sums[..., c])}
    table = {(c, total): scaling(total, float(scales[c])) for c, total in distinct}
    y = np.empty(sums.shape, np.int64)
    for c in range(w.shape[0]):
        values, places = np.unique(sums[..., c], return_inverse=True)
        y[..., c] = np.asarray([table[c, int(total)] for total in values])[places].reshape(sums.shape[:-1])
    return (y + made.quant.zero_point[0]).clip(-128, 127).astype(np.int8).reshape(*x.shape[:-1], w.shape[0])
