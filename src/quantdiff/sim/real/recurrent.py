"""LSTM cells in double, and the transpose of a convolution: what has a float kernel of its own in TFLite.

``tflite/kernels/lstm_eval.cc``, ``EvalFloat``; positions of the inputs as in ``sim/lstm/parts.py``.
"""

from __future__ import annotations

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.lstm.parts import (
    BIASES,
    CELL_GATE,
    FORGET_GATE,
    INPUT_GATE,
    INPUT_WEIGHTS,
    LAYER_NORMS,
    OUTPUT_GATE,
    PEEPHOLES,
    PROJECTION,
    RECURRENT_WEIGHTS,
    Inputs,
    given,
    needed,
)
from quantdiff.sim.node import Node, real
from quantdiff.sim.ops.transpose_conv import Span

EPSILON = 1e-8


@real("UNIDIRECTIONAL_SEQUENCE_LSTM float32")
def lstm(node: Node, x: Array, *others: Array | None) -> Array:
    """Run the cell over the sequence from a state of zero.

    Shapes: x (batch, time, inputs), or (time, batch, inputs) with time_major -> (…, outputs).
    """
    inputs: Inputs = (x, *others)
    by_time = bool(node.option("time_major", False))
    steps = x if by_time else np.swapaxes(x, 0, 1)
    recurrent = needed(inputs, RECURRENT_WEIGHTS + FORGET_GATE)
    state, cell = np.zeros((steps.shape[1], recurrent.shape[1])), np.zeros((steps.shape[1], len(recurrent)))
    shown = []
    for step in steps:
        cell, state = _advance(node, inputs, step, cell, state)
        shown.append(state)
    return np.stack(shown, axis=0 if by_time else 1)


def _advance(node: Node, inputs: Inputs, x: Array, cell: Array, state: Array) -> tuple[Array, Array]:
    forget, update = logistic(_gate(inputs, FORGET_GATE, x, state, cell)), _gate(inputs, CELL_GATE, x, state, cell)
    coupled = inputs[INPUT_WEIGHTS + INPUT_GATE] is None
    enter = 1 - forget if coupled else logistic(_gate(inputs, INPUT_GATE, x, state, cell))
    cell = forget * cell + enter * np.tanh(update)
    if (limit := float(node.option("cell_clip", 0.0))) > 0:
        cell = cell.clip(-limit, limit)
    hidden = logistic(_gate(inputs, OUTPUT_GATE, x, state, cell)) * np.tanh(cell)
    projection, offset = (given(inputs, i) for i in PROJECTION)
    if projection is None:
        return cell, hidden
    hidden = hidden @ projection.T + (0 if offset is None else offset)
    limit = float(node.option("proj_clip", 0.0))
    return cell, hidden.clip(-limit, limit) if limit > 0 else hidden


def _gate(inputs: Inputs, gate: int, x: Array, state: Array, cell: Array) -> Array:
    """Before its activation. Shape: (batch, cells)."""
    bias = needed(inputs, BIASES + gate)
    y = x @ needed(inputs, INPUT_WEIGHTS + gate).T + state @ needed(inputs, RECURRENT_WEIGHTS + gate).T
    if (peephole := given(inputs, PEEPHOLES.get(gate, -1))) is not None:
        y = y + cell * peephole
    if (norm := given(inputs, LAYER_NORMS[gate])) is not None:
        y = (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + EPSILON) * norm
    return np.asarray(y + bias)


def logistic(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


@real("TRANSPOSE_CONV float32")
def transpose_conv(node: Node, shape: Array, w: Array, x: Array, bias: Array | None = None) -> Array:
    """Every input adds a window to the output. Shapes: w (out, kh, kw, c), x (n, h, w, c) -> (n, …, out)."""
    out, taps_h, taps_w, _ = w.shape
    rows, columns = (
        Span(size, taps, int(node.option(f"stride_{side}", 1)), int(want), node.option("padding") == "SAME")
        for size, taps, side, want in zip(x.shape[1:3], (taps_h, taps_w), "hw", shape[1:3], strict=True)
    )
    whole = np.zeros((len(x), rows.whole, columns.whole, out))
    for i in range(taps_h):
        for j in range(taps_w):
            whole[:, rows.at(i), columns.at(j)] += x @ w[:, i, j].T
    y = whole[:, rows.before : rows.before + int(shape[1]), columns.before : columns.before + int(shape[2])]
    return y if bias is None else y + bias.reshape(-1)
