"""How FULLY_CONNECTED, CONV_2D and DEPTHWISE_CONV_2D turn sums into outputs, told channel by channel.

The kernels of ``sim/ops`` do it on whole arrays; who writes it on paper or hands it to hardware starts here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import add_bias
from quantdiff.sim.node import Node, NoKernel, check_8_bit
from quantdiff.sim.ops import conv_2d, depthwise_conv_2d, fully_connected
from quantdiff.sim.rounding.fixed_point import Rounding, convolution_scale, quantize_multiplier
from quantdiff.sim.runtime import Runtime

ACCUMULATE = {
    "FULLY_CONNECTED": fully_connected.accumulate,
    "CONV_2D": conv_2d.accumulate,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d.accumulate,
}


@dataclass(frozen=True, slots=True)
class Channel:
    """One output channel: ``scale == mantissa * 2**(shift - 31)`` but for the last bit, and the rule that uses them.

    Rules G, R and S take the integers, X and D the ``scale``, which is a float32 for X.
    """

    rounding: Rounding
    scale: float
    mantissa: int
    shift: int


def accumulators(node: Node, x: Array, w: Array, bias: Array | None) -> Array:
    """Sums of products plus bias as int64, which no runtime changes. Shape: that of the output."""
    return add_bias(ACCUMULATE[node.operator.op](node, x, w), bias).astype(np.int64)


def channels_of(node: Node, runtime: Runtime) -> tuple[Channel, ...]:
    """One entry per output channel; ``runtime`` is the one whose kernel runs.

    Raises:
        NoKernel: another op, or other types than 8 bits.
    """
    if node.operator.op not in ACCUMULATE:
        raise NoKernel("no sums of products")
    check_8_bit(node)
    if node.operator.op == "FULLY_CONNECTED":
        rounding = fully_connected.ROUNDING[runtime]
        return _channels([rounding] * node.at(1).shape[-2], fully_connected.effective_scale(node, runtime))
    return _channels(_of_convolution(node, runtime), convolution_scale(node, runtime))


def _of_convolution(node: Node, runtime: Runtime) -> list[Rounding]:
    w = node.at(1).shape
    if node.operator.op == "CONV_2D":
        return [conv_2d.rounding_of(runtime, groups=node.x.shape[3] // w[3])] * w[0]
    rounding = depthwise_conv_2d.rounding_of(runtime, fast=node.x.dtype != "uint8")
    if rounding is not Rounding.RUY:
        return [rounding] * w[3]
    body = w[3] // depthwise_conv_2d.VECTOR * depthwise_conv_2d.VECTOR
    return [Rounding.RUY] * body + [Rounding.GEMMLOWP] * (w[3] - body)


def _channels(roundings: Sequence[Rounding], scale: Array) -> tuple[Channel, ...]:
    scales = np.broadcast_to(scale, len(roundings))
    mantissas, shifts = quantize_multiplier(scales)
    rows = zip(roundings, scales.tolist(), mantissas.tolist(), shifts.tolist(), strict=True)
    return tuple(Channel(*row) for row in rows)
