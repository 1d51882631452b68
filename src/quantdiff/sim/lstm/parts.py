"""The parts of an int8 LSTM: its gates, perhaps peepholes, layer normalization and a projection, and TFLM's cell.

Source: LiteRT ``tflite/kernels/lstm_eval.cc``, ``internal/reference/portable_tensor_utils.cc``
(``PortableVectorBatchVectorCwiseProductAccumulate``, ``PortableApplyLayerNorm``), and for whole vectors
``internal/optimized/neon_tensor_utils.cc`` (``NeonVectorBatchVectorCwiseProductAccumulate``), which x86 has too; on
ARM64 alone ``NeonApplyLayerNorm`` and the ``NeonMatrixBatchVectorMultiplyAccumulate`` of a projection. TFLM's cell:
``tensorflow/lite/micro/kernels/lstm_eval.h`` (``LstmStep``) and ``lstm_eval.cc``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.accumulate import matmul
from quantdiff.sim.node import NoKernel
from quantdiff.sim.rounding.fixed_point import (
    Rounding,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    wrap_int32,
)
from quantdiff.sim.rounding.gemmlowp import inverse_root_multiplier
from quantdiff.sim.tables import int16_table

INPUT_GATE, FORGET_GATE, CELL_GATE, OUTPUT_GATE = range(4)
INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES = 1, 5, 12
"""Positions of the first of four inputs of each kind."""
PEEPHOLES = {INPUT_GATE: 9, FORGET_GATE: 10, OUTPUT_GATE: 11}
PROJECTION, OUTPUT_STATE, CELL_STATE, LAYER_NORMS = (16, 17), 18, 19, (20, 21, 22, 23)
Inputs = tuple[Array | None, ...]


def given(inputs: Inputs, position: int) -> Array | None:
    """An input that may be left out."""
    return inputs[position] if 0 <= position < len(inputs) else None


def needed(inputs: Inputs, position: int) -> Array:
    """An input that must be there.

    Raises:
        NoKernel: it is left out.
    """
    found = given(inputs, position)
    if found is None:
        raise NoKernel(f"input {position} is left out")
    return found


INT8, INT16 = (-128, 127), (-(1 << 15), (1 << 15) - 1)
NORM_BITS, GUARD, NORM_SHIFT = 10, 10_000, 12
ONE, HALF = 1 << NORM_BITS, 1 << (NORM_BITS - 1)
VECTOR = 16
"""Cells that a peephole multiplies together, and on ARM64 those that a norm or a projection takes together."""
SQUARES = 4
"""Squares that ARM64 adds in 32 bits."""


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
    """Coefficients of 16 bits, the gate's bias, and the scale of the coefficients. Shapes: (n,).

    ``in_vectors``: the kernel of ARM64.
    """

    weights: Array
    bias: Array
    scale: Array
    in_vectors: bool = False

    def normalized(self, gate: Array) -> Array:
        """The gate over its standard deviation, weighted, plus the bias, in Q3.12. Shapes: (b, n) -> (b, n)."""
        count = gate.shape[1]
        mean = truncated(gate.sum(axis=1) * ONE, count)
        squares = squares_in_vectors(gate) if self.in_vectors else np.square(gate).sum(axis=1)
        variance = squares * (ONE * ONE // count) - mean * mean
        spread = wrap_int32(truncated(variance, ONE * ONE))
        spread = np.where(spread < 1, max(1, int(np.float32(GUARD) * np.float32(self.scale))), spread)
        mantissas, shifts = inverse_root_multiplier(spread[:, None])
        apart = wrap_int32(ONE * gate - mean[:, None])
        body = count // VECTOR * VECTOR if self.in_vectors else 0
        parts = [self._vectors(apart[:, :body], mantissas, shifts), self._ones(apart[:, body:], mantissas, shifts)]
        return np.concatenate(parts, axis=1).clip(*INT16)

    def _ones(self, apart: Array, mantissas: Array, shifts: Array) -> Array:
        """The last cells. Shape as ``apart``, Q10 from the mean."""
        first = len(self.weights) - apart.shape[1]
        scaled = multiply_by_quantized_multiplier(apart, mantissas, shifts, Rounding.GEMMLOWP)
        weighted = scaled * self.weights[first:] + self.bias[first:]
        weighted = weighted if self.in_vectors else wrap_int32(weighted)
        whole = truncated(weighted + np.where(weighted > 0, HALF, -HALF), ONE)
        mantissa, shift = quantize_multiplier(np.float64(self.scale))
        return multiply_by_quantized_multiplier(whole, mantissa, shift + NORM_SHIFT, Rounding.GEMMLOWP)

    def _vectors(self, apart: Array, mantissas: Array, shifts: Array) -> Array:
        """The first cells, weighted in 64 bits, halves up everywhere. Shape as ``apart``."""
        width = apart.shape[1]
        scaled = multiply_by_quantized_multiplier(apart, mantissas, shifts, Rounding.RUY)
        whole = wrap_int32((scaled * self.weights[:width] + self.bias[:width] + HALF) >> NORM_BITS)
        mantissa, shift = quantize_multiplier(np.float64(self.scale))
        return multiply_by_quantized_multiplier(whole, mantissa, shift + NORM_SHIFT, Rounding.RUY)


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
    """A dense layer from the cells to the output state; ``limit`` is the clip in steps, 0 for none.

    ``together``: rows that one call of ARM64's kernel takes, 0 elsewhere.
    """

    weights: Array
    bias: Array | None
    scale: Array
    hidden_zero_point: int
    zero_point: int
    limit: int
    together: int = 0

    def projected(self, shown: Array) -> Array:
        """The output state for what the cells show, before a zero point. Shapes: (b, n) -> (b, outputs)."""
        hidden = (shown - self.hidden_zero_point).clip(*INT8)
        bias = self.hidden_zero_point * self.weights.sum(axis=1) + (0 if self.bias is None else self.bias)
        sums = wrap_int32(matmul(hidden.astype(np.int64), self.weights.T) + bias)
        y = (self._rounded(sums) + self.zero_point).clip(*INT8)
        return y.clip(-self.limit, self.limit) if self.limit > 0 else y

    def _rounded(self, sums: Array) -> Array:
        """By rule G, but for the vectors of ARM64 by rule R, whatever row they belong to. Shape as ``sums``."""
        calls = sums.reshape(-1, max(1, self.together) * sums.shape[1])
        body = calls.shape[1] // VECTOR * VECTOR if self.together else 0
        parts = (calls[:, :body], Rounding.RUY), (calls[:, body:], Rounding.GEMMLOWP)
        return np.concatenate([requantize(part, self.scale, rounding) for part, rounding in parts], axis=1).reshape(
            sums.shape
        )


def squares_in_vectors(gate: Array) -> Array:
    """The sum of the squares of each row; four of a vector are added in 32 bits. Shapes: (b, n) -> (b,)."""
    body = gate.shape[1] // (2 * SQUARES) * 2 * SQUARES
    fours = np.square(gate[:, :body]).reshape(len(gate), -1, SQUARES).sum(axis=2)
    return np.asarray(wrap_int32(fours).sum(axis=1) + np.square(gate[:, body:]).sum(axis=1))


def truncated(x: Array, by: int) -> Array:
    """Whole quotients, cut off towards zero as in C. Shape as ``x``."""
    quotient = np.abs(x.astype(np.int64)) // by
    return np.where(x < 0, -quotient, quotient)


Q0_15 = 2.0**-15
Q3_BITS = 3


def next_tflm_cell(forget: Array, enter: Array, update: Array, cell: Array, scale: float) -> Array:
    """``forget · cell + enter · update`` in int16 of ``scale``; both products by rule G, both saturated."""
    kept = requantize(forget * cell, Q0_15 * scale / scale, Rounding.GEMMLOWP).clip(*INT16)
    added = requantize(enter * update, Q0_15 * Q0_15 / scale, Rounding.GEMMLOWP).clip(*INT16)
    total: Array = kept + added
    return total.clip(*INT16)


def hidden_of_tflm(output: Array, cell: Array, power: int, scale: float, zero_point: int) -> Array:
    """``output · tanh(cell)`` in int8 of ``scale``; the cell's unit is ``2**power``."""
    shift = 15 + power - Q3_BITS
    wide = int16_table.tanh(cell, 0, shift) if shift >= 0 else int16_table.tanh(cell, 3, -shift)
    shown = requantize(wide * output, Q0_15 * Q0_15 / scale, Rounding.GEMMLOWP)
    return (shown + zero_point).clip(*INT8)


def activations_of_tflm(opened: dict[int, Array], cell_gate: int) -> dict[int, Array]:
    """The gates after sigmoid, the update after tanh, from Q3.12."""
    return {k: (int16_table.tanh if k == cell_gate else int16_table.logistic)(np.asarray(v)) for k, v in opened.items()}
