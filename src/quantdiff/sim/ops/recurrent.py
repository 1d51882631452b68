"""Recurrent cells: UNIDIRECTIONAL_SEQUENCE_LSTM, whose parts are in ``sim/lstm``, and SVDF.

LSTM, int8 with an int16 cell: LiteRT ``tflite/kernels/lstm_eval.cc`` (``LstmStepInteger8x8_16``,
``CalculateLstmGateInteger8x8_16``, ``UpdateLstmCellInteger``, ``CalculateLstmOutputInteger8x8_16``); the helpers are
those of ``internal/reference/portable_tensor_utils.cc``. xnnpack declines the op; tflm has neither peephole, projection
nor layer normalization.
SVDF with int8 weights: LiteRT ``internal/reference/svdf.h`` (``EvalIntegerSVDF``). tflm:
``tensorflow/lite/micro/kernels/svdf_common.cc``, which knows an int8 state as well. xnnpack declines it.
"""

from __future__ import annotations

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import centred, matmul
from quantdiff.sim.lstm import floats
from quantdiff.sim.lstm.parts import (
    BIASES,
    CELL_GATE,
    CELL_STATE,
    FORGET_GATE,
    INPUT_GATE,
    INPUT_WEIGHTS,
    INT8,
    INT16,
    LAYER_NORMS,
    OUTPUT_GATE,
    OUTPUT_STATE,
    PEEPHOLES,
    PROJECTION,
    RECURRENT_WEIGHTS,
    Gate,
    LayerNorm,
    Peephole,
    Projection,
    activations_of_tflm,
    hidden_of_tflm,
    needed,
    next_tflm_cell,
)
from quantdiff.sim.node import Node, NoKernel, is_quantized, kernel, scale_of, zero_point_of
from quantdiff.sim.rounding import gemmlowp
from quantdiff.sim.rounding.fixed_point import Rounding, requantize, rounding_divide_by_pot, wrap_int32
from quantdiff.sim.runtime import Runtime

HIDDEN = 4


Q3_12 = np.float32(2.0**-12)


TANH_BITS = range(7)
"""Integer bits of the cell state for which ``PortableApplyTanh`` has a case; it does nothing for others."""


@kernel("UNIDIRECTIONAL_SEQUENCE_LSTM", batched=lambda node: not node.option("time_major", False))
def lstm(node: Node, x: Array, *others: Array | None, runtime: Runtime) -> Array:
    """Run the cell over the sequence from a state of zero.

    Shapes: x (batch, time, inputs), or (time, batch, inputs) with time_major -> (…, outputs).
    """
    return run_cell(node, (x, *others), runtime)


@kernel("LSTM")
def single_step(node: Node, x: Array, *others: Array | None, runtime: Runtime) -> Array:
    """The same for one step (``tflite/kernels/lstm.cc``). Shapes: x (batch, inputs) -> (batch, outputs)."""
    if str(node.option("kernel_type", "FULL")) != "FULL":
        raise NoKernel("the basic cell of five inputs")
    return run_cell(node, (x[:, None], *others), runtime)[:, 0]


def run_cell(node: Node, inputs: tuple[Array | None, ...], runtime: Runtime) -> Array:
    """The outputs of all steps. Shapes: as ``lstm``."""
    if node.x.dtype == "float32":
        return floats.run(node, inputs, runtime)
    check(node, runtime)
    x = stored(inputs, 0)
    gates = {k: gate_of(node, inputs, k, runtime) for k in range(4) if inputs[INPUT_WEIGHTS + k] is not None}
    steps = x if node.option("time_major", False) else np.swapaxes(x, 0, 1)
    state = np.full((steps.shape[1], gates[FORGET_GATE].on_state.shape[1]), zero_point_of(node.at(OUTPUT_STATE)))
    cell = np.zeros((steps.shape[1], len(gates[FORGET_GATE].on_input)), np.int64)
    by_row = node.operator.op != "LSTM" and not node.option("time_major", False)
    together = (1 if by_row else len(state)) if runtime.on_arm64 else 0
    project = projection_of(node, inputs, together)
    outputs = []
    for step in steps:
        if runtime is Runtime.TFLM:
            cell, state = advance_tflm(node, gates, step, cell, state)
        else:
            cell, state = advance(node, gates, project, step, (cell, state))
        outputs.append(state.astype(np.int8))
    return np.stack(outputs, axis=0 if node.option("time_major", False) else 1)


def check(node: Node, runtime: Runtime) -> None:
    """Refuse what these formulas do not cover."""
    if node.at(OUTPUT_STATE).index == node.at(CELL_STATE).index:
        raise NoKernel("its two states are one tensor, which each step writes twice (lint STATE01)")
    if runtime is Runtime.TFLM and node.inputs[INPUT_WEIGHTS] is None:
        raise NoKernel("with coupled input and forget gates")
    if not (
        is_quantized(node.x, "int8") and node.at(OUTPUT_STATE).dtype == "int8" and len(node.intermediates) > HIDDEN
    ):
        raise NoKernel(f"types {node.x.dtype}, state {node.at(OUTPUT_STATE).dtype}")
    if node.at(CELL_STATE).dtype != "int16":
        raise NoKernel(f"a cell state of {node.at(CELL_STATE).dtype}, where the kernels keep int16")
    if runtime is not Runtime.TFLM and 15 + power_of(node.at(CELL_STATE)) not in TANH_BITS:
        scale = f"2**{power_of(node.at(CELL_STATE))}"
        raise NoKernel(f"its cell state has scale {scale}, where LiteRT's tanh does nothing: it knows 2**-15 to 2**-9")
    left_out = (*PEEPHOLES.values(), *PROJECTION, *LAYER_NORMS)
    if runtime is Runtime.TFLM and any(given(node, k) for k in left_out):
        raise NoKernel("with peephole, projection or layer normalization, which TFLM does not have")
    if given(node, PEEPHOLES[FORGET_GATE]) and given(node, PROJECTION[0]):
        raise NoKernel("with peephole and projection at once")


def given(node: Node, position: int) -> bool:
    """True when an optional input is there."""
    return position < len(node.inputs) and node.inputs[position] is not None


def gate_of(node: Node, inputs: tuple[Array | None, ...], gate: int, runtime: Runtime) -> Gate:
    """One gate: zero points times row sums join the biases (``PrecomputeZeroPointTimesWeightWithBias``)."""
    w, r, bias = (inputs[first + gate] for first in (INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES))
    if w is None or r is None or bias is None:
        raise NoKernel("a gate without weights or bias")
    w, r = w.astype(np.int64), r.astype(np.int64)
    state, norm, unit = node.at(OUTPUT_STATE), None, Q3_12
    if given(node, LAYER_NORMS[gate]):
        weights, scale = stored(inputs, LAYER_NORMS[gate]), scale_of(node.at(LAYER_NORMS[gate]))
        norm = LayerNorm(weights, bias, scale, runtime.on_arm64)
        unit = np.float32(scale_of(node.intermediates[gate]))
    return Gate(
        w,
        r,
        (bias if norm is None else 0) - zero_point_of(node.x) * w.sum(axis=1),
        -zero_point_of(state) * r.sum(axis=1),
        effective_scale(node.at(INPUT_WEIGHTS + gate), node.x, unit, runtime),
        effective_scale(node.at(RECURRENT_WEIGHTS + gate), state, unit, runtime),
        runtime is Runtime.TFLM,
        peephole_of(node, inputs, gate, unit),
        norm,
    )


def peephole_of(node: Node, inputs: tuple[Array | None, ...], gate: int, unit: np.float32) -> Peephole | None:
    """The weights on the cell, where the gate has them."""
    position = PEEPHOLES.get(gate)
    if position is None or not given(node, position):
        return None
    scale = np.float32(2.0 ** power_of(node.at(CELL_STATE)) * np.float64(scale_of(node.at(position))) / unit)
    return Peephole(stored(inputs, position), np.asarray(scale, np.float64))


def projection_of(node: Node, inputs: tuple[Array | None, ...], together: int) -> Projection | None:
    """The layer between what the cell shows and the output state, where there is one."""
    weights, bias = PROJECTION
    if not given(node, weights):
        return None
    state, hidden = node.at(OUTPUT_STATE), node.intermediates[HIDDEN]
    scale = scale_of(node.at(weights)) * scale_of(hidden) / scale_of(state)
    clip = float(node.option("proj_clip", 0.0))
    limit = int(np.clip(np.float32(clip) / scale_of(node.y), *INT8)) if clip > 0 else 0
    offset = inputs[bias] if given(node, bias) else None
    points = zero_point_of(hidden), zero_point_of(state)
    return Projection(stored(inputs, weights), offset, scale, *points, limit, together)


def stored(inputs: tuple[Array | None, ...], position: int) -> Array:
    """An input that is known to be there, in 64 bits."""
    return needed(inputs, position).astype(np.int64)


def effective_scale(weights: Tensor, values: Tensor, unit: np.float32, runtime: Runtime) -> Array:
    """Scale of the products over that of the gate: in float32, in TFLM in float64."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    return np.asarray(wide(scale_of(weights)) * wide(scale_of(values)) / wide(unit))


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
    gate = activations_of_tflm({k: g.before_activation(x, state, cell) for k, g in gates.items()}, CELL_GATE)
    unit = float(scale_of(node.at(CELL_STATE)))
    cell = next_tflm_cell(gate[FORGET_GATE], gate[INPUT_GATE], gate[CELL_GATE], cell, unit)
    cell, shown = clipped(node, cell), node.at(OUTPUT_STATE)
    power, scale = power_of(node.at(CELL_STATE)), float(scale_of(shown))
    return cell, hidden_of_tflm(gate[OUTPUT_GATE], cell, power, scale, zero_point_of(shown))


def advance(
    node: Node, gates: dict[int, Gate], project: Projection | None, x: Array, before: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The next cell (int16, a power of two) and output state (int8)."""
    power, (cell, state) = power_of(node.at(CELL_STATE)), before
    opened = {k: gate.before_activation(x, state, cell) for k, gate in gates.items() if k != OUTPUT_GATE}
    forget = gemmlowp.logistic(opened[FORGET_GATE], 3, 16)
    update = gemmlowp.tanh(opened[CELL_GATE], 3, 16)
    enter = gemmlowp.logistic(opened[INPUT_GATE], 3, 16) if INPUT_GATE in opened else INT16[1] - forget
    kept = rounding_divide_by_pot(forget * cell, 15)
    cell = clipped(node, (kept + rounding_divide_by_pot(enter * update, 30 + power)).clip(*INT16))
    output = gemmlowp.logistic(gates[OUTPUT_GATE].before_activation(x, state, cell), 3, 16)
    hidden = node.intermediates[HIDDEN]
    scale = np.float32(2.0**-15 / np.float64(scale_of(hidden)) * 2.0**-15)
    shown = requantize(output * gemmlowp.tanh(cell, 15 + power, 16), np.float64(scale), Rounding.GEMMLOWP)
    if project is not None:
        return cell, project.projected(shown)
    return cell, (shown + zero_point_of(hidden)).clip(*INT8)


STATE = 4


@kernel("SVDF")
def svdf(
    node: Node, x: Array, feature: Array, time: Array, bias: Array | None = None, *_: Array | None, runtime: Runtime
) -> Array:
    """Compute one step from an empty memory: features, their weights in time, the sum over the rank.

    Shapes: x (batch, inputs), feature (units * rank, inputs), time (units * rank, memory), bias (units,)
    -> (batch, units).
    """
    state = node.at(STATE)
    if not (is_quantized(node.x, "int8") and node.at(1).dtype == "int8" and is_quantized(state, "int8", "int16")):
        raise NoKernel(f"types {node.x.dtype} × {node.at(1).dtype}, state {state.dtype}")
    if state.dtype == "int8" and runtime is not Runtime.TFLM:
        raise NoKernel("LiteRT writes an int16 state over the int8 one of this file")
    zero = zero_point_of(state) if state.dtype == "int8" else 0
    sums = wrap_int32(matmul(centred(x, zero_point_of(node.x)), feature.astype(np.int64).T))
    inner, outer = (factor(node, k, runtime) for k in (1, 2))
    newest = (requantize(sums, inner, Rounding.GEMMLOWP) + zero).clip(*INTEGER_RANGE[state.dtype]) - zero
    weighted = newest * time.astype(np.int64)[:, -1]
    total = weighted.reshape(len(x), -1, int(node.option("rank", 1))).sum(axis=2)
    total = wrap_int32(total if bias is None else total + bias)
    y = requantize(total, outer, Rounding.GEMMLOWP) + zero_point_of(node.y)
    return y.clip(-128, 127).astype(np.int8)


def factor(node: Node, which: int, runtime: Runtime) -> Array:
    """Both multipliers, in float32, in TFLM in float64: input to state by the features, state to output by time."""
    wide = np.float64 if runtime is Runtime.TFLM else np.float32
    before, after = (node.x, node.at(STATE)) if which == 1 else (node.at(STATE), node.y)
    s_before, s_weights, s_after = (wide(scale_of(tensor)) for tensor in (before, node.at(which), after))
    return np.asarray(s_before * s_weights / s_after, np.float64)
