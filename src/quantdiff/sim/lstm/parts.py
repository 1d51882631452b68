"""The parts of an int8 LSTM: its gates, and perhaps peepholes, layer normalization, a projection.

Source: LiteRT ``tflite/kernels/lstm_eval.cc``, ``internal/reference/portable_tensor_utils.cc``
(``PortableVectorBatchVectorCwiseProductAccumulate``, ``PortableApplyLayerNorm``), and for whole vectors
``internal/optimized/neon_tensor_utils.cc`` (``NeonVectorBatchVectorCwiseProductAccumulate``), which x86 has too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import matmul
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    wrap_int32,
)
from quantdiff.sim.tables.inverse_root import inverse_root_multiplier

INT8, INT16 = (-128, 127), (-(1 << 15), (1 << 15) - 1)
ONE, HALF, GUARD, NORM_SHIFT = 1 << 10, 1 << 9, 10_000, 12
VECTOR = 16
"""Cells that a peephole multiplies together."""


@dataclass(frozen=True, slots=True)
class Peephole:
    """Weights on the cell, 16 bits, and their multiplier. Shape: weights (n,)."""

    weights: Array
    scale: Array

    def products(self, cell: Array) -> Array:
        """Cell times weights in the gate's units: vectors by rule R, the rest by rule G. Shapes: (b, n) -> (b, n)."""
        products, body = wrap_int32(self.weights * cell), cell.shape[1] // VECTOR * VECTOR
        parts = ((products[:, :body], Rounding.RUY), (products[:, body:], Rounding.GEMMLOWP))
        return np.concatenate([requantize(part, self.scale, rounding) for part, rounding in parts], axis=1)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Coefficients of 16 bits, the gate's bias, and the scale of the coefficients. Shapes: (n,)."""

    weights: Array
    bias: Array
    scale: Array

    def normalized(self, gate: Array) -> Array:
        """The gate over its standard deviation, weighted, plus the bias, in Q3.12. Shapes: (b, n) -> (b, n)."""
        count = gate.shape[1]
        mean = truncated(gate.sum(axis=1) * ONE, count)
        variance = np.square(gate).sum(axis=1) * (ONE * ONE // count) - mean * mean
        spread = wrap_int32(truncated(variance, ONE * ONE))
        spread = np.where(spread < 1, max(1, int(np.float32(GUARD) * np.float32(self.scale))), spread)
        mantissas, shifts = inverse_root_multiplier(spread[:, None])
        apart = wrap_int32(ONE * gate - mean[:, None])
        scaled = multiply_by_quantized_multiplier(apart, mantissas, shifts, Rounding.GEMMLOWP)
        weighted = wrap_int32(scaled * self.weights + self.bias)
        whole = truncated(weighted + np.where(weighted > 0, HALF, -HALF), ONE)
        mantissa, shift = quantize_multiplier(np.float64(self.scale))
        y = multiply_by_quantized_multiplier(whole, mantissa, shift + NORM_SHIFT, Rounding.GEMMLOWP)
        return y.clip(*INT16)


@dataclass(frozen=True, slots=True)
class Gate:
    """Weights (n, inputs) and (n, outputs) of one gate, the effective biases, and both multipliers.

    ``apart``: the second product saturates before it is added, as in TFLM, not only the sum.
    """

    on_input: Array
    on_state: Array
    input_bias: Array
    state_bias: Array
    input_scale: Array
    state_scale: Array
    apart: bool = False
    peephole: Peephole | None = None
    norm: LayerNorm | None = None

    def before_activation(self, x: Array, state: Array, cell: Array) -> Array:
        """Q3.12, saturated after each product.

        Shapes: x (b, inputs), state (b, outputs), cell (b, n) -> (b, n).
        """
        first = wrap_int32(matmul(x.astype(np.int64), self.on_input.T) + self.input_bias)
        first = requantize(first, self.input_scale, Rounding.GEMMLOWP).clip(*INT16)
        second = wrap_int32(matmul(state.astype(np.int64), self.on_state.T) + self.state_bias)
        second = requantize(second, self.state_scale, Rounding.GEMMLOWP)
        total: Array = first + (second.clip(*INT16) if self.apart else second)
        total = total.clip(*INT16)
        if self.peephole is not None:
            total = (total + self.peephole.products(cell)).clip(*INT16)
        return total if self.norm is None else self.norm.normalized(total)


@dataclass(frozen=True, slots=True)
class Projection:
    """A dense layer from the cells to the output state; ``limit`` is the clip in steps, 0 for none."""

    weights: Array
    bias: Array | None
    scale: Array
    hidden_zero_point: int
    zero_point: int
    limit: int

    def projected(self, shown: Array) -> Array:
        """The output state for what the cells show, before a zero point. Shapes: (b, n) -> (b, outputs)."""
        hidden = (shown - self.hidden_zero_point).clip(*INT8)
        bias = self.hidden_zero_point * self.weights.sum(axis=1) + (0 if self.bias is None else self.bias)
        sums = wrap_int32(matmul(hidden.astype(np.int64), self.weights.T) + bias)
        y = (requantize(sums, self.scale, Rounding.GEMMLOWP) + self.zero_point).clip(*INT8)
        return y.clip(-self.limit, self.limit) if self.limit > 0 else y


def truncated(x: Array, by: int) -> Array:
    """Whole quotients, cut off towards zero as in C. Shape as ``x``."""
    quotient = np.abs(x.astype(np.int64)) // by
    return np.where(x < 0, -quotient, quotient)
