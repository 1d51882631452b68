"""16-bit activations on 8-bit weights, and 16-bit elementwise ops: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, Maker, run_simulator
from sim.ops import test_elementwise as elementwise
from sim.ops import test_second_row as second_row
from sim.ops import test_spatial as spatial
from written_models import Op, T

from quantdiff.sim.accumulate import axis_of
from quantdiff.sim.ops.comparison import COMPARISONS
from quantdiff.sim.runtime import Runtime

INT32, INT64 = 2, 4  # TensorType in the schema


def biases(dice: Dice, units: np.ndarray, s_y: float, wide: bool) -> T:
    b = dice.biases_at_ties(units, s_y) if dice.chance() else dice.rng.integers(-30000, 30000, units.size)
    return T("b", (units.size,), "int64" if wide else "int32", units.astype(np.float32), data=b)


def dense(dice: Dice) -> Case:
    batch, depth, units, wide = dice.of(1, 3, 20), dice.of(1, 16, 33, 100), dice.of(1, 7, 8, 17, 33), dice.chance()
    s_x, per_channel = dice.scale(-11, -8), dice.chance() and units > 1
    s_w = [dice.scale() for _ in range(units)] if per_channel else dice.scale()
    unit = np.broadcast_to(np.float64(s_x) * np.asarray(s_w), (units,))
    s_y = dice.near(float(np.mean(unit)) * depth**0.5 * 74 * 19000 / 12000)
    tensors = [
        T("x", (batch, depth), "int16", s_x),
        T("w", (units, depth), "int8", s_w, data=dice.integers((units, depth), low=-127)),
        replace(biases(dice, unit, s_y, wide), scale=np.unique(unit.astype(np.float32)) if not per_channel else unit),
        T("y", (batch, units), "int16", s_y),
    ]
    options = {"quantizedBiasType": INT64 if wide else INT32, "fusedActivationFunction": dice.of(0, 0, 1, 3)}
    op = Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], options, version=11)
    return Case(tensors, [op], {"x": dice.integers((batch, depth), "int16")})


def image(dice: Dice, depthwise: bool) -> Case:
    h, w, taps, stride = dice.size(3, 12), dice.size(3, 12), dice.size(1, 3), dice.of(1, 1, 2)
    c, wide, padding = dice.of(1, 3, 8, 17), depthwise or dice.chance(), dice.of("SAME", "VALID")
    out = c * dice.of(1, 2) if depthwise else dice.of(1, 7, 8, 17)
    shape, axis = ((1, taps, taps, out), 3) if depthwise else ((out, taps, taps, c), 0)
    rows, columns = (axis_of(size, taps, stride, 1, padding) for size in (h, w))
    s_x, s_w = dice.scale(-11, -8), [dice.scale() for _ in range(out)]
    unit = np.float64(s_x) * np.asarray(s_w)
    s_y = dice.near(float(np.mean(unit)) * (taps * taps * (1 if depthwise else c)) ** 0.5 * 74 * 19000 / 12000)
    options = {"padding": int(padding == "VALID"), "strideH": stride, "strideW": stride}
    options |= {"depthMultiplier": out // c} if depthwise else {"quantizedBiasType": INT64 if wide else INT32}
    tensors = [
        T("x", (1, h, w, c), "int16", s_x),
        T("w", shape, "int8", s_w, axis=axis, data=dice.integers(shape, low=-127)),
        biases(dice, unit, s_y, wide),
        T("y", (1, rows.out, columns.out, out), "int16", s_y),
    ]
    op = Op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", ["x", "w", "b"], ["y"], options, version=5 if depthwise else 8
    )
    return Case(tensors, [op], {"x": dice.integers((1, h, w, c), "int16")})


def curve(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape = dice.shape()
        s_x = 2.0 ** dice.of(-12, -11, -13) if dice.chance() else dice.scale(-10, -6)
        tensors = [T("x", shape, "int16", s_x), T("y", shape, "int16", 2.0**-15)]
        return Case(tensors, [Op(op, ["x"], ["y"])], {"x": dice.integers(shape, "int16")})

    return make


def pair(op: str) -> Maker:
    def make(dice: Dice) -> Case:
        shape, s_a, s_b = dice.shape(), dice.scale(-11, -8), dice.scale(-11, -8)
        s_y = dice.near(s_a * s_b * 15000 if op == "MUL" else max(s_a, s_b))
        tensors = [T("a", shape, "int16", s_a), T("b", shape, "int16", s_b), T("y", shape, "int16", s_y)]
        options = {"fusedActivationFunction": dice.of(0, 0, 1)}
        powers = all(np.log2(scale) == np.rint(np.log2(scale)) for scale in (s_a, s_b, s_y))
        options |= {} if op == "MUL" else {"potScaleInt16": dice.chance() and not powers}
        feeds = {name: dice.integers(shape, "int16") for name in "ab"}
        return Case(tensors, [Op(op, ["a", "b"], ["y"], options, version=3 if op == "ADD" else 4)], feeds)

    return make


def matrices(dice: Dice, right: str, per_channel: bool = False) -> Case:
    batch, m, k, n = dice.of(1, 1, 2), dice.of(1, 5, 9), dice.of(1, 7, 16, 33, 100), dice.of(1, 4, 9, 33)
    s_a, adj_x, adj_y = dice.scale(-11, -8), dice.chance(), dice.chance()
    s_b = [dice.scale() for _ in range(n)] if per_channel and n > 1 else dice.scale()
    s_y = dice.near(s_a * float(np.mean(s_b)) * k**0.5 * (74 if right == "int8" else 19000) * 19000 / 12000)
    shapes = (batch, k, m) if adj_x else (batch, m, k), (batch, n, k) if adj_y else (batch, k, n)
    low = -127 if right == "int8" else None
    tensors = [
        T("a", shapes[0], "int16", s_a),
        T("b", shapes[1], right, s_b, axis=1 if adj_y else 2, data=dice.integers(shapes[1], right, low)),
        T("y", (batch, m, n), "int16", s_y),
    ]
    op = Op("BATCH_MATMUL", ["a", "b"], ["y"], {"adjX": adj_x, "adjY": adj_y}, "BatchMatMulOptions", version=4)
    return Case(tensors, [op], {"a": dice.integers(shapes[0], "int16")})


def softmax(dice: Dice) -> Case:
    shape = dice.of(dice.shape(), (2, 255), (1, 1000))
    tensors = [T("x", shape, "int16", dice.scale(-11, -6)), T("y", shape, "int16", 2.0**-15)]
    x = dice.integers(shape, "int16") // dice.of(1, 1, 30)
    return Case(tensors, [Op("SOFTMAX", ["x"], ["y"], {"beta": dice.of(1.0, 1.0, 0.5)})], {"x": x})


def widened(maker: Maker) -> Maker:
    """An int8 case with int16 tensors, zero points 0 and finer scales; a transposed convolution's bias has 64 bits."""

    def make(dice: Dice) -> Case:
        case = maker(dice)

        def other(t: T) -> T:
            if t.name == "b":
                return replace(t, dtype="int64", scale=np.asarray(t.scale) / 64)
            if t.dtype != "int8" or t.name == "w":
                return t
            return replace(t, dtype="int16", zero_point=0, scale=None if t.scale is None else np.asarray(t.scale) / 64)

        feeds = {n: dice.integers(x.shape, "int16") if x.dtype == np.int8 else x for n, x in case.feeds.items()}
        return Case([other(t) for t in case.tensors], case.operators, feeds)

    return make


def requantize(source: str, target: str) -> Maker:
    """Integers to wider or narrower ones, as an application hands them in and takes them out."""

    def make(dice: Dice) -> Case:
        shape, scale, wide = dice.shape(), dice.scale(-11, -6), {"int32": 2**12}
        x = dice.integers(shape, "int16").astype(source) * (wide.get(source, 1) if dice.chance(0.7) else 1)
        s_y = dice.near(scale * wide.get(source, 1) / wide.get(target, 1)) * (2**8 if target == "int8" else 1)
        z_y = dice.zero_point() if target == "int8" else 0
        tensors = [T("x", shape, source, scale), T("y", shape, target, s_y, z_y)]
        return Case(tensors, [Op("QUANTIZE", ["x"], ["y"])], {"x": x})

    return make


ALIKE = ("ABS int8", "DEQUANTIZE", "QUANTIZE float32 → int8", "QUANTIZE int8 → int8", "RELU", "RELU6")
WIDENED: dict[str, Maker] = {
    **{op.replace("int8", "int16"): widened(elementwise.MAKERS[op]) for op in ALIKE},
    "LEAKY_RELU": widened(second_row.MAKERS["LEAKY_RELU"]),
    "TRANSPOSE_CONV": widened(second_row.MAKERS["TRANSPOSE_CONV"]),
    **{op: widened(spatial.MAKERS[op]) for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "RESHAPE")},
    "CONCATENATION": widened(spatial.MAKERS["CONCATENATION, equal scales"]),
}
MAKERS: dict[str, Maker] = {
    **{op if "int16" in op else f"{op} int16": maker for op, maker in WIDENED.items()},
    "SOFTMAX int16": softmax,
    "ADD int16": pair("ADD"),
    "BATCH_MATMUL int16": lambda dice: matrices(dice, "int16"),
    "CONV_2D int16×8": lambda dice: image(dice, False),
    "DEPTHWISE_CONV_2D int16×8": lambda dice: image(dice, True),
    "FULLY_CONNECTED int16×8": dense,
    "LOGISTIC int16": curve("LOGISTIC"),
    "MUL int16": pair("MUL"),
    "QUANTIZE int16 → int32": requantize("int16", "int32"),
    "QUANTIZE int32 → int16": requantize("int32", "int16"),
    "QUANTIZE int32 → int8": requantize("int32", "int8"),
    "SUB int16": pair("SUB"),
    "TANH int16": curve("TANH"),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, MAKERS[op], runtime, times=5 if op.startswith(("ADD", "SUB", "MUL")) else 1)


def root_or_negative(op: str, dtype: str) -> Maker:
    """Of values that have a root, from none on; with zero points where there may be some."""

    def make(dice: Dice) -> Case:
        shape, info, scale = dice.shape(), np.iinfo(dtype), dice.scale(-11, -2)
        points = [dice.zero_point() if dtype == "int8" else 0 for _ in range(2)]
        x = dice.integers(shape, dtype)
        x = np.maximum(x, points[0]).astype(dtype) if op == "SQRT" else x
        most = float(np.sqrt(scale * (info.max - points[0] + 1)))
        s_y = dice.near(most / (info.max + 1)) if op == "SQRT" else dice.scale()
        tensors = [T("x", shape, dtype, scale, points[0]), T("y", shape, dtype, s_y, points[1])]
        return Case(tensors, [Op(op, ["x"], ["y"])], {"x": x})

    return make


def prelu(dice: Dice) -> Case:
    shape, scale = (1, dice.size(1, 9), dice.size(1, 9), c := dice.of(3, 8, 16, 17)), dice.scale(-11, -7)
    tensors = [
        T("x", shape, "int16", scale),
        T("a", (1, 1, c), "int8", dice.scale(), dice.zero_point(), data=dice.integers((1, 1, c))),
        T("y", shape, "int16", dice.near(scale)),
    ]
    return Case(tensors, [Op("PRELU", ["x", "a"], ["y"])], {"x": dice.integers(shape, "int16")})


def compared(op: str) -> Maker:
    """Operands of which many are equal, by their integers or by what those stand for."""

    def make(dice: Dice) -> Case:
        shape, scales = dice.shape(), (dice.scale(-11, -1), dice.scale(-11, -1))
        a = dice.integers(shape, "int16")
        b = (a * (scales[0] / scales[1])).clip(-32768, 32767) if dice.chance() else a + dice.rng.integers(-1, 2, shape)
        feeds = {"a": a, "b": b.clip(-32768, 32767).astype(np.int16)}
        tensors = [*(T(n, shape, "int16", s) for n, s in zip("ab", scales, strict=True)), T("y", shape, "bool")]
        return Case(tensors, [Op(op, ["a", "b"], ["y"])], feeds)

    return make


ON_LITERT: dict[str, Maker] = {
    **{f"{op} {dtype}": root_or_negative(op, dtype) for op in ("NEG", "SQRT") for dtype in ("int8", "int16")},
    **{f"{op} int16": compared(op) for op in COMPARISONS},
    "PRELU int16×8": prelu,
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", ON_LITERT)
def test_golden_on_litert(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, ON_LITERT[op], runtime)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [r for r in RUNTIMES if r.family is not Runtime.REFERENCE])
def test_golden_sums(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("SUM int16", widened(second_row.MAKERS["SUM"]), runtime)


def test_wide_values_that_are_read_as_bytes_are_refused() -> None:
    dice = Dice()
    case = widened(second_row.MAKERS["SUM"])(dice)
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.REFERENCE)[1].missing
    assert "takes for bytes" in missing.why
    case = prelu(dice)
    slopes = replace(case.tensors[1], dtype="int16", zero_point=0)
    case = replace(case, tensors=[case.tensors[0], slopes, case.tensors[2]])
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.BUILTIN)[1].missing
    assert "for 8 bits" in missing.why


def test_a_root_of_a_negative_value_is_refused() -> None:
    tensors = [T("x", (1, 2), "int8", 0.1, 3), T("y", (1, 2), "int8", 0.1)]
    case = Case(tensors, [Op("SQRT", ["x"], ["y"])], {"x": np.asarray([[3, 2]], np.int8)})
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.BUILTIN)[1].missing
    assert "negative" in missing.why


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_resize(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("RESIZE_BILINEAR int16", widened(second_row.MAKERS["RESIZE_BILINEAR"]), runtime)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("per_channel", [False, True])
def test_golden_matrices(exact: Callable[..., None], runtime: Runtime, per_channel: bool) -> None:
    name = f"BATCH_MATMUL int16×8, {'per channel (all 0)' if per_channel else 'per tensor'}"
    exact(name, lambda dice: matrices(dice, "int8", per_channel), runtime)


@pytest.mark.parametrize(("right", "why"), [("int8", "no kernel"), ("int16", "per channel")])
def test_matrices_that_tflm_refuses(right: str, why: str) -> None:
    dice = Dice()
    case = next(case for case in (matrices(dice, right, True) for _ in range(9)) if case.tensors[2].shape[2] > 1)
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.TFLM)[1].missing
    assert why in missing.why


def off_zero(maker: Maker) -> Maker:
    """The same with zero points that are not 0, as no converter writes them; LiteRT refuses most."""

    def make(dice: Dice) -> Case:
        case = maker(dice)
        points = {t.name: dice.of(-7, 3, 900) for t in case.tensors if t.dtype == "int16" and t.scale is not None}
        return replace(case, tensors=[replace(t, zero_point=points.get(t.name, t.zero_point)) for t in case.tensors])

    return make


def narrow(maker: Maker, kind: int | None) -> Maker:
    """The same with a bias of 32 bits, which the option says, or does not say where it is None."""

    def make(dice: Dice) -> Case:
        case = maker(dice)
        (op,), said = case.operators, {} if kind is None else {"quantizedBiasType": kind}
        op = replace(op, options={k: v for k, v in op.options.items() if k != "quantizedBiasType"} | said)
        return Case([replace(t, dtype="int32") if t.name == "b" else t for t in case.tensors], [op], case.feeds)

    return make


SUMS = ("TRANSPOSE_CONV int16", "CONV_2D int16×8", "DEPTHWISE_CONV_2D int16×8", "FULLY_CONNECTED int16×8")


@pytest.mark.golden
@pytest.mark.parametrize("op", [*SUMS, "PAD int16", "ADD int16", "LEAKY_RELU int16"])
def test_golden_off_zero(exact: Callable[..., None], op: str) -> None:
    """TFLM's kernels of convolutions and PAD know no zero points in 16 bits, the others do."""
    exact(f"{op}, zero points", off_zero(MAKERS[op]), Runtime.TFLM, times=0.2)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_narrow_bias(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("TRANSPOSE_CONV int16, int32 bias", narrow(MAKERS["TRANSPOSE_CONV int16"], INT32), runtime, times=0.5)


@pytest.mark.golden
@pytest.mark.parametrize("op", ["CONV_2D int16×8", "FULLY_CONNECTED int16×8"])
def test_golden_narrow_bias_of_tflm(exact: Callable[..., None], op: str) -> None:
    """It reads what is stored; LiteRT would read it as int64."""
    exact(f"{op}, int32 bias", narrow(MAKERS[op], None), Runtime.TFLM, times=0.2)


@pytest.mark.parametrize("runtime", [Runtime.REFERENCE, Runtime.TFLM])
@pytest.mark.parametrize("op", SUMS)
def test_what_reads_a_narrow_bias_as_a_wide_one_is_refused(op: str, runtime: Runtime) -> None:
    case = narrow(MAKERS[op], None)(Dice())
    missing = run_simulator(case.write(), list(case.feeds.values()), runtime)[1].missing
    reads_it = runtime is Runtime.TFLM and op.startswith(("CONV", "FULLY"))
    assert [("int64" in each.why) for each in missing] == ([] if reads_it else [True])


def test_matrices_off_zero_are_refused() -> None:
    case = matrices(Dice(), "int16")
    tensors = [replace(tensor, zero_point=1) for tensor in case.tensors]
    model = replace(case, tensors=tensors).write()
    (missing,) = run_simulator(model, list(case.feeds.values()), Runtime.REFERENCE)[1].missing
    assert "zero point is not 0" in missing.why
