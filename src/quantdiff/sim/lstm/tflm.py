"""TFLM's int8 LSTM cell: ``tensorflow/lite/micro/kernels/lstm_eval.h`` (``LstmStep``) and ``lstm_eval.cc``."""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.tables import int16_table

INT8, INT16 = (-128, 127), (-(1 << 15), (1 << 15) - 1)
Q0_15 = 2.0**-15
Q3_BITS = 3


def next_cell(forget: Array, enter: Array, update: Array, cell: Array, scale: float) -> Array:
    """``forget · cell + enter · update`` in int16 of ``scale``; both products by rule G, both saturated."""
    kept = requantize(forget * cell, Q0_15 * scale / scale, Rounding.GEMMLOWP).clip(*INT16)
    added = requantize(enter * update, Q0_15 * Q0_15 / scale, Rounding.GEMMLOWP).clip(*INT16)
    total: Array = kept + added
    return total.clip(*INT16)


def hidden(output: Array, cell: Array, power: int, scale: float, zero_point: int) -> Array:
    """``output · tanh(cell)`` in int8 of ``scale``; the cell's unit is ``2**power``."""
    shift = 15 + power - Q3_BITS
    wide = int16_table.tanh(cell, 0, shift) if shift >= 0 else int16_table.tanh(cell, 3, -shift)
    shown = requantize(wide * output, Q0_15 * Q0_15 / scale, Rounding.GEMMLOWP)
    return (shown + zero_point).clip(*INT8)


def activations(opened: dict[int, Array], cell_gate: int) -> dict[int, Array]:
    """The gates after sigmoid, the update after tanh, from Q3.12."""
    return {k: (int16_table.tanh if k == cell_gate else int16_table.logistic)(np.asarray(v)) for k, v in opened.items()}
