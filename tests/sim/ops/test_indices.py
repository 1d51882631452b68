"""Ops that compare, choose, look up, count and scatter: bit for bit on every runtime that has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from golden import LITERT, Case, Dice, Maker, run_simulator
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime

LARGEST = float(np.nextafter(np.float32(1), np.float32(0)))
"""Scale of a comparison: from 1 on LiteRT and TFLM stop the process."""
Feed = tuple[Array, bool]
"""Values, and whether the file holds them."""


def case(op: Op, inputs: Sequence[Feed], outputs: Sequence[tuple[Sequence[int], str]], quant: Any = None) -> Case:
    """A case of one op; ``quant`` is the scale and zero point of every int8 and uint8 tensor."""
    names, tensors = [f"x{i}" for i in range(len(inputs))], list[T]()
    feeds: dict[str, Array] = {}
    made = [f"y{i}" for i in range(len(outputs))]
    for name, (array, stored) in zip(names, inputs, strict=True):
        tensors.append(T(name, array.shape, array.dtype.name, data=array if stored else None))
        feeds |= {} if stored else {name: array}
    tensors += [T(name, shape, dtype) for name, (shape, dtype) in zip(made, outputs, strict=True)]
    for tensor in tensors:
        if quant is not None and tensor.dtype in ("int8", "uint8"):
            tensor.scale, tensor.zero_point = quant
    return Case(tensors, [Op(op.op, names, made, op.options, op.options_type, op.version)], feeds)


def numbers(dice: Dice, shape: Sequence[int], dtype: str) -> Array:
    """Few distinct values, so that many are equal."""
    if dtype == "bool":
        return dice.rng.random(shape) < 0.5
    return np.asarray(dice.rng.integers(-4 if not dtype.startswith("u") else 0, 5, shape), dtype)


def narrow(dtype: str) -> str:
    return "uint8" if dtype == "uint8" else "int8"


def comparison(op: str, dtype: str) -> Maker:
    """Plain numbers as they are; 8 bits on grids that meet now and then."""

    def make(dice: Dice) -> Case:
        shape = dice.shape()
        other = dice.of(shape, (1,) * (len(shape) - 1) + shape[-1:])
        kind = "".join(part.capitalize() for part in op.split("_")) + "Options"
        if dtype not in ("int8", "uint8"):
            inputs = [(numbers(dice, size, dtype), False) for size in (shape, other)]
            return case(Op(op, [], [], {}, kind), inputs, [(shape, "bool")])
        s_a, wide = dice.scale(), dice.scale()
        tensors = [
            T("a", shape, dtype, s_a, dice.zero_point(dtype)),
            T("b", other, dtype, dice.of(s_a, min(s_a * 2, LARGEST), wide), dice.zero_point(dtype)),
            T("y", shape, "bool"),
        ]
        feeds = {"a": dice.integers(shape, dtype), "b": dice.integers(other, dtype)}
        return Case(tensors, [Op(op, ["a", "b"], ["y"], {}, kind, 2)], feeds)

    return make


def logical(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        inputs = [(numbers(dice, shape, "bool"), False) for _ in range(1 if op == "LOGICAL_NOT" else 2)]
        kind = "".join(part.capitalize() for part in op.split("_")) + "Options"
        return case(Op(op, [], [], {}, kind), inputs, [(shape, "bool")])

    return make


def bits(op: str, dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        first = dice.rng.integers(low, high, shape, dtype, endpoint=True)
        by = np.array([-3, 0, 1, 5, 7, 30, 40]).clip(low, high).astype(dtype)
        second = (
            dice.rng.choice(by, shape) if op == "RIGHT_SHIFT" else dice.rng.permutation(first.ravel()).reshape(shape)
        )
        kind = "".join(part.capitalize() for part in op.split("_")) + "Options"
        return case(Op(op, [], [], {}, kind), [(first, False), (second, False)], [(shape, dtype)])

    return make


def chosen(op: str, dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        where = dice.of(shape, shape[:1]) if op == "SELECT" else dice.of(shape, shape[-1:])
        inputs = [(numbers(dice, where, "bool"), False)] + [(values(dice, shape, dtype), False) for _ in range(2)]
        kind = {"SELECT": "SelectOptions", "SELECT_V2": "SelectV2Options"}[op]
        return case(Op(op, [], [], {}, kind), inputs, [(shape, dtype)], (dice.scale(), dice.zero_point(narrow(dtype))))

    def values(dice: Dice, shape: Sequence[int], dtype: str) -> Array:
        return numbers(dice, shape, dtype) if dtype == "float32" else dice.integers(shape, dtype)

    return make


def quantifier(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, axes, keep = (
            (dice.side(1, 9), dice.size(1, 4), dice.side(1, 5)),
            dice.of([0], [1, 2], [-1], [1]),
            dice.chance(),
        )
        out = np.any(np.zeros(shape), axis=tuple(axes), keepdims=keep).shape
        x = dice.rng.random(shape) < dice.of(0.1, 0.9)
        inputs = [(x, False), (np.asarray(axes, np.int32), True)]
        return case(Op(op, [], [], {"keepDims": keep}, "ReducerOptions"), inputs, [(out, "bool")])

    return make


def cumulative(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        x = dice.rng.normal(0, 9, shape).astype(dtype)
        axis = np.asarray(dice.size(-len(shape), len(shape) - 1), np.int32)
        options = {"exclusive": dice.chance(), "reverse": dice.chance()}
        return case(Op("CUMSUM", [], [], options), [(x, False), (axis, True)], [(shape, dtype)])

    return make


def largest(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        k = dice.size(1, shape[-1])
        out = (*shape[:-1], k)
        inputs = [(numbers(dice, shape, dtype), False), (np.asarray(k, np.int32), True)]
        op = Op("TOPK_V2", [], [], {}, "TopKV2Options")
        return case(op, inputs, [(out, dtype), (out, "int32")], (dice.scale(), dice.zero_point(narrow(dtype))))

    return make


def one_hot(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, depth = dice.shape(), dice.size(1, 6)
        axis = dice.size(-1, len(shape))
        at = len(shape) if axis == -1 else axis
        inputs = [
            (dice.rng.integers(-1, depth + 1, shape).astype(np.int32), False),
            (np.asarray(depth, np.int32), True),
            (np.asarray(dice.size(1, 9), dtype), True),
            (np.asarray(dice.size(-3, 0), dtype), True),
        ]
        out = (*shape[:at], depth, *shape[at:])
        quant = (dice.scale(), dice.zero_point())
        return case(Op("ONE_HOT", [], [], {"axis": axis}), inputs, [(out, dtype)], quant)

    return make


def gathered(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, depth = (dice.size(1, 4), dice.size(1, 4), dice.size(1, 9)), dice.size(1, 3)
        count = dice.shape()[-2:]
        indices = np.stack([dice.rng.integers(0, shape[axis], count) for axis in range(depth)], axis=-1)
        inputs = [(dice.integers(shape).astype(dtype), False), (indices.astype(np.int32), dice.chance())]
        quant = (dice.scale(), dice.zero_point())
        return case(Op("GATHER_ND", [], [], {}, "GatherNdOptions"), inputs, [((*count, *shape[depth:]), dtype)], quant)

    return make


def scattered(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, depth, count = (dice.side(1, 4), 3, dice.side(1, 9)), dice.size(1, 3), dice.size(1, 7)
        indices = np.stack([dice.rng.integers(0, shape[axis], count) for axis in range(depth)], axis=-1)
        inputs = [
            (indices.astype(np.int32), True),
            (numbers(dice, (count, *shape[depth:]), dtype), False),
            (np.asarray(shape, np.int32), True),
        ]
        quant = (dice.scale(), dice.zero_point())
        return case(Op("SCATTER_ND", [], [], {}, "ScatterNdOptions"), inputs, [(shape, dtype)], quant)

    return make


def products_of_segments(dice: Dice) -> Case:
    shape, count = (dice.size(1, 9), dice.side(1, 9)), dice.size(1, 5)
    inputs = [
        (dice.rng.integers(-3, 4, shape).astype(np.int32), False),
        (dice.rng.integers(-1, count, shape[:1]).astype(np.int32), True),
        (np.asarray(count, np.int32), True),
    ]
    op = Op("UNSORTED_SEGMENT_PROD", [], [], {}, "UnsortedSegmentProdOptions")
    return case(op, inputs, [((count, *shape[1:]), "int32")], (dice.scale(), 0))


def updated(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = (dice.side(1, 5), dice.size(1, 5), dice.side(1, 17))
        part = tuple(dice.size(1, size) for size in shape)
        start = np.asarray([dice.size(-2, size + 1) for size in shape], np.int32)
        inputs = [
            (dice.integers(shape).astype(dtype), False),
            (dice.integers(part).astype(dtype), False),
            (start, dice.chance()),
        ]
        quant = (dice.scale(), dice.zero_point())
        return case(
            Op("DYNAMIC_UPDATE_SLICE", [], [], {}, "DynamicUpdateSliceOptions"), inputs, [(shape, dtype)], quant
        )

    return make


def turned(dice: Dice) -> Case:
    shape = (dice.side(1, 4), dice.side(1, 6), dice.side(1, 5))
    batch, along = dice.of((0, 1), (1, 0), (0, 2))
    lengths = dice.rng.integers(0, shape[along] + 1, shape[batch]).astype(np.int32)
    options = {"batchDim": batch, "seqDim": along}
    x = dice.rng.normal(size=shape).astype(np.float32)
    return case(Op("REVERSE_SEQUENCE", [], [], options), [(x, False), (lengths, True)], [(shape, "float32")])


def looked_up(dtype: str, out: str) -> Maker:
    """A table of one scale, or one a row, that becomes float; or one that stays what it is."""

    def make(dice: Dice) -> Case:
        rows, width, count = dice.side(1, 9), dice.of(1, 7, 16), dice.of(1, 5, 20) * dice.grown
        table = dice.integers((rows, width)).astype(dtype)
        scales = [dice.scale() for _ in range(rows)] if out != dtype and dice.chance() and rows > 1 else dice.scale()
        quantized = dtype == "int8"
        tensors = [
            T("i", (count,), "int32"),
            T("t", (rows, width), dtype, scales if quantized else None, data=table),
            T("y", (count, width), out, scales if out == "int8" else None),
        ]
        indices = dice.rng.integers(0, rows, count).astype(np.int32)
        return Case(tensors, [Op("EMBEDDING_LOOKUP", ["i", "t"], ["y"])], {"i": indices})

    return make


def zeros(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        return case(
            Op("ZEROS_LIKE", [], [], {}, "ZerosLikeOptions"), [(numbers(dice, shape, dtype), False)], [(shape, dtype)]
        )

    return make


def sums(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        inputs = [(dice.rng.normal(0, 99, shape).astype(dtype), False) for _ in range(dice.size(2, 5))]
        return case(Op("ADD_N", [], [], {}, "AddNOptions"), inputs, [(shape, dtype)])

    return make


def signs(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        return case(Op("SIGN", [], [], {}, "SignOptions"), [(numbers(dice, shape, dtype), False)], [(shape, dtype)])

    return make


def power(dtype: str) -> Maker:
    """A whole exponent for all, or, of floats, one for each."""

    def make(dice: Dice) -> Case:
        shape = (*dice.shape(), 2)
        if dtype == "int32" or dice.chance():
            x, exponent = dice.rng.normal(0, 4, shape).astype(dtype), np.asarray(dice.size(1, 7), dtype)
        else:
            x, exponent = np.exp(dice.rng.normal(0, 3, shape)).astype(dtype), dice.rng.normal(0, 3, shape).astype(dtype)
        return case(Op("POW", [], [], {}, "PowOptions"), [(x, False), (exponent, True)], [(shape, dtype)])

    return make


def angle(dice: Dice) -> Case:
    shape = dice.shape()
    y, x = (numbers(dice, shape, "float32") for _ in range(2))
    return case(Op("ATAN2", [], []), [(y, False), (x, False)], [(shape, "float32")])


def unit_length(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.of(dice.shape(), (1, 9000))
        if dtype == "float32":
            x = dice.rng.normal(0, dice.of(1e-5, 1, 100), shape).astype(np.float32)
            return case(Op("L2_NORMALIZATION", [], [], {}, "L2NormOptions"), [(x, False)], [(shape, dtype)])
        z_y = 0 if dtype == "int8" else 128
        tensors = [T("x", shape, dtype, dice.scale(), dice.zero_point(dtype)), T("y", shape, dtype, 1 / 128, z_y)]
        op = Op("L2_NORMALIZATION", ["x"], ["y"], {}, "L2NormOptions")
        x = dice.integers(shape, dtype)
        return Case(tensors, [op], {"x": x // dice.of(1, 1, 20)})

    return make


def log_probabilities(dice: Dice) -> Case:
    shape, scale = dice.of(dice.shape(), (2, 255), (1, 1000)), dice.scale(-5, 0.5)
    tensors = [
        T("x", shape, scale=scale, zero_point=dice.zero_point()),
        T("y", shape, scale=16 / 256, zero_point=127),
    ]
    x = dice.integers(shape) // dice.of(1, 1, 16)
    return Case(tensors, [Op("LOG_SOFTMAX", ["x"], ["y"], {}, "LogSoftmaxOptions")], {"x": x})


COMPARED = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
MAKERS: dict[str, Maker] = {
    **{f"{op} {d}": comparison(op, d) for op in COMPARED for d in ("int8", "uint8", "int32", "int64", "float32")},
    **{f"{op} bool": comparison(op, "bool") for op in COMPARED[:2]},
    **{op: logical(op) for op in ("LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR")},
    **{f"{op} {d}": bits(op, d) for op in ("BITWISE_XOR", "RIGHT_SHIFT") for d in ("int8", "uint8", "int16", "int32")},
    **{f"{op} {d}": chosen(op, d) for op in ("SELECT", "SELECT_V2") for d in ("int8", "uint8", "int16", "float32")},
    **{op: quantifier(op) for op in ("REDUCE_ALL", "REDUCE_ANY")},
    **{f"CUMSUM {d}": cumulative(d) for d in ("float32", "int32", "int64")},
    **{f"TOPK_V2 {d}": largest(d) for d in ("int8", "uint8", "int32", "float32")},
    **{f"ONE_HOT {d}": one_hot(d) for d in ("int8", "int32", "int64", "float32")},
    **{f"GATHER_ND {d}": gathered(d) for d in ("int8", "float32", "int32")},
    **{f"SCATTER_ND {d}": scattered(d) for d in ("int8", "float32", "int32")},
    "UNSORTED_SEGMENT_PROD int32": products_of_segments,
    **{f"DYNAMIC_UPDATE_SLICE {d}": updated(d) for d in ("int8", "float32", "int32")},
    "LOG_SOFTMAX int8": log_probabilities,
    "REVERSE_SEQUENCE": turned,
    "EMBEDDING_LOOKUP int8": looked_up("int8", "int8"),
    "EMBEDDING_LOOKUP int8 → float32": looked_up("int8", "float32"),
    "EMBEDDING_LOOKUP float32": looked_up("float32", "float32"),
    **{f"ZEROS_LIKE {d}": zeros(d) for d in ("float32", "int32", "int64")},
    **{f"ADD_N {d}": sums(d) for d in ("float32", "int32")},
    **{f"SIGN {d}": signs(d) for d in ("float32", "int32")},
    "ATAN2 float32": angle,
    **{f"POW {d}": power(d) for d in ("float32", "int32")},
    **{f"L2_NORMALIZATION {d}": unit_length(d) for d in ("int8", "uint8", "float32")},
}
IN_TFLM = [
    *(f"{op} {d}" for op in COMPARED for d in ("int8", "int32", "int64", "float32")),
    *("EQUAL bool", "NOT_EQUAL bool", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "REDUCE_ALL"),
    *(
        "SELECT_V2 int8",
        "SELECT_V2 int16",
        "SELECT_V2 float32",
        "CUMSUM float32",
        "GATHER_ND int8",
        "GATHER_ND float32",
    ),
    *("DYNAMIC_UPDATE_SLICE int8", "DYNAMIC_UPDATE_SLICE float32", "EMBEDDING_LOOKUP int8 → float32"),
    *("EMBEDDING_LOOKUP float32", "ZEROS_LIKE float32", "ZEROS_LIKE int32", "ZEROS_LIKE int64", "ADD_N float32"),
    *("LOG_SOFTMAX int8", "L2_NORMALIZATION int8", "L2_NORMALIZATION float32"),
]


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, MAKERS[op], runtime, times=0.1, cases=12)


@pytest.mark.golden
@pytest.mark.parametrize("op", IN_TFLM)
def test_golden_in_tflm(exact: Callable[..., None], op: str) -> None:
    exact(op, MAKERS[op], Runtime.TFLM, times=0.1, cases=12)


def simulated(made: Case, runtime: Runtime = Runtime.REFERENCE) -> Array:
    graph, simulation = run_simulator(made.write(), list(made.feeds.values()), runtime)
    return np.asarray(simulation.values[graph.outputs[0]][0])


def test_equal_values_on_grids_of_their_own() -> None:
    # 3 steps of 0.5 are 6 steps of 0.25; 5 steps from the zero point 2 are not
    tensors = [T("a", (1, 2), scale=0.5), T("b", (1, 2), scale=0.25, zero_point=2), T("y", (1, 2), "bool")]
    feeds = {"a": np.asarray([[3, 3]], np.int8), "b": np.asarray([[8, 7]], np.int8)}
    made = Case(tensors, [Op("EQUAL", ["a", "b"], ["y"], {}, "EqualOptions", 2)], feeds)
    assert simulated(made).tolist() == [[True, False]]


def test_an_update_stays_inside() -> None:
    x, part, start = np.zeros((1, 4), np.float32), np.asarray([[1, 2]], np.float32), np.asarray([0, 9], np.int32)
    op = Op("DYNAMIC_UPDATE_SLICE", [], [], {}, "DynamicUpdateSliceOptions")
    made = case(op, [(x, False), (part, False), (start, True)], [((1, 4), "float32")])
    assert simulated(made).tolist() == [[0, 0, 1, 2]]


def test_a_length_of_one() -> None:
    tensors = [T("x", (1, 2), scale=0.1, zero_point=1), T("y", (1, 2), scale=1 / 128)]
    op = Op("L2_NORMALIZATION", ["x"], ["y"], {}, "L2NormOptions")
    # 3 and −4 steps have length 5: 0.6 and −0.8 in units of 1/128 are 76.8 and −102.4
    made = Case(tensors, [op], {"x": np.asarray([[4, -3]], np.int8)})
    assert simulated(made).tolist() == [[77, -102]]


@pytest.mark.parametrize(
    ("scale", "dtype", "runtime"), [(2.0, "int8", Runtime.REFERENCE), (0.1, "int16", Runtime.TFLM)]
)
def test_comparisons_that_are_refused(scale: float, dtype: str, runtime: Runtime) -> None:
    tensors = [T("a", (1, 1), dtype, scale), T("b", (1, 1), dtype, 0.1), T("y", (1, 1), "bool")]
    made = Case(tensors, [Op("LESS", ["a", "b"], ["y"], {}, "LessOptions")], {n: np.ones((1, 1), dtype) for n in "ab"})
    assert run_simulator(made.write(), list(made.feeds.values()), runtime)[1].missing


@pytest.mark.parametrize(
    ("op", "holds"), [("EQUAL", False), ("NOT_EQUAL", True), ("LESS", False), ("LESS_EQUAL", True)]
)
def test_wide_values_are_compared_by_what_they_stand_for_or_by_their_integers(op: str, holds: bool) -> None:
    """The same integer on two grids: equal only to those that do not look at the grids."""
    tensors = [T("a", (1, 1), "int16", 0.1), T("b", (1, 1), "int16", 0.2), T("y", (1, 1), "bool")]
    made = Case(tensors, [Op(op, ["a", "b"], ["y"])], {n: np.ones((1, 1), np.int16) for n in "ab"})
    assert simulated(made).tolist() == [[holds]]
