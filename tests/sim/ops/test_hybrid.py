"""Dynamic range: float activations on int8 weights, every LiteRT runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from golden import LITERT, Case, Dice, Maker, exact_on, run_real, run_simulator
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.accumulate import axis_of
from quantdiff.sim.runtime import Runtime


def reals(dice: Dice, shape: Sequence[int]) -> Array:
    """Floats whose rows are what trips a range: near ties, one-sided, off 0, all zero, far apart in size."""
    rows = (shape[0], *[1] * (len(shape) - 1))
    x = dice.rng.normal(size=shape) * np.exp(dice.rng.uniform(-9, 9, rows))
    kind = dice.of("normal", "normal", "one-sided", "off zero", "ties", "some zero", "negative")
    if kind == "one-sided":
        x = np.abs(x)
    elif kind == "negative":
        x = -np.abs(x)
    elif kind == "off zero":
        x = x + dice.of(-1, 1) * 5 * np.abs(x).max()
    elif kind == "ties":  # half steps of a range that is a power of two times 127 or 255
        x = dice.rng.integers(-255, 256, shape) / 2 * 2.0 ** dice.size(-9, 9)
    elif kind == "some zero":
        x = x * dice.rng.integers(0, 2, rows)
    return np.asarray(x, np.float32)


def weights(dice: Dice, shape: tuple[int, ...], axis: int, one_scale: bool) -> T:
    scale = dice.scale() if one_scale else [dice.scale() for _ in range(shape[axis])]
    low = -128 if dice.chance(0.2) else -127  # no converter writes -128, but a file may hold it
    return T("w", shape, "int8", scale, 0, axis, dice.integers(shape, low=low))


def floats(dice: Dice, count: int) -> Array:
    if dice.chance(0.1):
        return np.full(count, -0.0, np.float32)  # which an input of zeros leaves as it is
    return np.asarray(dice.rng.normal(size=count) * np.exp(dice.rng.uniform(-5, 5)), np.float32)


def dense(dice: Dice, per_channel: bool) -> Case:
    batch, depth = dice.of(1, 1, 2, 5, 33), dice.of(1, 3, 7, 8, 16, 17, 31, 33, 47, 100, 700)
    units = dice.of(1, 4, 7, 8, 9, 16, 17, 33, 100)
    tensors = [
        T("x", (batch, depth), "float32"),
        weights(dice, (units, depth), 0, not per_channel or units == 1),
        T("y", (batch, units), "float32"),
    ]
    names: list[str | None] = ["x", "w"]
    if dice.chance(0.8):
        tensors.append(T("b", (units,), "float32", data=floats(dice, units)))
        names.append("b")
    options = {"fusedActivationFunction": dice.of(0, 0, 1, 2, 3), "asymmetricQuantizeInputs": dice.chance()}
    op = Op("FULLY_CONNECTED", names, ["y"], options, version=9)
    return Case(tensors, [op], {"x": reals(dice, (batch, depth))})


def image(dice: Dice, depthwise: bool, per_channel: bool = True) -> Case:
    n, h, w, taps = dice.of(1, 1, 2, 3), dice.size(3, 12), dice.size(3, 12), dice.size(1, 3)
    stride, padding = dice.of(1, 1, 2), dice.of("SAME", "VALID")
    dilation = dice.of(1, 1, 2) if stride == 1 else 1
    rows, columns = (axis_of(size, taps, stride, dilation, padding) for size in (h, w))
    if min(rows.out, columns.out) < 1:
        return image(dice, depthwise, per_channel)
    groups = 1 if depthwise or not per_channel else dice.of(1, 1, 1, 2)
    c = groups * dice.of(1, 1, 3, 8, 17)
    units = dice.of(2, 3, 4, 7, 8, 9, 17) if per_channel else dice.of(1, 3, 4, 6, 8, 9, 10)
    out = c * dice.of(1, 1, 2, 3) if depthwise else groups * units
    shape, axis = ((1, taps, taps, out), 3) if depthwise else ((out, taps, taps, c // groups), 0)
    options = {"padding": int(padding == "VALID"), "strideH": stride, "strideW": stride}
    options |= {"dilationHFactor": dilation, "dilationWFactor": dilation}
    options |= {"fusedActivationFunction": dice.of(0, 0, 1, 2, 3)}
    tensors = [
        T("x", (n, h, w, c), "float32"),
        weights(dice, shape, axis, not per_channel),
        T("b", (out,), "float32", data=floats(dice, out)),
        T("y", (n, rows.out, columns.out, out), "float32"),
    ]
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    op = Op(name, ["x", "w", "b"], ["y"], options | ({"depthMultiplier": out // c} if depthwise else {}), version=5)
    return Case(tensors, [op], {"x": reals(dice, (n, h, w, c))})


MAKERS: dict[str, Maker] = {
    "CONV_2D hybrid, per channel": lambda dice: image(dice, False),
    "CONV_2D hybrid, per tensor": lambda dice: image(dice, False, False),
    "DEPTHWISE_CONV_2D hybrid": lambda dice: image(dice, True),
    "FULLY_CONNECTED hybrid, per channel": lambda dice: dense(dice, True),
    "FULLY_CONNECTED hybrid, per tensor": lambda dice: dense(dice, False),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, MAKERS[op], runtime)


def lowest_weights(dice: Dice) -> Case:
    """Weights of -128 in a convolution by one scale: ruy gets them right, the SSE kernel does not."""
    depth, units = dice.of(16, 24, 40), dice.of(2, 4, 5, 6)
    tensors = [
        T("x", (1, 2, 2, depth), "float32"),
        T("w", (units, 1, 1, depth), "int8", 0.01, data=dice.rng.choice([-128, 127], (units, 1, 1, depth))),
        T("b", (units,), "float32", data=floats(dice, units)),
        T("y", (1, 2, 2, units), "float32"),
    ]
    options = {"strideH": 1, "strideW": 1, "padding": 1}
    return Case(tensors, [Op("CONV_2D", ["x", "w", "b"], ["y"], options)], {"x": reals(dice, (1, 2, 2, depth))})


def nothing_in(dice: Dice) -> Case:
    """Zeros and biases of -0: LiteRT returns the biases untouched, but only where the whole input is zero."""
    batch, depth, units = dice.of(1, 2), 3, 2
    tensors = [
        T("x", (batch, depth), "float32"),
        weights(dice, (units, depth), 0, dice.chance()),
        T("b", (units,), "float32", data=np.full(units, -0.0)),
        T("y", (batch, units), "float32"),
    ]
    op = Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], {"fusedActivationFunction": dice.of(0, 1, 2, 3)}, version=9)
    x = np.zeros((batch, depth), np.float32)
    x[-1] = dice.of(0, 1)
    return Case(tensors, [op], {"x": x})


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("maker", [lowest_weights, nothing_in])
def test_odd_corners(runtime: Runtime, maker: Maker) -> None:
    count, wrong = exact_on(maker, runtime, elements=500, least=40)
    assert (count >= 100, wrong) == (True, 0)


def dense_with(zero_point: int = 0) -> tuple[bytes, list[Array]]:
    tensors = [
        T("x", (1, 2), "float32"),
        T("w", (3, 2), "int8", 0.5, zero_point, data=[[1, 2], [3, -4], [127, 127]]),
        T("b", (3,), "float32", data=[1, -2, 0]),
        T("y", (1, 3), "float32"),
    ]
    op = Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], version=9)
    return Case(tensors, [op], {"x": np.zeros((1, 2))}).write(), [np.asarray([[127, -2.25]], np.float32)]


def test_by_hand() -> None:
    model, feeds = dense_with()
    # the input is 127 and −2 steps of 1: sums 123, 389, 15875; times 0.5, plus the bias
    graph, simulation = run_simulator(model, feeds, Runtime.REFERENCE)
    assert simulation.values[graph.outputs[0]].reshape(-1).tolist() == [62.5, 192.5, 7937.5]


def test_tells_what_a_runtime_refuses() -> None:
    model, feeds = dense_with(zero_point=3)
    assert not run_simulator(model, feeds, Runtime.REFERENCE)[1].missing
    (missing,) = run_simulator(model, feeds, Runtime.XNNPACK)[1].missing
    assert "XNNPACK refuses" in missing.why
    (missing,) = run_simulator(model, feeds, Runtime.TFLM)[1].missing
    assert "TFLM has no kernel" in missing.why


@pytest.mark.parametrize("depthwise", [False, True])
def test_convolution_without_a_bias(depthwise: bool) -> None:
    case = image(Dice(), depthwise)
    case = replace(case, operators=[replace(case.operators[0], inputs=["x", "w"])])
    model, feeds = case.write(), list(case.feeds.values())
    (missing,) = run_simulator(model, feeds, Runtime.BUILTIN)[1].missing
    assert "without a bias" in missing.why
    if depthwise:  # the reference kernel alone leaves it out
        real, _ = run_real(model, feeds, Runtime.REFERENCE)
        graph, simulation = run_simulator(model, feeds, Runtime.REFERENCE)
        np.testing.assert_array_equal(simulation.values[graph.outputs[0]][0], real[0])


def test_one_scale_for_many_depthwise_channels_is_refused() -> None:
    case = image(Dice(), depthwise=True)
    tensors = [replace(tensor, scale=0.1, axis=0) if tensor.name == "w" else tensor for tensor in case.tensors]
    model = replace(case, tensors=tensors).write()
    (missing,) = run_simulator(model, list(case.feeds.values()), Runtime.REFERENCE)[1].missing
    assert "one per channel" in missing.why
