"""PyTorch's quantizers in ONNX's words: q and dq of PT2E, and fake-quant, which is both at once."""

from __future__ import annotations

import numpy as np

from quantdiff.layer import TrainedRange
from quantdiff.quant import Grid, QuantParams
from quantdiff.references.onnx.program import Node
from quantdiff.references.torch.archive import DTYPES
from quantdiff.references.torch.calls import Call, Integers, word

WIDTHS = {(-128, 127): "int8", (0, 255): "uint8", (-32768, 32767): "int16"}
"""The first and the last integer of a type."""


@word("quantize_per_tensor", "dequantize_per_tensor", "quantize_per_channel", "dequantize_per_channel")
def quantize(call: Call) -> list[Node]:
    """Onto a grid, or off it; its numbers stand in the call, or are tensors."""
    op = "DequantizeLinear" if call.op.startswith("de") else "QuantizeLinear"
    scale, zero = call.get("scale", "scales"), call.get("zero_point", "zero_points")
    scale = scale if isinstance(scale, str) else call.constant(scale)
    zero = zero if isinstance(zero, str) else call.constant(zero, DTYPES.get(call.given["dtype"], "int64"))
    return [call.say(op, call.given["input"], scale, zero, axis=call.get("axis", default=0))]


@word("fused_moving_avg_obs_fake_quant")
def fake_quantize(call: Call) -> list[Node]:
    """Onto a grid and off it at once; what an observer has learned of its range stands in the call, too."""
    x, out, low, high = call.given["self"], call.outputs[0], call.given["quant_min"], call.given["quant_max"]
    if isinstance(call.given.get("fake_quant_on"), str) and not call.array("fake_quant_on").any():
        return [call.say("Identity", x, outputs=(out,))]
    dtype = next((name for (first, last), name in WIDTHS.items() if first <= low and high <= last), None)
    if dtype is None:
        return [call.say("aten.fake_quantize to more than 16 bits", x, outputs=(out,))]
    scale, zero = call.array("scale").reshape(-1), call.array("zero_point").reshape(-1)
    axis = int(call.get("axis", "ch_axis", default=0)) if scale.size > 1 else None
    grid = Grid(QuantParams(tuple(map(float, scale)), tuple(map(int, zero)), axis), dtype, out)
    learned = None
    if "running_min" in call.given:
        first, last = (tuple(map(float, call.array(name).reshape(-1))) for name in ("running_min", "running_max"))
        learned = TrainedRange(
            "output", first, last, "FusedMovingAvgObsFakeQuantize", np.dtype(dtype).itemsize * 8, low == -high, grid
        )
    name = f"{out}/integers"
    call.integers[name] = Integers(out, grid, learned)
    by_channel = axis is not None
    steps = call.constant(scale if by_channel else scale[0]), call.constant(zero if by_channel else zero[0], dtype)
    there = call.say("QuantizeLinear", x, *steps, outputs=(name,), axis=axis or 0)
    back = f"{call.name.removesuffix('quantize')}dequantize"
    return [there, Node("DequantizeLinear", back, (name, *steps), (out,), {"axis": axis or 0})]
