"""Quantized ops that are less common: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, Maker
from written_models import Op, T

from quantdiff.sim.runtime import Runtime

EVERY = np.arange(-128, 128, dtype=np.int8)


def leaky_relu(dice: Dice) -> Case:
    scale = dice.scale()
    alpha = float(np.float32(dice.of(0.1, 0.25, 0.3, 0.01, 1.5)))
    s_y = dice.at_tie(scale * dice.of(1.0, alpha, alpha), dice.size(50, 255)) if dice.chance(0.7) else dice.near(scale)
    s_y = max(s_y, scale / 100)
    tensors = [
        T("x", (256,), scale=scale, zero_point=dice.zero_point()),
        T("y", (256,), scale=s_y, zero_point=dice.zero_point()),
    ]
    return Case(tensors, [Op("LEAKY_RELU", ["x"], ["y"], {"alpha": alpha})], {"x": EVERY})


def prelu(dice: Dice) -> Case:
    c, scale = dice.of(3, 8, 17), dice.scale()
    s_a = dice.scale()
    shape, alpha = (1, dice.size(1, 9), dice.size(1, 9), c), (1, 1, c)
    tensors = [
        T("x", shape, scale=scale, zero_point=dice.zero_point()),
        T("a", alpha, scale=s_a, zero_point=dice.zero_point(), data=dice.integers(alpha)),
        T("y", shape, scale=dice.at_tie(scale, dice.size(50, 255)), zero_point=dice.zero_point()),
    ]
    return Case(tensors, [Op("PRELU", ["x", "a"], ["y"])], {"x": dice.integers(shape)})


def hard_swish(dice: Dice) -> Case:
    scale = dice.scale(-6, 1)
    tensors = [
        T("x", (256,), scale=scale, zero_point=dice.zero_point()),
        T("y", (256,), scale=float(scale * dice.rng.uniform(0.3, 2)), zero_point=dice.zero_point()),
    ]
    return Case(tensors, [Op("HARD_SWISH", ["x"], ["y"])], {"x": EVERY})


def resize_bilinear(dice: Dice) -> Case:
    shape, size = (dice.of(1, 2), dice.size(1, 9), dice.size(1, 9), dice.of(1, 3, 8, 17)), [dice.size(1, 20)] * 2
    size[1] = dice.size(1, 20)
    scale, zero_point = dice.scale(), dice.zero_point()
    tensors = [
        T("x", shape, "int8", scale, zero_point),
        T("s", (2,), "int32", data=size),
        T("y", (shape[0], *size, shape[3]), "int8", scale, zero_point),
    ]
    options = dice.of({}, {"alignCorners": True}, {"halfPixelCenters": True})
    return Case(tensors, [Op("RESIZE_BILINEAR", ["x", "s"], ["y"], options)], {"x": dice.integers(shape)})


def transpose_conv(dice: Dice) -> Case:
    h, w, taps_h, taps_w = dice.size(1, 9), dice.size(1, 9), dice.size(1, 4), dice.size(1, 4)
    c, out, stride, same = dice.of(1, 3, 8, 17), dice.of(1, 7, 8, 9, 16, 17), dice.of(1, 2, 3), dice.chance()
    size = (h * stride, w * stride) if same else ((h - 1) * stride + taps_h, (w - 1) * stride + taps_w)
    s_x = dice.scale()
    s_w = [dice.scale() for _ in range(out)] if dice.chance(0.7) and out > 1 else dice.scale()
    units = np.broadcast_to(np.float64(s_x) * np.asarray(s_w), (out,))
    z_x, x, b = dice.zero_point(), dice.integers((1, h, w, c)), dice.rng.integers(-300, 300, out)
    s_y = dice.near(np.mean(units) * (taps_h * taps_w * c) ** 0.5 * 74 * 73 / dice.of(30, 60, 200))
    if dice.chance(0.4):
        x = np.where(dice.rng.random((1, h, w, 1)) < 0.9, np.int8(z_x), x)
        s_y = dice.at_tie(float(units[0]), 2.0 ** dice.size(6, 28))
        b = dice.biases_at_ties(units, s_y)
    tensors = [
        T("s", (4,), "int32", data=[1, *size, out]),
        T("w", (out, taps_h, taps_w, c), scale=s_w, data=dice.integers((out, taps_h, taps_w, c), low=-127)),
        T("x", (1, h, w, c), "int8", s_x, z_x),
        T("b", (out,), "int32", np.atleast_1d(np.float32(s_x) * np.asarray(s_w, np.float32)), data=b),
        T("y", (1, *size, out), "int8", s_y, dice.zero_point()),
    ]
    options = {"padding": int(not same), "strideH": stride, "strideW": stride}
    return Case(tensors, [Op("TRANSPOSE_CONV", ["s", "w", "x", "b"], ["y"], options, version=3)], {"x": x})


def batch_matmul(dice: Dice) -> Case:
    m, k, n = dice.of(1, 3, 8, 17), dice.of(1, 7, 33, 64), dice.of(1, 5, 16, 17)
    lead, adj_x, adj_y = dice.of((), (2,), (2, 3)), dice.chance(0.3), dice.chance(0.3)
    a_shape, b_shape = (*lead, *((k, m) if adj_x else (m, k))), (*lead, *((n, k) if adj_y else (k, n)))
    s_a, s_b, z_a, z_b = dice.scale(), dice.scale(), dice.zero_point(), dice.of(0, 0, dice.zero_point())
    s_y, constant = dice.near(s_a * s_b * k**0.5 * 80), dice.chance()
    a, b = dice.integers(a_shape), dice.integers(b_shape)
    if dice.chance(0.3):  # every pair of values, one of which lies next to a tie
        lead, m, n, adj_x, adj_y, z_a = (), 256, 256, False, False, -128
        a, b = EVERY.reshape(256, 1), EVERY.reshape(1, 256)
        s_y = dice.at_tie(s_a * s_b, dice.size(100, 255) * dice.size(60, 127 - min(z_b, 60)))
    tensors = [
        T("a", a.shape, scale=s_a, zero_point=z_a),
        T("b", b.shape, "int8", s_b, z_b, data=b if constant else None),
        T("y", (*lead, m, n), scale=s_y, zero_point=dice.zero_point()),
    ]
    op = Op("BATCH_MATMUL", ["a", "b"], ["y"], {"adjX": adj_x, "adjY": adj_y}, "BatchMatMulOptions")
    return Case(tensors, [op], {"a": a} | ({} if constant else {"b": b}))


def total(dice: Dice) -> Case:
    shape = (dice.of(1, 2), dice.size(2, 12), dice.size(2, 12), dice.of(1, 3, 8, 17))
    axes, keep, scale = dice.of([1, 2], [3], [1], [-1]), dice.chance(), dice.scale()
    reduced = {axis % 4 for axis in axes}
    out = tuple(1 if i in reduced else size for i, size in enumerate(shape) if keep or i not in reduced)
    tensors = [
        T("x", shape, scale=scale, zero_point=dice.zero_point()),
        T("a", (len(axes),), "int32", data=axes),
        T("y", out, scale=dice.near(scale * 4), zero_point=dice.zero_point()),
    ]
    op = Op("SUM", ["x", "a"], ["y"], {"keepDims": keep}, "ReducerOptions")
    return Case(tensors, [op], {"x": dice.integers(shape)})


def concatenation_uint8(dice: Dice) -> Case:
    shape, scale, parts = dice.shape(), dice.scale(), dice.size(2, 4)
    names = [f"x{i}" for i in range(parts)]
    tensors = [T(n, shape, "uint8", dice.near(scale), dice.zero_point("uint8")) for n in names]
    y = T("y", (*shape[:-1], shape[-1] * parts), "uint8", scale, dice.zero_point("uint8"))
    op = Op("CONCATENATION", names, ["y"], {"axis": len(shape) - 1})
    return Case([*tensors, y], [op], {n: dice.integers(shape, "uint8") for n in names})


MAKERS: dict[str, Maker] = {
    "BATCH_MATMUL": batch_matmul,
    "HARD_SWISH": hard_swish,
    "LEAKY_RELU": leaky_relu,
    "PRELU": prelu,
    "RESIZE_BILINEAR": resize_bilinear,
    "SUM": total,
    "TRANSPOSE_CONV": transpose_conv,
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, MAKERS[op], runtime, cases=100 if "RELU" in op or "MATMUL" in op else 30)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_concatenation(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("CONCATENATION uint8, any scales", concatenation_uint8, runtime)
