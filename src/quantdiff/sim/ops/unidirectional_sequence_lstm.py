"""UNIDIRECTIONAL_SEQUENCE_LSTM, int8 with an int16 cell: LiteRT ``tflite/kernels/lstm_eval.cc``.

``LstmStepInteger8x8_16``, ``CalculateLstmGateInteger8x8_16``, ``UpdateLstmCellInteger``; the helpers are
those of ``internal/reference/portable_tensor_utils.cc``. xnnpack declines the op.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import Array
from quantdiff.sim import gemmlowp, lstm_tflm
from quantdiff.sim.accumulate import matmul
from quantdiff.sim.fixed_point import Rounding, requantize, rounding_divide_by_pot, wrap_int32
from quantdiff.sim.node import Node, NoKernel, is_quantized, scale_of, zero_point_of
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime

INPUT_GATE, FORGET_GATE, CELL_GATE, OUTPUT_GATE = range(4)
INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES = 1, 5, 12
"""Positions of the first of four inputs of each kind."""
PEEPHOLE_AND_PROJECTION, OUTPUT_STATE, CELL_STATE, LAYER_NORM = (9, 10, 11, 16, 17), 18, 19, (20, 21, 22, 23)
HIDDEN = 4
INT8, INT16 = (-128, 127), (-(1 << 15), (1 << 15) - 1)
Q3_12 = np.float32(2.0**-12)


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

    def before_activation(self, x: Array, state: Array) -> Array:
        """Q3.12, saturated after each of both products. Shapes: x (b, inputs), state (b, outputs) -> (b, n)."""
        first = wrap_int32(matmul(x.astype(np.int64), self.on_input.T) + self.input_bias)
        first = requantize(first, self.input_scale, Rounding.GEMMLOWP).clip(*INT16)
        second = wrap_int32(matmul(state.astype(np.int64), self.on_state.T) + self.state_bias)
        second = requantize(second, self.state_scale, Rounding.GEMMLOWP)
        total: Array = first + (second.clip(*INT16) if self.apart else second)
        return total.clip(*INT16)


@kernel("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(node: Node, x: Array, *others: Array | None, runtime: Runtime) -> Array:
    """Run the cell over the sequence from a state of zero.

    Shapes: x (batch, time, inputs), or (time, batch, inputs) with time_major -> (…, outputs).
    """
    check(node, runtime)
    inputs = (x, *others)
    gates = {k: gate_of(node, inputs, k, runtime) for k in range(4) if inputs[INPUT_WEIGHTS + k] is not None}
    steps = x if node.option("time_major", False) else np.swapaxes(x, 0, 1)
    state = np.full((steps.shape[1], gates[FORGET_GATE].on_state.shape[1]), zero_point_of(node.at(OUTPUT_STATE)))
    cell = np.zeros((steps.shape[1], len(gates[FORGET_GATE].on_input)), np.int64)
    forward = advance_tflm if runtime is Runtime.TFLM else advance
    outputs = []
    for step in steps:
        cell, state = forward(node, gates, step, cell, state)
        outputs.append(state.astype(np.int8))
    return np.stack(outputs, axis=0 if node.option("time_major", False) else 1)


def check(node: Node, runtime: Runtime) -> None:
    """Refuse what these formulas do not cover."""
    if runtime is Runtime.TFLM and node.inputs[INPUT_WEIGHTS] is None:
        raise NoKernel("with coupled input and forget gates")
    if not (
        is_quantized(node.x, "int8") and node.at(OUTPUT_STATE).dtype == "int8" and len(node.intermediates) > HIDDEN
    ):
        raise NoKernel(f"types {node.x.dtype}, state {node.at(OUTPUT_STATE).dtype}")
    left_out = (*PEEPHOLE_AND_PROJECTION, *(k for k in LAYER_NORM if k < len(node.inputs)))
    if any(node.inputs[k] is not None for k in left_out):
        raise NoKernel("with peephole, projection or layer normalization")


def gate_of(node: Node, inputs: tuple[Array | None, ...], gate: int, runtime: Runtime) -> Gate:
    """One gate: zero points times row sums join the biases (``PrecomputeZeroPointTimesWeightWithBias``)."""
    w, r, bias = (inputs[first + gate] for first in (INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES))
    if w is None or r is None or bias is None:
        raise NoKernel("a gate without weights or bias")
    w, r = w.astype(np.int64), r.astype(np.int64)
    state = node.at(OUTPUT_STATE)
    return Gate(
        w,
        r,
        bias - zero_point_of(node.x) * w.sum(axis=1),
        -zero_point_of(state) * r.sum(axis=1),
        effective_scale(node.at(INPUT_WEIGHTS + gate), node.x, runtime),
        effective_scale(node.at(RECURRENT_WEIGHTS + gate), state, runtime),
        apart=runtime is Runtime.TFLM,
    )


def effective_scale(weights: Tensor, values: Tensor, runtime: Runtime) -> Array:
    """Scale of the products over that of Q3.12: in float32, in TFLM in float64."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    return np.asarray(wide(scale_of(weights)) * wide(scale_of(values)) / wide(Q3_12))


def power_of(tensor: Tensor) -> int:
    """The exponent of a scale that is a power of two."""
    return round(float(np.log2(scale_of(tensor))))


def clipped(node: Node, cell: Array) -> Array:
    """The cell within the clip of the options, where there is one."""
    clip = float(node.option("cell_clip", 0.0))
    limit = int(np.clip(np.float32(clip) / scale_of(node.at(CELL_STATE)), *INT16))
    return cell.clip(-limit, limit) if clip > 0 else cell


def advance_tflm(node: Node, gates: dict[int, Gate], x: Array, cell: Array, state: Array) -> tuple[Array, Array]:
    """TFLM's step; its output takes the state's own scale."""
    gate = lstm_tflm.activations({k: g.before_activation(x, state) for k, g in gates.items()}, CELL_GATE)
    unit = float(scale_of(node.at(CELL_STATE)))
    cell = lstm_tflm.next_cell(gate[FORGET_GATE], gate[INPUT_GATE], gate[CELL_GATE], cell, unit)
    cell, shown = clipped(node, cell), node.at(OUTPUT_STATE)
    power, scale = power_of(node.at(CELL_STATE)), float(scale_of(shown))
    return cell, lstm_tflm.hidden(gate[OUTPUT_GATE], cell, power, scale, zero_point_of(shown))


def advance(node: Node, gates: dict[int, Gate], x: Array, cell: Array, state: Array) -> tuple[Array, Array]:
    """The next cell (int16, a power of two) and output state (int8)."""
    power = power_of(node.at(CELL_STATE))
    opened = {k: gate.before_activation(x, state) for k, gate in gates.items()}
    forget, output = (gemmlowp.logistic(opened[k], 3, 16) for k in (FORGET_GATE, OUTPUT_GATE))
    update = gemmlowp.tanh(opened[CELL_GATE], 3, 16)
    enter = gemmlowp.logistic(opened[INPUT_GATE], 3, 16) if INPUT_GATE in opened else INT16[1] - forget
    kept = rounding_divide_by_pot(forget * cell, 15)
    cell = clipped(node, (kept + rounding_divide_by_pot(enter * update, 30 + power)).clip(*INT16))
    hidden = node.intermediates[HIDDEN]
    scale = np.float32(2.0**-15 / np.float64(scale_of(hidden)) * 2.0**-15)
    shown = requantize(output * gemmlowp.tanh(cell, 15 + power, 16), np.float64(scale), Rounding.GEMMLOWP)
    return cell, (shown + zero_point_of(hidden)).clip(*INT8)
