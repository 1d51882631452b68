"""Products and sums by hand: zero points on both sides, padding, groups, the depth multiplier."""

from __future__ import annotations

import numpy as np
from written_models import Op, T, write_tflite

from quantdiff.graph import dense_values
from quantdiff.load.tflite import read_model
from quantdiff.paper.arithmetic.steps import Case, known
from quantdiff.paper.working import Products, Sheet
from quantdiff.quant import Array
from quantdiff.sim.node import node_of
from quantdiff.sim.runtime import Runtime


def sheet_of(tensors: list[T], op: Op, x: Array, at: tuple[int, ...]) -> Sheet:
    graph = read_model(memoryview(write_tflite(tensors, [op], ["x"], ["y"]))).main
    node = node_of(graph, graph.operators[0])
    arrays = [x, *(dense_values(t) for t in node.inputs[1:] if t is not None)]
    return known()[op.op](Case(node, arrays, Runtime.REFERENCE), at)


def products(sheet: Sheet) -> Products:
    assert sheet.products is not None
    return sheet.products


def test_the_zero_points_split_off() -> None:
    """(4-3)(7-5) + (9-3)(2-5) = -16; the bias makes it -10, a quarter of it -2.5, away from zero -3, plus 128."""
    tensors = [
        T("x", (1, 2), "uint8", 0.5, 3),
        T("w", (1, 2), "uint8", 0.5, 5, data=[[7, 2]]),
        T("b", (1,), "int32", 0.25, data=[6]),
        T("y", (1, 1), "uint8", 1.0, 128),
    ]
    op = Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], {"fusedActivationFunction": 0})
    sheet = sheet_of(tensors, op, np.asarray([[4, 9]], np.uint8), (0, 0))
    p = products(sheet)
    assert [t.product for t in p.terms] == [28, 18]
    assert (p.sum_xw, p.sum_x, p.sum_w, p.count) == (46, 13, 9, 2)
    assert (p.for_z_w, p.for_z_x, p.for_both) == (-65, -27, 30)
    assert (p.accumulator, p.bias, p.total) == (-16, 6, -10)
    assert [(s.name, s.value) for s in sheet.steps[3:]] == [
        ("product", -2.5), ("round", -3), ("add zero point", 125), ("clamp", 125),
    ]  # fmt: skip


def test_padding_adds_nothing_and_is_counted() -> None:
    """A 3 × 3 window at the corner of a 2 × 2 image sees four pixels; five taps lie outside."""
    w = np.arange(1, 10).reshape(1, 3, 3, 1)
    tensors = [
        T("x", (1, 2, 2, 1), scale=0.5, zero_point=-1),
        T("w", (1, 3, 3, 1), scale=[0.5], data=w),
        T("b", (1,), "int32", scale=[0.25], data=[0]),
        T("y", (1, 2, 2, 1), scale=0.25),
    ]
    op = Op("CONV_2D", ["x", "w", "b"], ["y"], {"strideH": 1, "strideW": 1, "padding": 0})
    x = np.asarray([[9, 8], [7, 6]], np.int8).reshape(1, 2, 2, 1)
    p = products(sheet_of(tensors, op, x, (0, 0, 0, 0)))
    assert [(t.x, t.w) for t in p.terms] == [(9, 5), (8, 6), (7, 8), (6, 9)]
    assert (p.padded, p.count, p.accumulator) == (5, 4, 50 + 54 + 64 + 63)


def test_a_group_and_a_multiplied_channel_see_their_own_inputs() -> None:
    x = np.asarray([1, 2, 3, 4], np.int8).reshape(1, 1, 1, 4)
    ones = {"strideH": 1, "strideW": 1, "padding": 1}

    def seen(op: str, w: tuple[int, ...], axis: int, at: int) -> list[tuple[int, ...]]:
        out = w[axis]
        tensors = [
            T("x", (1, 1, 1, 4), scale=0.5),
            T("w", w, scale=np.full(out, 0.5), axis=axis, data=1),
            T("b", (out,), "int32", scale=np.full(out, 0.25), data=0),
            T("y", (1, 1, 1, out), scale=0.25),
        ]
        more = {"depthMultiplier": 3} if axis else {}
        sheet = sheet_of(tensors, Op(op, ["x", "w", "b"], ["y"], {**ones, **more}), x, (0, 0, 0, at))
        return [t.x_at for t in products(sheet).terms]

    assert seen("CONV_2D", (6, 1, 1, 2), 0, 2) == [(0, 0, 0, 0), (0, 0, 0, 1)]
    assert seen("CONV_2D", (6, 1, 1, 2), 0, 3) == [(0, 0, 0, 2), (0, 0, 0, 3)]
    assert seen("DEPTHWISE_CONV_2D", (1, 1, 1, 12), 3, 5) == [(0, 0, 0, 1)]
