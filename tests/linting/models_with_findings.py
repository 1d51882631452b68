"""For each check of a file: a model on which it fires, and one close to it on which it is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from written_models import Op, Sub, T, write_model, write_tflite

from quantdiff.ops import traits

NONE, RELU, RELU6 = ({"fusedActivationFunction": i} for i in (0, 1, 3))
CONV = {"strideW": 1, "strideH": 1, **NONE}
SPREAD = np.random.default_rng(0).integers(-90, 91, (4, 32))
SPREAD[:, 0] = 127
ROWS, UNITS = SPREAD.tolist(), 4


def dense(
    weights: Any = ROWS, bias: Any = 0, *, s_x: float = 0.5, s_w: Any = 0.25, s_y: float = 2.0, **more: Any
) -> bytes:
    """One FULLY_CONNECTED; ``more`` replaces ``b_scale``, ``w_zero``, ``b_zero``, ``dtype``, ``w_dtype``, ``op``, …."""
    w = np.asarray(weights)
    dtype, w_dtype = more.get("dtype", "int8"), more.get("w_dtype", "int8")
    with np.errstate(all="ignore"):
        product = (np.float32(s_x) * np.asarray(s_w, np.float32)).tolist()
    tensors = [
        T("x", (1, w.shape[1]), dtype, s_x),
        T("w", w.shape, w_dtype, s_w, more.get("w_zero", 0), more.get("w_axis", 0), w),
        T("b", (len(w),), "int32", more.get("b_scale", product), more.get("b_zero", 0), more.get("b_axis", 0), bias),
        T("y", (1, len(w)), dtype, s_y, more.get("y_zero", 0)),
    ]
    options = more.get("options", NONE)
    return write_tflite(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], options)], ["x"], ["y"])


def named(name: str, dtype: str = "float32") -> bytes:
    """A layer without a finding in a graph of this name."""
    x, y = (T(each, (1, 4), dtype, *(() if dtype == "float32" else (0.5,))) for each in "xy")
    return write_model([Sub([x, y], [Op("RELU6", ["x"], ["y"])], ["x"], ["y"], name)])


def transposed(options: dict[str, int] | None = None) -> bytes:
    """16-bit values with a bias of 32 bits."""
    tensors = [
        T("s", (4,), "int32", data=[1, 4, 4, 2]),
        T("w", (2, 2, 2, 3), "int8", 0.5, data=np.arange(-12, 12).reshape(2, 2, 2, 3)),
        T("x", (1, 2, 2, 3), "int16", 0.25),
        T("b", (2,), "int32", 0.125, data=[40, -7]),
        T("y", (1, 4, 4, 2), "int16", 0.5),
    ]
    op = Op("TRANSPOSE_CONV", ["s", "w", "x", "b"], ["y"], {"strideH": 2, "strideW": 2, **(options or {})}, version=3)
    return write_tflite(tensors, [op], ["x"], ["y"])


def conv(op: str, weights: Any, s_w: Any, axis: int, **more: Any) -> bytes:
    """One convolution; biases are 0 and of the right scale unless given."""
    w = np.asarray(weights)
    channels = w.shape[axis]
    product = (np.float32(0.5) * np.asarray(s_w, np.float32)).tolist()
    tensors = [
        T("x", (1, 8, 8, channels if axis == 3 else w.shape[3]), more.get("dtype", "int8"), 0.5),
        T("w", w.shape, more.get("dtype", "int8"), s_w, more.get("w_zero", 0), axis, w),
        T("b", (channels,), "int32", more.get("b_scale", product), data=more.get("bias", 0)),
        T("y", (1, 8, 8, channels), more.get("dtype", "int8"), more.get("s_y", 2.0)),
    ]
    return write_tflite(tensors, [Op(op, ["x", "w", "b"], ["y"], CONV)], ["x"], ["y"])


def chain(steps: Sequence[tuple[str, T]], first: T | None = None, extra: Sequence[str] = ()) -> bytes:
    """Operators of one input each, from ``x`` on; ``extra`` names tensors that are outputs too."""
    tensors, operators = [first or T("x", (1, 4), scale=0.5)], []
    for op, result in steps:
        operators.append(Op(op, [tensors[-1].name], [result.name]))
        tensors.append(result)
    return write_tflite(tensors, operators, [tensors[0].name], [tensors[-1].name, *extra])


def compiled(op: str) -> bytes:
    """One custom op."""
    return write_tflite([q("x"), q("y")], [Op(op, ["x"], ["y"], custom=True)], ["x"], ["y"])


def q(name: str, scale: float = 0.5, dtype: str = "int8", zero_point: int = 0) -> T:
    """A quantized row of four values."""
    return T(name, (1, 4), dtype, scale, zero_point)


def f(name: str) -> T:
    """A float row of four values."""
    return T(name, (1, 4), "float32")


def then_relu(act: int = 0, *, keep: bool = False, op: str = "ADD") -> bytes:
    """Two inputs → ADD → RELU; ``keep`` makes the sum an output as well."""
    operators = [Op(op, ["a", "c"], ["s"], {"fusedActivationFunction": act}), Op("RELU", ["s"], ["y"])]
    tensors = [q("a"), q("c"), q("s"), q("y", zero_point=-128)]
    return write_tflite(tensors, operators, ["a", "c"], ["y", "s"] if keep else ["y"])


def two(op: str, scales: tuple[float, float, float], dtype: str = "int8", zero_point: int = 0) -> bytes:
    """Two inputs → ``op``."""
    tensors = [q(n, s, dtype, zero_point) for n, s in zip("acy", scales, strict=True)]
    return write_tflite(tensors, [Op(op, ["a", "c"], ["y"], NONE)], ["a", "c"], ["y"])


def masked(op: str, scale: float, step: float) -> bytes:
    """``op`` on a stored 1 (127 steps) and an input of scale ``scale``; ``step`` is that of the output."""
    tensors = [T("one", (), "int8", 1 / 127, data=127), q("x", scale), q("y", step)]
    return write_tflite(tensors, [Op(op, ["one", "x"], ["y"], NONE)], ["x"], ["y"])


def float16(op: str) -> bytes:
    """One operator on float16 values, from the caller to the caller."""
    return chain([(op, T("y", (1, 4), "float16"))], T("x", (1, 4), "float16"))


def requantized_concat(finer: float, dtype: str = "int8", step: float = 0.5) -> bytes:
    """One input of the concatenation went through a QUANTIZE from scale ``finer`` to ``step``."""
    operators = [Op("QUANTIZE", ["a"], ["a2"]), Op("CONCATENATION", ["a2", "c"], ["y"], NONE)]
    tensors = [q("a", finer, dtype), *(q(name, step, dtype) for name in ("a2", "c", "y"))]
    return write_tflite(tensors, operators, ["a", "c"], ["y"])


def beside(op: str, x: T, made: T, copy: str | None = None, *, step: float) -> bytes:
    """What ``op`` makes of ``x``, perhaps behind ``copy``, joined with boxes on one grid of ``step``."""
    kept = replace(made, name="m") if copy else made
    copies = [Op(copy, ["s"], ["m"])] if copy else []
    quantized = [Op("QUANTIZE", [kept.name], ["r"])] if made.dtype == "float32" else []
    joined = ["r" if quantized else kept.name, "c"]
    tensors = [x, made, *([kept] if copy else []), *([q("r", step)] if quantized else []), q("c", step), q("y", step)]
    operators = [Op(op, ["x"], ["s"]), *copies, *quantized, Op("CONCATENATION", joined, ["y"], NONE)]
    return write_tflite(tensors, operators, ["x", "c"], ["y"])


def lstm(*states: tuple[str, str], scale: float = 2.0**-11) -> bytes:
    """An LSTM of one unit; ``states`` are the names and types of output and cell state, ``scale`` that of both."""
    kernels = [f"{kind}_{gate}" for kind in "wr" for gate in "ifco"]
    biases = [f"b_{gate}" for gate in "ifco"]
    tensors = [T("x", (1, 3, 1), "int8", 0.5), T("y", (1, 3, 1), "int8", 0.5)]
    tensors += [T(name, (1, 1), "int8", 0.5, data=1) for name in kernels]
    tensors += [T(name, (1,), "int32", 0.25, data=1) for name in biases]
    tensors += [T(name, (1, 1), dtype, scale, is_variable=True) for name, dtype in dict.fromkeys(states)]
    inputs = ["x", *kernels, None, None, None, *biases, None, None, *(name for name, _ in states)]
    return write_tflite(tensors, [Op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, ["y"])], ["x"], ["y"])


def cells(first: str, second: str) -> bytes:
    """Two recurrent layers of one shape, in float, by the names of their states; weights on both sides are the same."""
    tensors = [f("x"), f("m"), f("y"), T("w", (4, 4), "float32", data=1), T("b", (4,), "float32", data=1)]
    tensors += [T(name, (1, 4), "float32", is_variable=True) for name in dict.fromkeys((first, second))]
    layers = [("x", first, "m"), ("m", second, "y")]
    steps = [Op("UNIDIRECTIONAL_SEQUENCE_RNN", [x, "w", "w", "b", state], [y]) for x, state, y in layers]
    return write_tflite(tensors, steps, ["x"], ["y"])


def on_a_state_of_zero(op: Op, *more: T) -> bytes:
    """``op`` on ``h``, the state from which an unrolled recurrent layer starts: zeros, as many as there are samples."""
    before = [
        Op("SHAPE", ["x"], ["n"]),
        Op("STRIDED_SLICE", ["n", "0", "1", "1"], ["batch"]),
        Op("PACK", ["batch", "units"], ["shape"]),
        Op("FILL", ["shape", "zero"], ["h"]),
    ]
    tensors = [T(name, (1,), "int32", data=int(name)) for name in "01"]
    tensors += [T("n", (2,), "int32"), T("batch", (), "int32"), T("shape", (2,), "int32")]
    tensors += [T("units", (), "int32", data=4), T("zero", (), "int8", 7.8e-9, data=0)]
    tensors += [q("x"), q("h", 7.8e-9), q("y"), *more]
    return write_tflite(tensors, [*before, op], ["x"], ["y"])


RELU_OF_X = [Op("RELU", ["x"], ["a"])]
STEP_WEIGHTS = T("w", (4, 4), "int8", 0.25, data=127)


def small_step(op: str | None = None) -> bytes:
    """A layer whose input is tiny and no constant: what ``op`` makes of a constant, or a state."""
    tensors = [
        T("k", (), "int32", data=1),
        T("h", (1, 4), "int8", 7.8e-9, is_variable=op is None),
        STEP_WEIGHTS,
        q("y"),
    ]
    makes = [Op(op, ["k"], ["h"])] if op else []
    return write_tflite(tensors, [*makes, Op("FULLY_CONNECTED", ["h", "w"], ["y"])], [], ["y"])


def moved(op: str, start: Sequence[Op], *more: T, joint: str | None = None) -> bytes:
    """``start`` makes ``a`` of the input ``x``, ``op`` moves it to ``m``; ``joint`` joins that with the input ``c``."""
    inputs: list[str | None] = [None] * traits(op).x + ["a"]
    operators = [*start, Op(op, inputs, ["m"])]
    operators += [Op(joint, [None] * traits(joint).x + ["m", "c"], ["y"])] if joint else []
    tensors = {tensor.name: tensor for tensor in (q("x"), q("c"), q("m"), q("y"), *more)}
    return write_tflite(list(tensors.values()), operators, ["x", "c"], ["y" if joint else "m"])


def row(**at: Any) -> list[list[int]]:
    """The spread weights with rows replaced: ``r2=[…]`` for row 2."""
    rows = [list(each) for each in ROWS]
    for name, values in at.items():
        rows[int(name[1:])] = list(values)
    return rows


def clip(values: Any) -> Any:
    return np.clip(values, -127, 127)


GAUSS = np.random.default_rng(1).normal(0, 1, (4, 64))
FITTED = np.round(GAUSS / np.abs(GAUSS).max(axis=1, keepdims=True) * 127).astype(int)
CLIPPED = clip(np.round(GAUSS * 90)).astype(int)
EACH = [0.25, 0.25, 0.25, 0.25]
SIGNS = np.where(GAUSS > 0, 127, -127)
COSINES = np.round(127 * np.cos(np.outer([1, 4, 8, 3], np.arange(64)) * 2 * np.pi / 64)).astype(int)
DEPTHWISE = np.moveaxis(np.asarray(ROWS).reshape(4, 4, 8), 0, 2)[np.newaxis]
ISLAND = [("DEQUANTIZE", f("r")), ("ELU", f("e")), ("QUANTIZE", q("y"))]
BIG = 2**31 - 1


def in_blocks(scales: list[float]) -> bytes:
    """A dense layer whose weights of 4 bits have a scale for each half of the depth."""
    details = ("BlockwiseQuantization", {"scales": 1, "zeroPoints": -1, "blockSize": 32})
    tensors = [
        T("x", (1, 64), "float32"),
        T("s", (1, 2), "float16", data=scales),
        T("w", (1, 64), "int4", raw=bytes(32), details=details),
    ]
    tensors.append(T("y", (1, 1), "float32"))
    return write_tflite(tensors, [Op("FULLY_CONNECTED", ["x", "w"], ["y"], NONE, version=13)], ["x"], ["y"])


FIRES: dict[str, dict[str, bytes]] = {
    "AXIS01": {"a bias along axis 3": dense(s_w=EACH, b_axis=3)},
    "AXIS02": {
        "convolution": conv("CONV_2D", np.ones((4, 1, 1, 4)), EACH, 3),
        "depthwise": conv("DEPTHWISE_CONV_2D", np.ones((1, 4, 4, 4)), EACH, 1),
        "dense, floats": dense(np.ones((4, 4)), dtype="float32", s_w=EACH, w_axis=1),
    },
    "BIAS01": {
        "upper end": dense(bias=[1, BIG, 0, 0]),
        "lower end": dense(bias=[-BIG, 0, 0, 0]),
        "lowest code": dense(bias=[-BIG - 1, 0, 0, 0]),
    },
    "BIAS02": {
        "twice the product": dense(bias=7, b_scale=0.25),
        "one channel": dense(bias=7, s_w=EACH, b_scale=[0.125, 0.125, 0.126, 0.125]),
        "a large bias makes it show": dense(bias=2**20, b_scale=0.125 * (1 + 4e-5)),
        "refused even with no bias": dense(bias=0, b_scale=0.25),
        "depthwise": conv("DEPTHWISE_CONV_2D", DEPTHWISE, EACH, 3, b_scale=[1.0] * 4, bias=9),
    },
    "BIAS04": {"dense": dense(dtype="int16", w_dtype="int8"), "transposed": transposed()},
    "BIAS03": {"a hair off": dense(bias=7, b_scale=0.125 * (1 + 2e-5))},
    "CHAN01": {"dense": dense(row(r2=[0] * 32)), "uint8": dense(row(r1=[9] * 32), w_dtype="uint8", w_zero=9)},
    "CHAN02": {"dense": dense(row(r2=[0] * 32), s_w=EACH)},
    "CHAN03": {"per tensor": dense(CLIPPED), "per channel": dense(CLIPPED, s_w=EACH),
               "uint8": dense(np.clip(np.round(GAUSS * 90) + 128, 0, 255), w_dtype="uint8", w_zero=128)},
    "CHAN04": {"dense": dense([[127, 9], [9, -9], [8, 8], [-7, 9]])},
    "FLOAT01": {"one op": chain(ISLAND), "two ops": chain([ISLAND[0], ("ELU", f("g")), *ISLAND[1:]])},
    "FLOAT02": {"input": chain([("QUANTIZE", q("i")), ("TANH", q("y"))], f("x")),
                "output": chain([("TANH", q("o")), ("DEQUANTIZE", f("y"))])},
    "FLOAT03": {"relu": float16("RELU"), "pool": float16("MAX_POOL_2D")},
    "FLOAT04": {"name": named("model_int8"), "in the middle": named("net-QUANTIZED.v2")},
    "FUSE01": {"add": then_relu(), "sub": then_relu(op="SUB")},
    "KERNEL01": {"hard swish": write_tflite([T("x", (1, 4), "int16", 0.5), T("y", (1, 4), "int16", 0.5)],
                                            [Op("HARD_SWISH", ["x"], ["y"])], ["x"], ["y"])},
    "KERNEL02": {"Coral": compiled("edgetpu-custom-op"), "Arm": compiled("ethos-u"), "NXP": compiled("NeutronGraph"),
                 "LiteRT": compiled("DISPATCH_OP")},
    "MULT01": {"weights": dense(s_w=1e-12), "output": dense(s_y=1e10), "channel": dense(s_w=[0.25, 1e-12, 0.25, 0.25])},
    "MULT02": {"wide output": dense(s_y=1e7), "a state that is kept": small_step(),
               "a variable": small_step("READ_VARIABLE"), "drawn at random": small_step("RANDOM_UNIFORM"),
               "an op of somebody": small_step("SEGMENT_SUM")},
    "MULT03": {"collapsed output": two("ADD", (1.0, 1.0, 1e-9))},
    "QUANT01": {
        "fake quantization": chain([("QUANTIZE", q("i")), ("DEQUANTIZE", f("y"))], f("x")),
        "there and back": chain([("DEQUANTIZE", f("r")), ("QUANTIZE", q("y", 0.25))]),
        "twice": chain([("QUANTIZE", q("i", 0.25)), ("QUANTIZE", q("y", 0.125))]),
        "to the same": chain([("QUANTIZE", q("y"))]),
    },
    "RANGE01": {"whole tensor": dense(clip(np.asarray(ROWS) // 3)), "channel": dense(row(r1=[5] * 32), s_w=EACH),
                "uint8": dense(np.asarray(ROWS) // 4 + 128, w_dtype="uint8", w_zero=128)},
    "RANGE02": {"relu": dense(options=RELU, y_zero=-100), "relu6": dense(options=RELU6, s_y=0.05, y_zero=-128),
                "alone": chain([("RELU", q("y", 0.5, zero_point=0))]),
                "nothing left": dense(options=RELU, y_zero=127)},
    "SCALE01": {"zero": chain([("TANH", q("y", 0.0))]), "NaN": chain([("TANH", q("y", float("nan")))]),
                "negative": chain([("TANH", q("y", -1.0))]), "infinite": chain([("TANH", q("y", float("inf")))])},
    "SCALE02": {"int8": two("CONCATENATION", (0.5, 0.25, 0.5)), 
                "int16": two("CONCATENATION", (0.5, 0.25, 0.5), "int16")},
    "SCALE03": {"uint8": two("CONCATENATION", (0.5, 0.25, 0.5), "uint8"), "QUANTIZE": requantized_concat(0.125)},
    "SCALE04": {"add": two("ADD", (0.5, 0.02, 0.5)), "sub": two("SUB", (0.02, 0.5, 0.5))},
    "SCALE05": {"1 - mask, for a mask of -1e9": masked("SUB", 1 / 255, 3.92e6),
                "scores beside a mask": two("ADD", (0.01, 3.92e6, 3.92e6)),
                "score times a constant": masked("MUL", 0.01, 3.92e6), "product": two("MUL", (0.01, 0.01, 3.92e6)),
                "boxes and scores": requantized_concat(1 / 256, step=1.25),
                "boxes and scores, a few steps": requantized_concat(1 / 256, step=0.586),
                "just below four bits": requantized_concat(1 / 256, step=0.0624),
                "scores in float": beside("LOGISTIC", f("x"), f("s"), step=0.586),
                "scores moved in float": beside("SOFTMAX", f("x"), f("s"), "RESHAPE", step=0.586),
                "an activation on the joined grid": beside("RELU6", q("x"), q("s", 2.51), step=2.51),
                "a fused activation on it": write_tflite(
                    [q("a"), q("b"), q("s", 0.586), q("c", 0.586), q("y", 0.586)],
                    [Op("ADD", ["a", "b"], ["s"], RELU6), Op("CONCATENATION", ["s", "c"], ["y"], NONE)],
                    ["a", "b", "c"], ["y"]),
                "boxes and scores, packed": moved("RESHAPE", [Op("QUANTIZE", ["x"], ["a"])], q("x", 0.001), q("a"),
                                                  joint="PACK"),
                "boxes and scores, moved": moved("RESHAPE", [Op("QUANTIZE", ["x"], ["a"])], q("x", 0.001), q("a"),
                                                 joint="CONCATENATION"),
                "uint8": two("CONCATENATION", (0.5, 0.001, 0.5), "uint8")},
    "SCALE06": {"zero": in_blocks([0.5, 0.0]), "too small": in_blocks([0.5, 1e-6])},
    "SCALE07": {"scale": chain([("REVERSE_V2", q("y", 0.25))]),
                "zero point": chain([("RESHAPE", q("y", zero_point=3))]),
                "int16": chain([("TRANSPOSE", q("y", 0.25, "int16"))], q("x", dtype="int16")),
                "the second of two": write_tflite([q("a"), q("c", 0.25), q("y")], [Op("MAXIMUM", ["a", "c"], ["y"])],
                                                  ["a", "c"], ["y"]),
                "of one output": moved("SPLIT", RELU_OF_X, q("a", 0.25))},
    "SHAPE01": {"rank": chain([("TANH", T("y", (4,), "int8", 0.5))]),
                "size": chain([("TANH", T("y", (1, 5), "int8", 0.5))]),
                "unranked": chain([("TANH", T("y", (), "int8", 0.5))])},
    "STATE01": {"int8": lstm(("s", "int8"), ("s", "int8")), "int16": lstm(("s", "int16"), ("s", "int16")),
                "of two operators": cells("s", "s")},
    "STATE02": {"fine": lstm(("s", "int8"), ("t", "int16"), scale=2.0**-16),
                "coarse": lstm(("s", "int8"), ("t", "int16"), scale=2.0**-8)},
    "TFLM01": {"op": chain([("SEGMENT_SUM", q("y"))])},
    "TFLM02": {"uint8": dense(dtype="uint8", w_dtype="uint8", weights=np.asarray(ROWS) + 128, w_zero=128),
               "dynamic range": dense(dtype="float32")},
    "XNN01": {"softmax": chain([("SOFTMAX", q("y", 1 / 256, zero_point=-128))]),
              "relu": chain([("RELU", q("y", zero_point=-128))])},
    "ZERO01": {"int8": chain([("TANH", q("y", zero_point=128))]), "uint8": chain([("TANH", q("y", 0.5, "uint8", -1))])},
    "ZERO02": {"dense": dense(w_zero=3),
               "conv": conv("CONV_2D", np.asarray(ROWS).reshape(4, 2, 2, 8), 0.25, 0, w_zero=3)},
    "ZERO03": {"bias": dense(b_zero=1), "int16": dense(dtype="int16", y_zero=5)},
}  # fmt: skip

SILENT: dict[str, dict[str, bytes]] = {
    "AXIS01": {"axis 0": dense(s_w=EACH)},
    "AXIS02": {"convolution": conv("CONV_2D", np.ones((4, 1, 1, 4)), EACH, 0), "dense": dense(s_w=EACH),
               "depthwise": conv("DEPTHWISE_CONV_2D", DEPTHWISE, EACH, 3),
               "one scale along it": conv("CONV_2D", np.ones((4, 1, 1, 4)), 0.25, 3)},
    "BIAS01": {"next to the ends": dense(bias=[BIG - 1, -BIG + 1, 0, 0])},
    "BIAS02": {"exact": dense(bias=7), "a hair off": dense(bias=7, b_scale=0.125 * (1 + 2e-5)),
               "off, but 0 and not refused": dense(bias=0, b_scale=0.13)},
    "BIAS03": {"no bias": dense(bias=0, b_scale=0.126),
               "one ulp": dense(bias=7, s_w=0.1, b_scale=float(np.nextafter(np.float32(0.05), np.float32(1)))),
               "wrong": dense(bias=7, b_scale=0.25)},
    "BIAS04": {"said": dense(dtype="int16", w_dtype="int8", options={"quantizedBiasType": 2}), "int8": dense(),
               "transposed": transposed({"quantizedBiasType": 2})},
    "CHAN01": {"a scale of its own": dense(row(r2=[0] * 32), s_w=EACH),
               "one weight left": dense(row(r2=[1] + [0] * 31))},
    "CHAN02": {"shared scale": dense(row(r2=[0] * 32)), "one weight left": dense(row(r2=[1] + [0] * 31), s_w=EACH)},
    "CHAN03": {"fitted": dense(FITTED, s_w=EACH), "binary": dense(SIGNS), "cosines": dense(COSINES, s_w=EACH),
               "one end": dense(np.abs(CLIPPED)), "few values": conv("DEPTHWISE_CONV_2D", DEPTHWISE, EACH, 3)},
    "CHAN04": {"even": dense(), "a scale each": dense([[127, 9], [9, -9], [8, 8], [-7, 9]], s_w=EACH),
               "a factor of 7": dense([[127, 9], [18, -9], [18, 8], [-18, 9]]), "one channel": dense([[127, 1]])},
    "FLOAT01": {"float tail": chain(ISLAND[:2]), "float head": chain([("ELU", f("e")), ("QUANTIZE", q("y"))], f("x")),
                "integers": chain([("TANH", q("y"))])},
    "FLOAT02": {"integers": chain([("TANH", q("y"))]), "a float model": chain([("TANH", f("y"))], f("x"))},
    "KERNEL01": {"int8": chain([("HARD_SWISH", q("y"))]),
                 "no quantized values": write_tflite([T("x", (1, 4), "int16"), T("y", (1, 4), "int16")],
                                                     [Op("HARD_SWISH", ["x"], ["y"])], ["x"], ["y"])},
    "KERNEL02": {"another's": compiled("my-op")},
    "FLOAT04": {"other words": named("unquant int8er"), "integers": named("model_int8", "int8")},
    "FLOAT03": {"float32": chain([("RELU", f("y"))], f("x")),
                "stored": write_tflite([f("x"), T("w", (1, 4), "float16", data=1), f("v"), f("y")],
                                       [Op("DEQUANTIZE", ["w"], ["v"]), Op("ADD", ["x", "v"], ["y"], NONE)],
                                       ["x"], ["y"]),
                "weights": write_tflite([f("x"), T("w", (4, 4), "float16", data=1), f("y")],
                                        [Op("FULLY_CONNECTED", ["x", "w"], ["y"], NONE)], ["x"], ["y"]),
                "at the ends": chain([("CAST", f("a")), ("RELU", f("y"))], T("x", (1, 4), "float16"))},
    "FUSE01": {"fused already": then_relu(3), "sum is read": then_relu(keep=True),
               "nothing to fuse with": chain([("TANH", q("t")), ("RELU", q("y", zero_point=-128))])},
    "MULT01": {"small": dense(s_w=1e-8), "empty channel": dense(row(r1=[0] * 32), s_w=[0.25, 1e-12, 0.25, 0.25])},
    "MULT02": {"sane": dense(),
               "a state that is 0": on_a_state_of_zero(Op("FULLY_CONNECTED", ["h", "w"], ["y"]), STEP_WEIGHTS),
               "a state that is stored": write_tflite([T("h", (1, 4), "int8", 7.8e-9, data=0), STEP_WEIGHTS, q("y")],
                                                      [Op("FULLY_CONNECTED", ["h", "w"], ["y"])], [], ["y"]),
                "one channel": dense(row(r0=[1] + [0] * 31), s_w=[1e-6, 0.25, 0.25, 0.25])},
    "MULT03": {"sane": two("ADD", (1.0, 1.0, 2.0))},
    "QUANT01": {"ends": chain([("QUANTIZE", q("i")), ("TANH", q("o")), ("DEQUANTIZE", f("y"))], f("x")),
                "uint8 input": chain([("QUANTIZE", q("i", 0.5, "int8", -128)), ("TANH", q("y"))], q("x", 0.5, "uint8")),
                "a branch needs both": chain([("QUANTIZE", q("i", 0.25)), ("QUANTIZE", q("y", 0.125))], extra=["i"])},
    "RANGE01": {"full": dense(), "empty channel": dense(row(r2=[0] * 32), s_w=EACH),
                "uint8 on one side": dense(np.abs(np.asarray(ROWS)) // 8 + 239, w_dtype="uint8"),
                "held by its bias": dense(row(r1=[5] * 32), s_w=EACH, bias=[0, 2**30, 0, 0])},
    "RANGE02": {"relu": dense(options=RELU, y_zero=-128), "relu6": dense(options=RELU6, s_y=6 / 255, y_zero=-128),
                "a few codes": dense(options=RELU, y_zero=-120),
                "shared with a concatenation": write_tflite(
                    [q("a"), q("r"), q("p"), q("c"), q("y")],
                    [Op("RELU", ["a"], ["r"]), Op("RESHAPE", ["r"], ["p"]),
                     Op("CONCATENATION", ["p", "c"], ["y"], NONE)],
                    ["a", "c"], ["y"])},
    "SCALE01": {"tiny": chain([("TANH", q("y", 1e-30))]),
                "float": chain([("TANH", T("y", (1, 4), "float32", 0.0))], f("x"))},
    "SCALE02": {"int8": two("CONCATENATION", (0.5, 0.5, 0.5)),
                "uint8": two("CONCATENATION", (0.5, 0.25, 0.5), "uint8")},
    "SCALE03": {"uint8": two("CONCATENATION", (0.5, 0.5, 0.5), "uint8"), "int8": two("CONCATENATION", (0.5, 0.25, 0.5)),
                "joined before": moved("MAXIMUM", [Op("QUANTIZE", ["x"], ["a"])], q("x", 0.125), q("a"),
                                       joint="CONCATENATION"),
                "from another dtype": chain([("QUANTIZE", q("i"))], q("x", 0.125, "int16"))},
    "SCALE04": {"filled": write_tflite(
        [q("x"), T("n", (1,), "int32", data=4), T("v", (), "int8", 1e-9, data=0), q("a", 1e-9), q("y")],
        [Op("FILL", ["n", "v"], ["a"]), Op("SUB", ["a", "x"], ["y"], NONE)], ["x"], ["y"]),
        "stored": write_tflite([q("x"), T("v", (1, 4), "int8", 1e-4, data=3), q("y")],
                               [Op("ADD", ["x", "v"], ["y"], NONE)], ["x"], ["y"]),
        "zeros": write_tflite([q("x"), q("z", 1e-9), q("y")],
                              [Op("ZEROS_LIKE", ["x"], ["z"]), Op("ADD", ["x", "z"], ["y"], NONE)], ["x"], ["y"]),
        "close": two("ADD", (0.5, 0.1, 0.5)), "product": two("MUL", (0.5, 0.02, 0.5))},
    "SCALE05": {"sum": two("ADD", (0.5, 0.5, 1.0)), "just one step": two("ADD", (1.0, 2**-8, 255 / 256)),
                "product": two("MUL", (0.01, 0.01, 0.006)), "a gate": masked("MUL", 0.5, 0.5),
                "a mask times -1e9": masked("MUL", 3.92e6, 3.92e6),
                "the constant of a norm": write_tflite([q("x"), T("e", (), "int8", 1e-7, data=127), q("y")],
                                                       [Op("ADD", ["x", "e"], ["y"], NONE)], ["x"], ["y"]),
                "times 0": write_tflite([q("x"), T("e", (), "int8", 1e-9, data=0), q("y")],
                                        [Op("MUL", ["x", "e"], ["y"], NONE)], ["x"], ["y"]),
                "a state that is 0": on_a_state_of_zero(Op("MUL", ["x", "h"], ["y"], NONE)),
                "four bits": requantized_concat(1 / 256, step=0.0622),
                "scores by themselves": requantized_concat(1 / 256, step=1 / 256),
                "scores in float": beside("LOGISTIC", f("x"), f("s"), step=0.06),
                "no bound": beside("RELU", q("x"), q("s", 2.51), step=2.51),
                "of what is not known": beside("LOGISTIC", f("x"), f("s"), "NEG", step=0.586),
                "joined on one grid": two("CONCATENATION", (0.5, 0.5, 0.5)), "a bit lost": requantized_concat(0.25)},
    "SCALE06": {"sane": in_blocks([0.5, 0.25])},
    "SCALE07": {"one grid": chain([("REVERSE_V2", q("y"))]), "computed": chain([("TANH", q("y", 0.25))]),
                "a scale for each": write_tflite([q("x"), T("w", (4, 4), "int8", EACH, [0] * 4, 0, data=1),
                                                  T("v", (4, 4), "int8", 0.25), q("y")],
                                                 [Op("TRANSPOSE", ["w"], ["v"]),
                                                  Op("FULLY_CONNECTED", ["x", "v"], ["y"])],
                                                 ["x"], ["y"]),
                "indices": write_tflite([q("x"), T("i", (1,), "int32", 0.25, data=1), q("y")],
                                        [Op("GATHER", ["x", "i"], ["y"])], ["x"], ["y"]),
                "uint8 joined": two("CONCATENATION", (0.5, 0.25, 0.5), "uint8"), "sum": two("ADD", (0.5, 0.25, 0.5))},
    "SHAPE01": {"true": chain([("TANH", q("y"))]),
                "left open": chain([("TANH", T("y", (1, 9), "int8", 0.5, shape_signature=(1, -1)))])},
    "STATE01": {"two": lstm(("s", "int8"), ("t", "int16")), "of two operators": cells("s", "t"),
                "no states": write_tflite([q("x"), q("y")], [Op("ADD", ["x", "x"], ["y"], NONE)], ["x"], ["y"]),
                "read, not kept": write_tflite([T("s", (1, 4), "int8", 0.5, is_variable=True), q("y")],
                                               [Op("ADD", ["s", "s"], ["y"], NONE)], [], ["y"])},
    "STATE02": {"finest": lstm(("s", "int8"), ("t", "int16"), scale=2.0**-15),
                "coarsest": lstm(("s", "int8"), ("t", "int16"), scale=2.0**-9)},
    "TFLM01": {"op": chain([("TANH", q("y"))])},
    "TFLM02": {"int8": dense(), "int16": dense(dtype="int16")},
    "XNN01": {"int8": dense(), "float": chain([("TANH", f("y"))], f("x"))},
    "ZERO01": {"ends": chain([("TANH", q("y", zero_point=127))], q("x", zero_point=-128))},
    "ZERO02": {"symmetric": dense(), "uint8": dense(np.asarray(ROWS) + 128, w_dtype="uint8", w_zero=128)},
    "ZERO03": {"int8": dense(y_zero=5)},
}  # fmt: skip
