"""Files with which published reports of 2023 to 2026 made TFLite read or write outside its memory, written anew.

``tensorflow/tensorflow`` issues 62164, 61908, 115308, 124982, pull requests 116631 and 126600; ``LiteRT`` issue 8180.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from written_models import Op, Sub, T, model_object, pack, write_tflite

FIX = {"fusedActivationFunction": 0}


def reshaped(wanted: list[int], held: int = 22, *, constant_shape: bool = True) -> bytes:
    """A constant of ``held`` bytes that RESHAPE copies while the graph is prepared, into room for another number."""
    tensors = [
        T("x", (1, 4), "int8", 0.5),
        T("c", (held,), "int8", 0.5, data=np.arange(held)),
        T("s", (len(wanted),), "int32", data=wanted if constant_shape else None),
        T("r", (1, 4), "int8", 0.5),
        T("y", (1, 4), "int8", 0.5),
    ]
    operators = [
        Op("RESHAPE", ["c", "s"], ["r"], {"newShape": wanted}),
        Op("ADD", ["x", "r"], ["y"], FIX),
    ]
    return write_tflite(tensors, operators, ["x"] if constant_shape else ["x", "s"], ["y"])


def inflated(op: str, more: list[T], options: dict[str, Any]) -> bytes:
    """A constant whose buffer is longer than its shape says, in front of a kernel that copies the buffer."""
    tensors = [
        T("x", (1, 4), "int8", 0.5),
        T("c", (1, 4), "int8", 0.5, raw=bytes(range(200)) * 20),
        *more,
        T("r", (1, 4), "int8", 0.5),
        T("y", (1, 4), "int8", 0.5),
    ]
    operators = [Op(op, ["c", *(each.name for each in more)], ["r"], options), Op("ADD", ["x", "r"], ["y"], FIX)]
    return write_tflite(tensors, operators, ["x"], ["y"])


def far_away(*, options: bool, offset: int, size: int) -> bytes:
    """Weights, or the options of a custom operator, at an offset that wraps around in 64 bits."""
    sub = Sub(
        [T("x", (1, 4), "int8", 0.5), T("w", (1, 4), "int8", 0.5, raw=bytes(4)), T("y", (1, 4), "int8", 0.5)],
        [Op("Mine", ["x"], ["y"], custom=True) if options else Op("ADD", ["x", "w"], ["y"], FIX)],
        ["x"],
        ["y"],
    )
    model = model_object([sub])
    if options:
        operator = model.subgraphs[0].operators[0]
        operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = offset, size
    else:
        buffer = model.buffers[model.subgraphs[0].tensors[1].buffer]
        buffer.data, buffer.offset, buffer.size = None, offset, size
    return pack(model)


def vast(*shape: int) -> bytes:
    """Tensors of more bytes than there are."""
    tensors = [T(name, shape, "int8", 0.5) for name in "xy"]
    return write_tflite(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"])


SHAPE, AXIS = T("s", (2,), "int32", data=[1, 4]), T("s", (1,), "int32", data=[0])
BAD_FILES = {
    "reshape: more than fits": reshaped([1, 4]),
    "reshape: less than fits": reshaped([1, 4], held=2),
    "reshape: of a higher rank": reshaped([1, 1, 1, 1, 1, 4]),
    "reshape: a product that wraps": reshaped([65536, 65536, 65536, 65536, 4]),
    "reshape: a negative size": reshaped([-5, 4]),
    "reshape: two sizes left open": reshaped([-1, -1]),
    "reshape: a size of the data": reshaped([1, 4], constant_shape=False),
    "reshape: no input": write_tflite([T("y", (1, 4))], [Op("RESHAPE", [None], ["y"])], ["y"], ["y"]),
    "reshape: a long buffer": inflated("RESHAPE", [SHAPE], {"newShape": [1, 4]}),
    "expand dims: a long buffer": inflated("EXPAND_DIMS", [AXIS], {}),
    "squeeze: a long buffer": inflated("SQUEEZE", [], {"squeezeDims": []}),
    "bitcast: a long buffer": inflated("BITCAST", [], {}),
    "weights before the file": far_away(options=False, offset=2**64 - 8, size=16),
    "weights at the end of memory": far_away(options=False, offset=2**64 - 4, size=4),
    "options before the file": far_away(options=True, offset=2**64 - 8, size=16),
    "a root outside the file": b"\x18\0\0\0TFL3",
    "sizes that wrap": vast(2**31 - 1, 2**31 - 1, 2**31 - 1),
    "sizes beyond all memory": vast(1, 2**30, 2**20),
}
