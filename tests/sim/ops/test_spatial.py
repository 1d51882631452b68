"""Ops that move or pool values: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, Maker
from written_models import Op, T

from quantdiff.sim.accumulate import axis_of
from quantdiff.sim.runtime import Runtime


def pool(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        n, h, w, c = dice.of(1, 1, 2), dice.side(3, 12), dice.size(3, 12), dice.of(1, 3, 8, 16, 17, 40)
        taps_h, taps_w, stride = dice.size(1, 3), dice.size(1, 3), dice.of(1, 2, 3)
        padding = dice.of("SAME", "VALID")
        rows, columns = (axis_of(*side, stride, 1, padding) for side in ((h, taps_h), (w, taps_w)))
        scale, zero_point = dice.scale(), dice.zero_point()
        options = {
            "padding": int(padding == "VALID"),
            "strideH": stride,
            "strideW": stride,
            "filterHeight": taps_h,
            "filterWidth": taps_w,
            "fusedActivationFunction": dice.of(0, 0, 1, 2, 3),
        }
        shape = (n, rows.out, columns.out, c)
        tensors = [T("x", (n, h, w, c), scale=scale, zero_point=zero_point), T("y", shape, "int8", scale, zero_point)]
        return Case(tensors, [Op(op, ["x"], ["y"], options)], {"x": dice.integers((n, h, w, c))})

    return make


def mean(dice: Dice, dtype: str = "int8") -> Case:
    shape = (dice.of(1, 2), dice.side(2, 12), dice.size(2, 12), dice.of(1, 3, 8, 15, 16, 17, 40, 64))
    axes, keep = dice.of([1, 2], [1, 2], [2, 1], [3], [1], [-1], [1, 2, 3]), dice.chance()
    reduced = {axis % 4 for axis in axes}
    out = tuple(1 if i in reduced else size for i, size in enumerate(shape) if keep or i not in reduced)
    scale = dice.scale()
    tensors = [
        T("x", shape, dtype, scale, zero_point(dice, dtype)),
        T("a", (len(axes),), "int32", data=axes),
        T("y", out, dtype, dice.near(scale / 3), zero_point(dice, dtype)),
    ]
    op = Op("MEAN", ["x", "a"], ["y"], {"keepDims": keep}, "ReducerOptions", 3 if dtype == "int16" else 2)
    return Case(tensors, [op], {"x": dice.integers(shape, dtype)})


def zero_point(dice: Dice, dtype: str) -> int:
    return 0 if dtype == "int16" else dice.zero_point(dtype)


def reshape(dice: Dice) -> Case:
    shape, scale, zero_point = dice.shape(), dice.scale(), dice.zero_point()
    new = dice.of((int(np.prod(shape)),), (1, *shape), (shape[0], -1), (-1,))
    known = -int(np.prod(new)) if -1 in new else 1
    out = tuple(int(np.prod(shape)) // known if size == -1 else size for size in new)
    tensors = [
        T("x", shape, scale=scale, zero_point=zero_point),
        T("s", (len(new),), "int32", data=new),
        T("y", out, scale=scale, zero_point=zero_point),
    ]
    return Case(tensors, [Op("RESHAPE", ["x", "s"], ["y"], {"newShape": list(new)})], {"x": dice.integers(shape)})


def concatenation(dice: Dice) -> Case:
    shape, scale, zero_point, parts = dice.shape(), dice.scale(), dice.zero_point(), dice.size(2, 6)
    axis = dice.size(0, len(shape) - 1)
    sizes = [dice.size(1, 4) for _ in range(parts)]
    shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    tensors = [T(f"x{i}", s, scale=scale, zero_point=zero_point) for i, s in enumerate(shapes)]
    tensors.append(T("y", (*shape[:axis], sum(sizes), *shape[axis + 1 :]), scale=scale, zero_point=zero_point))
    names = [f"x{i}" for i in range(parts)]
    feeds = {name: dice.integers(s) for name, s in zip(names, shapes, strict=True)}
    return Case(tensors, [Op("CONCATENATION", names, ["y"], {"axis": dice.of(axis, axis - len(shape))})], feeds)


def pad(dice: Dice) -> Case:
    shape, scale, zero_point = dice.shape(), dice.scale(), dice.zero_point()
    widths = dice.rng.integers(0, 3, (len(shape), 2))
    out = tuple(int(size + both.sum()) for size, both in zip(shape, widths, strict=True))
    tensors = [
        T("x", shape, scale=scale, zero_point=zero_point),
        T("p", (len(shape), 2), "int32", data=widths),
        T("y", out, scale=scale, zero_point=zero_point),
    ]
    return Case(tensors, [Op("PAD", ["x", "p"], ["y"])], {"x": dice.integers(shape)})


MAKERS: dict[str, Maker] = {
    "AVERAGE_POOL_2D": pool("AVERAGE_POOL_2D"),
    "CONCATENATION, equal scales": concatenation,
    "MAX_POOL_2D": pool("MAX_POOL_2D"),
    "MEAN": mean,
    "MEAN int16": lambda dice: mean(dice, "int16"),
    "MEAN uint8": lambda dice: mean(dice, "uint8"),
    "PAD": pad,
    "RESHAPE": reshape,
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if runtime is Runtime.TFLM and "uint8" in op:
        pytest.skip("this runtime has no such op")
    exact(op, MAKERS[op], runtime, times=0.2 if "MEAN" in op else 1)
