"""Models for tests of running and comparing: each shows one thing, none needs a converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from written_models import Op, Sig, Sub, T, write_model, write_tflite

NONE = {"fusedActivationFunction": 0}
DEPTH, UNITS = 8, 3
W_SCALE = 2.0**-7


def dense(dtype: str = "int8", out: str | None = None, zero_point: int = 3) -> bytes:
    """One FULLY_CONNECTED layer, 8 → 3, whose batch may be resized; ``out`` adds DEQUANTIZE to that dtype."""
    rng = np.random.default_rng(7)
    unsigned = 128 if dtype == "uint8" else 0
    weights = rng.integers(-127, 128, (UNITS, DEPTH)) + unsigned
    zero_point = 0 if dtype == "int16" else zero_point + unsigned
    weight_type = "int8" if dtype == "int16" else dtype
    bias_type = "int64" if dtype == "int16" else "int32"
    x_scale, w_scale, y_scale = 2.0**-6, 0.003, 0.05 if dtype != "int16" else 2.0**-10
    tensors = [
        T("x", (1, DEPTH), dtype, x_scale, zero_point, shape_signature=(-1, DEPTH)),
        T("w", (UNITS, DEPTH), weight_type, w_scale, unsigned, data=weights),
        T("b", (UNITS,), bias_type, x_scale * w_scale, data=rng.integers(-500, 500, UNITS)),
        T("y", (1, UNITS), dtype, y_scale, 0 if dtype == "int16" else zero_point - 4, shape_signature=(-1, UNITS)),
    ]
    operators = [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], NONE, version=4)]
    if out is None:
        return write_tflite(tensors, operators, ["x"], ["y"])
    tensors.append(T("real", (1, UNITS), out, shape_signature=(-1, UNITS)))
    operators.append(Op("DEQUANTIZE", ["y"], ["real"], version=2))
    return write_tflite(tensors, operators, ["x"], ["real"])


def float_dense() -> bytes:
    """A float layer 8 → 3."""
    weights = np.random.default_rng(7).normal(size=(UNITS, DEPTH))
    tensors = [
        T("x", (1, DEPTH), "float32", shape_signature=(-1, DEPTH)),
        T("w", (UNITS, DEPTH), "float32", data=weights),
        T("b", (UNITS,), "float32", data=0),
        T("y", (1, UNITS), "float32", shape_signature=(-1, UNITS)),
    ]
    return write_tflite(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], NONE)], ["x"], ["y"])


Dense = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def two_dense_weights() -> tuple[Dense, Dense]:
    """Kernel (units, depth) and bias of two layers, 8 → 6 → 3, on the grids that ``two_dense`` stores them on."""
    rng = np.random.default_rng(7)
    shapes = (6, DEPTH), (UNITS, 6)
    first, second = ((rng.integers(-127, 128, s) * W_SCALE, np.round(rng.normal(size=s[0]), 2)) for s in shapes)
    return first, second


def two_dense(hidden_scale: float | None = 2.0**-6) -> bytes:
    """Dense, ReLU, dense, float at both ends, int8 between; ``hidden_scale`` None: all in float.

    A narrow scale clips most of what the first layer gives.
    """
    (a, bias_a), (b, bias_b) = two_dense_weights()
    x_scale, y_scale, floats = 2.0**-6, 2.0**-4, hidden_scale is None
    h_scale = hidden_scale or 1.0

    def constant(name: str, values: np.ndarray[Any, Any], dtype: str, scale: float) -> T:
        if floats:
            return T(name, values.shape, "float32", data=values)
        return T(name, values.shape, dtype, scale, data=np.round(values / scale))

    def value(name: str, width: int, dtype: str, scale: float = 0.0, zero_point: int = 0) -> T:
        signature = (-1, width)
        if dtype == "float32":
            return T(name, (1, width), dtype, shape_signature=signature)
        return T(name, (1, width), dtype, scale, zero_point, shape_signature=signature)

    inner = "float32" if floats else "int8"
    tensors = [
        value("x", DEPTH, "float32"),
        value("scores", UNITS, "float32"),
        constant("A", a, "int8", W_SCALE),
        constant("a", bias_a, "int32", x_scale * W_SCALE),
        constant("B", b, "int8", W_SCALE),
        constant("b", bias_b, "int32", h_scale * W_SCALE),
        value("hidden", 6, inner, h_scale, -128),
    ]
    relu = {"fusedActivationFunction": 1}
    if floats:
        operators = [
            Op("FULLY_CONNECTED", ["x", "A", "a"], ["hidden"], relu),
            Op("FULLY_CONNECTED", ["hidden", "B", "b"], ["scores"], NONE),
        ]
        return write_tflite(tensors, operators, ["x"], ["scores"])
    tensors += [value("x_q", DEPTH, inner, x_scale), value("y_q", UNITS, inner, y_scale)]
    operators = [
        Op("QUANTIZE", ["x"], ["x_q"]),
        Op("FULLY_CONNECTED", ["x_q", "A", "a"], ["hidden"], relu, version=4),
        Op("FULLY_CONNECTED", ["hidden", "B", "b"], ["y_q"], NONE, version=4),
        Op("DEQUANTIZE", ["y_q"], ["scores"], version=2),
    ]
    return write_tflite(tensors, operators, ["x"], ["scores"])


def add(out_scale: float = 1.0) -> bytes:
    """Two inputs, one sum. A tiny output scale makes every LiteRT kernel abort: its multiplier exceeds 1."""
    tensors = [T("a", (1, 4), scale=1.0), T("b", (1, 4), scale=1.0), T("sum", (1, 4), scale=out_scale)]
    return write_tflite(tensors, [Op("ADD", ["a", "b"], ["sum"], NONE)], ["a", "b"], ["sum"])


ABORTS = add(out_scale=1e-9)


def split() -> bytes:
    """Two inputs and two outputs of the same shape; the signature names them against the order of the file."""
    tensors = [
        T("left", (1, 4), scale=0.5),
        T("right", (1, 4), scale=0.5),
        T("sum", (1, 4), scale=1.0),
        T("difference", (1, 4), scale=0.25),
    ]
    operators = [
        Op("ADD", ["left", "right"], ["sum"], NONE),
        Op("SUB", ["left", "right"], ["difference"], NONE),
    ]
    graph = Sub(tensors, operators, ["left", "right"], ["sum", "difference"])
    names = Sig("serving_default", {"l": "left", "r": "right"}, {"total": "sum", "delta": "difference"})
    return write_model([graph], [names])


def hangs() -> bytes:
    """A WHILE whose condition always holds."""
    condition = Sub(
        [T("c_in", (1, 4), "float32"), T("always", (), "bool", data=True)], [], ["c_in"], ["always"], "condition"
    )
    body = Sub(
        [T("b_in", (1, 4), "float32"), T("b_out", (1, 4), "float32")],
        [Op("ABS", ["b_in"], ["b_out"], options_type="AbsOptions")],
        ["b_in"],
        ["b_out"],
        "body",
    )
    loop = Op("WHILE", ["x"], ["y"], {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    main = Sub([T("x", (1, 4), "float32"), T("y", (1, 4), "float32")], [loop], ["x"], ["y"])
    return write_model([main, condition, body])


def custom(op: str = "Bamboozle") -> bytes:
    """An operator that no runtime knows."""
    tensors = [T("x", (1, 4), "float32"), T("y", (1, 4), "float32")]
    return write_tflite(tensors, [Op(op, ["x"], ["y"], custom=True)], ["x"], ["y"])


def fixed_reshape() -> bytes:
    """A reshape that holds one sample only, so that a larger batch is refused."""
    tensors = [
        T("x", (1, 2, 4), scale=0.5),
        T("shape", (2,), "int32", data=[1, 8]),
        T("flat", (1, 8), scale=0.5),
        T("w", (3, 8), scale=0.01, data=np.random.default_rng(1).integers(-127, 128, (3, 8))),
        T("b", (3,), "int32", 0.005, data=[1, -2, 3]),
        T("y", (1, 3), scale=0.2),
    ]
    operators = [
        Op("RESHAPE", ["x", "shape"], ["flat"]),
        Op("FULLY_CONNECTED", ["flat", "w", "b"], ["y"], NONE, version=4),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def mixes_samples() -> bytes:
    """Softmax over everything after a reshape that folds the batch away: a larger batch changes the values."""
    tensors = [
        T("x", (1, 4), scale=0.1, shape_signature=(-1, 4)),
        T("shape", (2,), "int32", data=[1, -1]),
        T("flat", (1, 4), scale=0.1, shape_signature=(1, -1)),
        T("soft", (1, 4), scale=1 / 256, zero_point=-128, shape_signature=(1, -1)),
        T("back", (2,), "int32", data=[-1, 4]),
        T("y", (1, 4), scale=1 / 256, zero_point=-128, shape_signature=(-1, 4)),
    ]
    operators = [
        Op("RESHAPE", ["x", "shape"], ["flat"]),
        Op("SOFTMAX", ["flat"], ["soft"], {"beta": 1.0}, version=2),
        Op("RESHAPE", ["soft", "back"], ["y"]),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def no_sample_axis() -> bytes:
    """An input of one axis, without room for samples."""
    tensors = [T("x", (4,), "float32"), T("y", (4,), "float32")]
    return write_tflite(tensors, [Op("ABS", ["x"], ["y"], options_type="AbsOptions")], ["x"], ["y"])


def open_size() -> bytes:
    """An input whose second size the file leaves open."""
    signature = (-1, -1)
    tensors = [
        T("x", (1, 1), "float32", shape_signature=signature),
        T("y", (1, 1), "float32", shape_signature=signature),
    ]
    return write_tflite(tensors, [Op("ABS", ["x"], ["y"], options_type="AbsOptions")], ["x"], ["y"])


def save(folder: Path, content: bytes, name: str = "model.tflite") -> Path:
    """Write a model to a file and return its path."""
    path = folder / name
    path.write_bytes(content)
    return path
