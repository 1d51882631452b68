"""Ops of which a network has one or two: FILL, CAST, DENSIFY, ARG_MAX; PRELU and SUB of other types; bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from golden import LITERT, Case, Dice, Maker, run_simulator
from written_models import Op, T, write_tflite

from quantdiff.compare.verification import load_and_verify
from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.xnnpack.delegate import hidden

TINY = 1e-39  # below the smallest normal float


def fill(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        quant = (dice.scale(), dice.zero_point(dtype)) if dtype == "int8" else (None, 0)
        tensors = [
            T("s", (len(shape),), "int32", data=shape),
            T("v", (), dtype, *quant),
            T("y", shape, dtype, *quant),
        ]
        return Case(tensors, [Op("FILL", ["s", "v"], ["y"])], {"v": np.asarray(dice.size(-100, 100), dtype)})

    return make


def cast(source: str, target: str) -> Maker:
    """Fractions of both signs, and integers as wide as their type."""

    def make(dice: Dice) -> Case:
        shape = dice.shape()
        x = dice.rng.normal(0, 50, shape).astype(np.float32).clip(-120, 120)
        x = x if source == "float32" else dice.integers(shape, source)
        if source == "float32" and target.startswith("u"):
            x = np.abs(x)
        codes = {"inDataType": CODES[source], "outDataType": CODES[target]}
        return Case([T("x", shape, source), T("y", shape, target)], [Op("CAST", ["x"], ["y"], codes)], {"x": x})

    return make


def part(op: str) -> Maker:
    """A part of complex numbers, large and small ones beside each other."""

    def make(dice: Dice) -> Case:
        shape = dice.shape()
        x = dice.rng.normal(size=(*shape, 2)) * np.exp(dice.rng.uniform(-30, 30, (*shape, 2)))
        feed = x.astype(np.float32).view(np.complex64)[..., 0]
        return Case([T("x", shape, "complex64"), T("y", shape, "float32")], [Op(op, ["x"], ["y"])], {"x": feed})

    return make


TYPES = ("float32", "int8", "uint8", "int16", "int32", "int64")
CODES = {name: getattr(schema.TensorType, name.upper()) for name in TYPES}


def sparse(dtype: str) -> Maker:
    """A matrix stored row by row, its zeros left out, then spread; an input of its own keeps the model alive."""

    def make(dice: Dice) -> Case:
        shape = (dice.side(1, 30), dice.of(7, 16, 33))
        dense = np.where(dice.rng.random(shape) < 0.3, dice.integers(shape), 0).astype(dtype)
        dense[0, 0] = dense[0, 0] or 1  # an empty buffer is no constant
        rows, columns = np.nonzero(dense)
        quant: tuple[Any, int] = (dice.scale(), 0) if dtype == "int8" else (None, 0)
        stored = T("s", shape, dtype, *quant, raw=dense[rows, columns].tobytes(), sparsity=by_row(dense, columns))
        tensors = [stored, T("y", shape, dtype, *quant), T("x", (1,), "float32"), T("z", (1,), "float32")]
        operators = [Op("DENSIFY", ["s"], ["y"]), Op("ABS", ["x"], ["z"])]
        return Case(tensors, operators, {"x": np.ones(1, np.float32)})

    return make


def by_row(dense: Array, columns: Array) -> Any:
    """The schema's description of a matrix of dense rows and sparse columns."""
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = [0, 1]
    first, second = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    first.format, first.denseSize = schema.DimensionType.DENSE, len(dense)
    second.format = schema.DimensionType.SPARSE_CSR
    second.arraySegmentsType = second.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    second.arraySegments, second.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    second.arraySegments.values = [0, *np.cumsum((dense != 0).sum(axis=1)).tolist()]
    second.arrayIndices.values = columns.tolist()
    sparsity.dimMetadata = [first, second]
    return sparsity


def chosen(op: str, dtype: str) -> Maker:
    """Few distinct values, so that many are equal."""

    def make(dice: Dice) -> Case:
        shape = (dice.of(1, 2), dice.side(1, 9), dice.of(7, 8, 16, 17, 33))
        axis = dice.of(0, 1, 2, -1)
        out = tuple(n for i, n in enumerate(shape) if i != axis % 3)
        quant = (dice.scale(), dice.zero_point(dtype)) if dtype.endswith("int8") else (None, 0)
        tensors = [T("x", shape, dtype, *quant), T("a", (), "int32", data=axis), T("y", out, "int32")]
        options = {"outputType": schema.TensorType.INT32}
        kind = {"ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions"}[op]
        x = dice.rng.integers(0, 9, shape).astype(dtype)
        return Case(tensors, [Op(op, ["x", "a"], ["y"], options, kind)], {"x": x})

    return make


def prelu(dtype: str) -> Maker:
    def make(dice: Dice) -> Case:
        c = dice.of(3, 8, 16, 17)
        shape, alpha = (1, dice.side(1, 9), dice.size(1, 9), c), (1, 1, c)
        if dtype == "float32":
            x = dice.rng.normal(0, 9, shape).astype(np.float32)
            odd = np.asarray([-0.0, 0.0, TINY, -TINY, np.inf, -np.inf], np.float32)
            x = np.where(dice.rng.random(shape) < 0.1, dice.rng.choice(odd, shape), x)
            slopes = dice.rng.normal(0, 1, alpha).astype(np.float32)
            tensors = [T("x", shape, dtype), T("a", alpha, dtype, data=slopes), T("y", shape, dtype)]
            return Case(tensors, [Op("PRELU", ["x", "a"], ["y"])], {"x": x})
        scale = dice.scale()
        tensors = [
            T("x", shape, dtype, scale, dice.zero_point(dtype)),
            T("a", alpha, dtype, dice.scale(), dice.zero_point(dtype), data=dice.integers(alpha, dtype)),
            T("y", shape, dtype, dice.at_tie(scale, dice.size(50, 255)), dice.zero_point(dtype)),
        ]
        return Case(tensors, [Op("PRELU", ["x", "a"], ["y"])], {"x": dice.integers(shape, dtype)})

    return make


def sub_uint8(dice: Dice) -> Case:
    shape, scale = dice.shape(), dice.scale()
    other = dice.of(shape, (1,) * (len(shape) - 1) + shape[-1:])
    tensors = [
        T("a", shape, "uint8", scale, dice.zero_point("uint8")),
        T("b", other, "uint8", dice.near(scale), dice.zero_point("uint8")),
        T("y", shape, "uint8", dice.at_tie(scale, dice.size(20, 255)), dice.zero_point("uint8")),
    ]
    feeds = {"a": dice.integers(shape, "uint8"), "b": dice.integers(other, "uint8")}
    return Case(tensors, [Op("SUB", ["a", "b"], ["y"], {"fusedActivationFunction": dice.of(0, 0, 1, 3)})], feeds)


PAIRS = [(a, b) for a in TYPES for b in TYPES if a != b]
MAKERS: dict[str, Maker] = {
    **{f"{op} {dtype}": chosen(op, dtype) for op in ("ARG_MAX", "ARG_MIN") for dtype in ("uint8", "float32", "int32")},
    **{f"CAST {a} → {b}": cast(a, b) for a, b in PAIRS},
    **{op: part(op) for op in ("COMPLEX_ABS", "IMAG", "REAL")},
    **{f"DENSIFY {dtype}": sparse(dtype) for dtype in ("int8", "float32")},
    **{f"FILL {dtype}": fill(dtype) for dtype in ("int8", "int32", "int64", "float32")},
    "PRELU float32": prelu("float32"),
    "PRELU uint8": prelu("uint8"),
    "SUB uint8": sub_uint8,
}
NOT_IN_XNNPACK = ("DENSIFY int8", "DENSIFY float32")
TFLM_CASTS = ("float32", "int8", "int16", "int32")
IN_TFLM = [
    *("ARG_MAX float32", "ARG_MIN float32", "FILL int8", "FILL int32", "FILL float32", "PRELU float32"),
    *(f"CAST {a} → {b}" for a, b in PAIRS if a in TFLM_CASTS and b in TFLM_CASTS),
]


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if runtime.family is Runtime.XNNPACK and op in NOT_IN_XNNPACK:
        pytest.skip("this runtime unpacks it where nobody can read it")
    exact(op, MAKERS[op], runtime, times=0.5, cases=30)


@pytest.mark.golden
@pytest.mark.parametrize("op", IN_TFLM)
def test_golden_in_tflm(exact: Callable[..., None], op: str) -> None:
    exact(op, MAKERS[op], Runtime.TFLM, times=0.5, cases=30)


def test_what_xnnpack_unpacks_is_hidden() -> None:
    """Nobody reads it but an operator that XNNPACK takes; a graph's output is read by the caller, in vain."""
    case = sparse("int8")(Dice())
    graph, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.XNNPACK)
    assert not simulation.missing
    assert [graph.tensors[i].name for i in hidden(graph)] == ["y"]


@pytest.mark.parametrize(("avx512", "zero"), [(False, 0.0), (True, -0.0)])
def test_minus_zero_is_negative_to_some_processors(monkeypatch: pytest.MonkeyPatch, avx512: bool, zero: float) -> None:
    monkeypatch.setattr("quantdiff.sim.ops.relu.has_avx512", lambda: avx512)
    tensors = [T("x", (1, 3), "float32"), T("a", (3,), "float32", data=[-2.0] * 3), T("y", (1, 3), "float32")]
    case = Case(tensors, [Op("PRELU", ["x", "a"], ["y"])], {"x": np.asarray([[-0.0, -3.0, 5.0]], np.float32)})
    graph, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.XNNPACK)
    y = simulation.values[graph.outputs[0]]
    assert y.ravel().tolist() == [zero, 6.0, 5.0]
    assert np.signbit(y.ravel()[0]) == np.signbit(zero)


TRANSFORMS = [((3, 1, 400), (1, 512)), ((1, 9, 8), (8, 16)), ((2, 4), (1, 2))]


def spectrum(*transforms: tuple[tuple[int, ...], tuple[int, int]]) -> bytes:
    """The magnitudes of transforms, as audio models begin; each of an input of its own."""
    tensors, operators = list[T](), list[Op]()
    for k, (shape, length) in enumerate(transforms):
        made = (*shape[:-2], length[0], length[1] // 2 + 1)
        tensors += [T(f"x{k}", shape, "float32"), T(f"n{k}", (2,), "int32", data=length)]
        tensors += [T(f"f{k}", made, "complex64"), T(f"y{k}", made, "float32")]
        operators += [Op("RFFT2D", [f"x{k}", f"n{k}"], [f"f{k}"]), Op("COMPLEX_ABS", [f"f{k}"], [f"y{k}"])]
    ends = ([f"{name}{k}" for k in range(len(transforms))] for name in "xy")
    return write_tflite(tensors, operators, *ends)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_a_transform_within_its_intervals(
    tmp_path: Path, elements: int, note: Callable[..., None], runtime: Runtime
) -> None:
    path = tmp_path / "spectrum.tflite"
    path.write_bytes(spectrum(*TRANSFORMS))
    samples = max(20, elements // 1500)
    (verdict,) = load_and_verify(path, [runtime.value], samples=samples).verdicts.values()
    assert (verdict.status, verdict.mismatches) == ("within", 0)
    transforms, magnitudes = verdict.operators[::2], verdict.operators[1::2]
    assert all(each.width is not None for each in transforms)
    assert all(each.width is None for each in magnitudes)
    note("RFFT2D, inside its intervals", runtime, sum(each.count for each in transforms), 0)
