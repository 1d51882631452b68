"""Real arithmetic on stored integers: by hand where it is short, else within a step of every runtime's own answer."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from golden import Dice
from sim.ops.test_hybrid import dense
from sim.ops.test_int4 import narrowed
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph, real_values
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.quant import Array
from quantdiff.sim.graph.operators import all_but_curves, curves_alone, everything, run_ideal
from quantdiff.sim.graph.simulator import simulate, simulate_ideal
from quantdiff.sim.node import ACTIVATION_RANGE, dequantized, nearest, node_of, reals
from quantdiff.sim.real import sums
from quantdiff.sim.real.sums import exact_sums
from quantdiff.sim.runtime import Runtime

NONE = {"fusedActivationFunction": 0}
DICE = np.random.default_rng(1)


def weights(*shape: int) -> Array:
    return DICE.integers(-127, 128, shape)


def graph_of(tmp_path: Path, tensors: list[T], op: Op, inputs: list[str]) -> Graph:
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(tensors, [op], inputs, ["y"]))
    return load_tflite(path).main


def x_of(*shape: int, scale: float = 0.05, zero_point: int = -5) -> T:
    return T("x", shape, scale=scale, zero_point=zero_point)


def y_of(*shape: int, scale: float = 0.07, zero_point: int = 9) -> T:
    return T("y", shape, scale=scale, zero_point=zero_point)


def pooled(op: str) -> tuple[list[T], Op]:
    options = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2, **NONE}
    return [x_of(1, 4, 4, 3), y_of(1, 2, 2, 3, scale=0.05, zero_point=-5)], Op(op, ["x"], ["y"], options, version=2)


def curve(op: str, scale: float = 1 / 256, zero_point: int = -128) -> tuple[list[T], Op]:
    options = {"beta": 1.0} if op == "SOFTMAX" else {"alpha": 0.2} if op == "LEAKY_RELU" else {}
    return [x_of(1, 12), y_of(1, 12, scale=scale, zero_point=zero_point)], Op(op, ["x"], ["y"], options, version=2)


def pair(op: str) -> tuple[list[T], Op]:
    other = T("b", (1, 12), scale=0.03, zero_point=4, data=weights(1, 12))
    return [x_of(1, 12), other, y_of(1, 12, scale=0.1)], Op(op, ["x", "b"], ["y"], NONE, version=2)


MODELS: dict[str, tuple[list[T], Op]] = {
    "FULLY_CONNECTED": (
        [
            x_of(1, 12),
            T("w", (5, 12), scale=0.01, data=weights(5, 12)),
            T("b", (5,), "int32", 0.0005, data=weights(5)),
            y_of(1, 5),
        ],
        Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], {"fusedActivationFunction": 1}, version=4),
    ),
    "CONV_2D": (
        [x_of(1, 5, 5, 2), T("w", (3, 3, 3, 2), scale=0.01, data=weights(3, 3, 3, 2)), y_of(1, 5, 5, 3)],
        Op("CONV_2D", ["x", "w"], ["y"], {"strideH": 1, "strideW": 1, **NONE}, version=3),
    ),
    "AVERAGE_POOL_2D": pooled("AVERAGE_POOL_2D"),
    "SOFTMAX": curve("SOFTMAX"),
    "LOGISTIC": curve("LOGISTIC"),
    "TANH": curve("TANH", 1 / 128, 0),
    "HARD_SWISH": curve("HARD_SWISH", 0.04, -9),
    "LEAKY_RELU": curve("LEAKY_RELU", 0.05, -7),
    "RELU6": curve("RELU6", 6 / 255),
    "ADD": pair("ADD"),
    "SUB": pair("SUB"),
    "MUL": pair("MUL"),
    "QUANTIZE": ([x_of(1, 12), y_of(1, 12)], Op("QUANTIZE", ["x"], ["y"], {})),
}


@pytest.mark.parametrize("op", MODELS)
@pytest.mark.parametrize("runtime", Runtime)
def test_every_runtime_is_within_a_step_of_the_real_function(tmp_path: Path, op: str, runtime: Runtime) -> None:
    if (op, runtime) == ("RELU6", Runtime.TFLM):
        pytest.skip("TFLM's RELU6 clamps and leaves the scale as it is")
    tensors, operator = MODELS[op]
    graph = graph_of(tmp_path, tensors, operator, ["x"])
    x = DICE.integers(-128, 128, (200, *graph.tensors[graph.inputs[0]].shape)).astype(np.int8)
    (y,) = graph.outputs
    ideal = simulate_ideal(graph, [x], runtime, everything).values[y].astype(int)
    actual = simulate(graph, [x], runtime).values[y].astype(int)
    largest = 3 if (op, runtime) == ("LEAKY_RELU", Runtime.XNNPACK) else 1  # multipliers of eight bits
    assert np.abs(ideal - actual).max() <= largest
    assert np.ptp(ideal) > 50


def test_a_dense_layer_by_hand(tmp_path: Path) -> None:
    tensors, operator = MODELS["FULLY_CONNECTED"]
    graph = graph_of(tmp_path, tensors, operator, ["x"])
    x = DICE.integers(-128, 128, (50, 1, 12)).astype(np.int8)
    w, b = (np.asarray(t.data, np.float64) for t in tensors[1:3])
    s_x, s_w, s_b, s_y = (np.float64(np.float32(s)) for s in (0.05, 0.01, 0.0005, 0.07))
    real = np.maximum((x[:, 0] + 5.0) @ w.T * (s_x * s_w) + b * s_b, 0)
    want = np.clip(np.floor(real / s_y + 0.5) + 9, -128, 127)
    got = simulate_ideal(graph, [x], Runtime.REFERENCE, everything).values[graph.outputs[0]]
    np.testing.assert_array_equal(got[:, 0], want)


def test_halves_go_up_as_in_fake_quant(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, [x_of(1, 4), y_of(1, 4, scale=0.5, zero_point=0)], Op("QUANTIZE", ["x"], ["y"]), ["x"])
    y = graph.tensors[graph.outputs[0]]
    assert nearest(np.array([0.25, -0.25, 0.75, 1e9]), y).tolist() == [1, 0, 2, 127]


def test_curves_can_be_exchanged_alone(tmp_path: Path) -> None:
    tensors, operator = MODELS["AVERAGE_POOL_2D"]
    graph = graph_of(tmp_path, tensors, operator, ["x"])
    x = DICE.integers(-128, 128, (100, 1, 4, 4, 3)).astype(np.int8)
    (y,) = graph.outputs
    real, own = (simulate_ideal(graph, [x], Runtime.REFERENCE, c).values[y] for c in (curves_alone, all_but_curves))
    assert np.array_equal(own, simulate(graph, [x], Runtime.REFERENCE).values[y])
    assert (real != own).any()  # ties: halves up against halves away from zero


def test_curves_are_those_that_runtimes_approximate() -> None:
    curves = {name for name, each in reals().items() if each.curve}
    assert {"SOFTMAX", "LOGISTIC", "TANH", "MEAN", "AVERAGE_POOL_2D", "RESIZE_BILINEAR"} <= curves
    assert not {"FULLY_CONNECTED", "CONV_2D", "ADD", "MUL", "QUANTIZE"} & curves


@pytest.mark.parametrize("bits", [4, 2])
def test_packed_weights_are_real_in_units_of_their_scale(bits: int) -> None:
    case = narrowed(lambda dice: dense(dice, True), bits)(Dice())
    graph = read_model(memoryview(case.write())).main
    (operator,) = graph.operators
    x, (w, *b) = case.feeds["x"], [real_values(graph.tensors[i]) for i in operator.inputs[1:]]
    (y,) = run_ideal(graph, operator, {0: x[None]}, runtime=Runtime.REFERENCE, choice=lambda real: True)
    assert y[0] == pytest.approx(
        (x @ w.T + sum(b)).clip(*ACTIVATION_RANGE[node_of(graph, operator).activation]), rel=1e-5
    )


def test_boxes_by_hand(tmp_path: Path) -> None:
    """A sum over each box, with padding, strides and dilations of its own along each axis."""
    shapes = {"x": (2, 5, 6, 7, 2), "w": (2, 3, 2, 2, 3), "y": (2, 3, 6, 3, 3)}
    x, w = (DICE.normal(size=shapes[name]) for name in "xw")
    tensors = [T("x", shapes["x"], "float32"), T("w", shapes["w"], "float32", data=w), T("y", shapes["y"], "float32")]
    options = {"padding": 0, "strideD": 2, "strideH": 1, "strideW": 3, "dilationDFactor": 1, "dilationHFactor": 2}
    graph = graph_of(tmp_path, tensors, Op("CONV_3D", ["x", "w"], ["y"], options, "Conv3DOptions"), ["x"])
    (operator,) = graph.operators
    found = reals()["CONV_3D float32"].function(node_of(graph, operator), x, w)
    image, want = np.pad(x, ((0, 0), (0, 1), (2, 2), (0, 1), (0, 0))), np.zeros(shapes["y"])
    for n, d, h, i in np.ndindex(2, 3, 6, 3):
        box = image[n, 2 * d : 2 * d + 2, h : h + 5 : 2, 3 * i : 3 * i + 2]
        want[n, d, h, i] = np.einsum("dhwc,dhwco->o", box, w)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", ["compiled", "numpy"])
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_exact_sums_are_those_of_real_values(
    tmp_path: Path, op: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both by the products of bytes and by NumPy, with padding, bias and activation."""
    if way == "numpy":
        monkeypatch.setattr("quantdiff.sim.real.sums.loops", lambda _: None)
    else:
        import_module("quantdiff.sim.loops")
    shapes = {"CONV_2D": (4, 3, 3, 6), "DEPTHWISE_CONV_2D": (1, 3, 3, 6), "FULLY_CONNECTED": (4, 6)}
    shape, rng = shapes[op], np.random.default_rng(7)
    channels = shape[-1] if op == "DEPTHWISE_CONV_2D" else shape[0]
    given = (1, 5, 5, 6) if len(shape) > 2 else (1, 6)
    tensors = [
        x_of(*given),
        T("w", shape, scale=0.01, data=rng.integers(-127, 128, shape)),
        T("b", (channels,), "int32", 0.0005, data=rng.integers(-99, 99, channels)),
        y_of(*given[:-1], channels),
    ]
    strides = {"strideH": 1, "strideW": 1} if len(shape) > 2 else {}
    options = {"fusedActivationFunction": 1, **strides}
    graph = graph_of(tmp_path, tensors, Op(op, ["x", "w", "b"], ["y"], options), ["x"])
    node = node_of(graph, graph.operators[0])
    x = rng.integers(-128, 128, (3, *given[1:])).astype(np.int8)
    finish = sums.finish_of(node, channels, real_values(node.at(2)))
    want = reals()[f"{op} float32"].function(node, dequantized(node.x, x), real_values(node.at(1)), finish[0])
    stored = node.at(1).data
    assert stored is not None
    np.testing.assert_allclose(exact_sums(node, x, stored).finished(finish), want, rtol=0, atol=1e-12)


def test_sums_too_large_for_the_products_of_bytes_are_exact(tmp_path: Path) -> None:
    depth = 2**18
    x, w = np.full((1, depth), -128, np.int8), np.full((1, depth), -127, np.int8)
    tensors = [x_of(1, depth, zero_point=127), T("w", w.shape, scale=1.0, data=w), y_of(1, 1)]
    graph = graph_of(tmp_path, tensors, Op("FULLY_CONNECTED", ["x", "w"], ["y"], {}), ["x"])
    held = exact_sums(node_of(graph, graph.operators[0]), x, w)
    assert held.finished((np.zeros(1), -np.inf, np.inf)).item() == 255 * 127 * depth * float(np.float32(0.05))


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_sums_of_floats_keep_what_float32_loses(tmp_path: Path, op: str) -> None:
    """Two large products cancel: float32 is off by thousands of 1e-4 steps of a grid with steps of 1 (decision 16)."""
    kernels = {"CONV_2D": (1, 1, 3, 1), "DEPTHWISE_CONV_2D": (1, 1, 3, 1), "FULLY_CONNECTED": (1, 3)}
    shape = kernels[op]
    given, made = ((1, 3), (1, 1)) if len(shape) == 2 else ((1, 1, 3, 1), (1, 1, 1, 1))
    w = np.array([1.25, 1.0, -1.25], np.float32).reshape(shape)
    tensors = [T("x", given, "float32"), T("w", shape, "float32", data=w), T("y", made, "float32")]
    strides = {"strideH": 1, "strideW": 1, "padding": 1} if len(given) > len(made[:2]) else {}
    graph = graph_of(tmp_path, tensors, Op(op, ["x", "w"], ["y"], strides), ["x"])
    x = np.array([2.0**24 + 2, 0.75, 2.0**24]).reshape(given)
    found = reals()[f"{op} float32"].function(node_of(graph, graph.operators[0]), x, w)
    assert found.item() == 1.25 * 2 + 0.75
