"""Layers of floats beside convolutions and dense ones: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, Maker
from sim.ops.test_hybrid import reals, weights
from sim.ops.test_numbers import curve
from written_models import Op, T

from quantdiff.load.tflite import read_model
from quantdiff.sim.node import node_of
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.xnnpack.delegate import taken


def matrices(dice: Dice) -> Case:
    """Two stacks of matrices, each transposed or not, the second perhaps one matrix for all, perhaps a constant."""
    depth, rows, columns = dice.of(1, 2, 3, 7, 8, 17, 40), dice.of(1, 2, 3, 5, 8, 9), dice.of(1, 2, 4, 5, 8, 13)
    outer, across, down = dice.of((1,), (2,), (2, 3)), dice.chance(), dice.chance()
    a_shape = (*outer, *((depth, rows) if across else (rows, depth)))
    b_shape = (*dice.of(outer, outer, (1,) * len(outer)), *((columns, depth) if down else (depth, columns)))
    a, b = (dice.rng.normal(size=shape).astype(np.float32) for shape in (a_shape, b_shape))
    constant = dice.chance(0.3)
    tensors = [
        T("a", a_shape, "float32"),
        T("b", b_shape, "float32", data=b if constant else None),
        T("y", (*np.broadcast_shapes(a_shape[:-2], b_shape[:-2]), rows, columns), "float32"),
    ]
    op = Op("BATCH_MATMUL", ["a", "b"], ["y"], {"adjX": across, "adjY": down}, "BatchMatMulOptions")
    return Case(tensors, [op], {"a": a} | ({} if constant else {"b": b}))


def resized(dice: Dice) -> Case:
    """Twice as large half of the time, which ``builtin`` does in its own way."""
    h, w, c = dice.side(1, 9), dice.size(1, 9), dice.of(1, 3, 4, 8, 17)
    size = dice.of((2 * h, 2 * w), (dice.size(1, 20), dice.size(1, 20)))
    corners, centres = dice.of((False, False), (True, False), (False, True))
    x = dice.rng.normal(size=(1, h, w, c)).astype(np.float32)
    tensors = [T("x", x.shape, "float32"), T("s", (2,), "int32", data=size), T("y", (1, *size, c), "float32")]
    options = {"alignCorners": corners, "halfPixelCenters": centres}
    return Case(tensors, [Op("RESIZE_BILINEAR", ["x", "s"], ["y"], options, version=3)], {"x": x})


def spread(dice: Dice) -> Case:
    """A transposed convolution; half of them with whole strides in a window, which XNNPACK takes apart."""
    stride, h, w = dice.of(1, 2, 2, 3), dice.size(2, 7), dice.size(2, 7)
    taps = (stride * dice.size(1, 2), stride * dice.size(1, 2)) if dice.chance() else (dice.size(1, 4), dice.size(1, 4))
    padding, many, depth, out = dice.of("SAME", "VALID"), dice.of(1, 1, 2), dice.of(1, 3, 8, 33), dice.of(1, 3, 8, 9)
    sizes = [n * stride if padding == "SAME" else (n - 1) * stride + k for n, k in zip((h, w), taps, strict=True)]
    shape = (many, *sizes, out)
    x, weights = dice.rng.normal(size=(many, h, w, depth)), dice.rng.normal(size=(out, *taps, depth))
    tensors = [
        T("s", (4,), "int32", data=shape),
        T("w", weights.shape, "float32", data=weights),
        T("x", x.shape, "float32"),
        T("b", (out,), "float32", data=dice.rng.normal(size=out)),
        T("y", shape, "float32"),
    ]
    names = ["s", "w", "x", "b"] if dice.chance(0.7) else ["s", "w", "x"]
    options = {"padding": int(padding == "VALID"), "strideH": stride, "strideW": stride}
    op = Op("TRANSPOSE_CONV", names, ["y"], options, version=3)
    return Case(tensors, [op], {"x": x.astype(np.float32)})


def spread_hybrid(dice: Dice) -> Case:
    """The same on int8 weights."""
    case, one_scale = spread(dice), dice.chance()
    (w,) = (t for t in case.tensors if t.name == "w")
    stored = weights(dice, tuple(w.shape), 0, one_scale)
    n, h, width, depth = case.feeds["x"].shape
    tensors = [stored if t is w else t for t in case.tensors]
    x = reals(dice, (n, h * width * depth)).reshape(n, h, width, depth)
    return Case(tensors, case.operators, {"x": x})


def delegated(dice: Dice, maker: Maker = spread) -> Case:
    """The same, of those that XNNPACK takes."""
    while True:
        case = maker(dice)
        graph = read_model(memoryview(case.write())).main
        if taken(node_of(graph, graph.operators[0])):
            return case


MAKERS: dict[str, Maker] = {
    "BATCH_MATMUL float32": matrices,
    "HARD_SWISH float32": curve("HARD_SWISH"),
    "LOG_SOFTMAX float32": curve("LOG_SOFTMAX"),
    "RESIZE_BILINEAR float32": resized,
    "TRANSPOSE_CONV float32": spread,
    "TRANSPOSE_CONV float32, delegated": delegated,
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, MAKERS[op], runtime, times=0.5)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize(
    "maker", [spread_hybrid, lambda dice: delegated(dice, spread_hybrid)], ids=["any", "delegated"]
)
def test_golden_of_dynamic_range(exact: Callable[..., None], runtime: Runtime, maker: Maker) -> None:
    exact("TRANSPOSE_CONV hybrid", maker, runtime, times=0.5)
