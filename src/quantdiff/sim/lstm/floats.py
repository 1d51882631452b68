"""The LSTM cell in float32: LiteRT ``tflite/kernels/lstm_eval.cc`` (``EvalFloat``, ``LstmStepFloat``).

Its products are those of ``builtin`` dense layers (``floats/eigen.py``) under either resolver, its curves
Eigen's. tflm: ``tensorflow/lite/micro/kernels/lstm_eval.h`` (``LstmStep``), reference kernels and the C library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.floats import eigen, libm, neon
from quantdiff.sim.floats.elementwise import multiply_add
from quantdiff.sim.floats.products import row_products
from quantdiff.sim.hybrid import products_onto
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
from quantdiff.sim.node import Node, NoKernel, scale_of
from quantdiff.sim.ops.curves import logistic_with_ends
from quantdiff.sim.runtime import Runtime

LARGEST = np.finfo(np.float32).max
KEPT_AT = {INPUT_GATE: 0, CELL_GATE: 1, FORGET_GATE: 2, OUTPUT_GATE: 3}
"""Where each gate lies in LiteRT's scratch memory; one place earlier where the first is left out."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the batch, or all rows where a step takes them together.

    Attributes:
        whole: rows of the file's batch.
        batch: rows that a call of the kernel takes, one or all.
        row: the place of the first one in the file's batch; gates begin there, which decides what vectors hold.
    """

    node: Node
    inputs: Inputs
    runtime: Runtime
    whole: int
    batch: int
    row: int = 0

    def step(self, x: Array, cell: Array, state: Array) -> tuple[Array, Array]:
        """The next cell and output state. Shapes: x (rows, inputs), cell (rows, cells), state (rows, outputs)."""
        forget, update = self.gate(FORGET_GATE, x, state, cell), self.gate(CELL_GATE, x, state, cell)
        coupled = self.inputs[INPUT_WEIGHTS + INPUT_GATE] is None
        enter = np.float32(1) - forget if coupled else self.gate(INPUT_GATE, x, state, cell)
        cell = clipped(
            multiply_add(update, enter, forget * cell, self.runtime), float(self.node.option("cell_clip", 0.0))
        )
        hidden = self.gate(OUTPUT_GATE, x, state, cell) * self.tanh(cell)
        weights, bias = (given(self.inputs, position) for position in PROJECTION)
        if weights is None:
            return cell, hidden
        shown = self.added(hidden, PROJECTION[0], np.zeros(len(weights), np.float32) if bias is None else bias)
        return cell, clipped(shown, float(self.node.option("proj_clip", 0.0)))

    def gate(self, gate: int, x: Array, state: Array, cell: Array) -> Array:
        """A gate after its activation. Shape: (rows, cells)."""
        on_input, on_state, bias = INPUT_WEIGHTS + gate, RECURRENT_WEIGHTS + gate, needed(self.inputs, BIASES + gate)
        if self.runtime is Runtime.TFLM:
            w, r = needed(self.inputs, on_input), needed(self.inputs, on_state)
            y = row_products(x, w, bias, self.runtime, 1) + row_products(state, r, None, self.runtime, 1)
            return self.tanh(y) if gate == CELL_GATE else logistic_with_ends(y)
        bias = np.broadcast_to(bias, (len(x), len(bias)))
        y = self.added(state, on_state, np.where(self.silent(x), bias, self.added(x, on_input, bias)))
        peephole = given(self.inputs, PEEPHOLES.get(gate, -1))
        if peephole is not None:
            y = multiply_add(cell, self.real(peephole, PEEPHOLES[gate]), y, self.runtime)
        return self.tanh(y) if gate == CELL_GATE else self.logistic(y, gate)

    def silent(self, x: Array) -> Array:
        """Which calls see nothing but zeros, for which they add no products. Shape: (rows, 1)."""
        calls = np.any(x.reshape(-1, self.batch * x.shape[1]) != 0, axis=1)
        return ~np.repeat(calls, self.batch)[:, None]

    def real(self, w: Array, position: int) -> Array:
        """Stored weights as floats. Shape as ``w``."""
        return w if w.dtype == np.float32 else w.astype(np.float32) * scale_of(self.node.at(position))

    def added(self, x: Array, position: int, onto: Array) -> Array:
        """``x @ w.T`` onto what is there, ``w`` the input at ``position``. Shape: (rows, units).

        Floats of a single row are clamped after that, of several before; integers are scaled row by row, and those of
        nothing but zeros are left out.
        """
        w = needed(self.inputs, position)
        if w.dtype == np.int8:
            scale = scale_of(self.node.at(position))
            sums = products_onto(onto, self.node, x, w, scale, runtime=self.runtime, rows=self.batch)
            return np.where(self.silent(x), onto, sums)
        if self.batch == 1 and self.runtime.on_arm64:
            starts = np.broadcast_to(onto, (len(x), len(w)))
            rows = [neon.product(row[None], w, start) for row, start in zip(x, starts, strict=True)]
            return np.concatenate(rows).clip(-LARGEST, LARGEST)
        kernel = Runtime.BUILTIN_ARM64 if self.runtime.on_arm64 else Runtime.BUILTIN
        sums = row_products(x, w, None, kernel, self.batch)
        if self.batch > 1:
            return sums.clip(-LARGEST, LARGEST) + onto
        return (sums + onto).clip(-LARGEST, LARGEST)

    def tanh(self, x: Array) -> Array:
        """Of a gate or of the cell. Shape as ``x``."""
        return libm.apply("tanhf", x) if self.runtime is Runtime.TFLM else eigen.tanh(x, self.runtime)

    def logistic(self, x: Array, gate: int) -> Array:
        """Eigen's, in vectors from where addresses allow. Shape: (rows, cells)."""
        place = KEPT_AT[gate] - (self.inputs[INPUT_WEIGHTS + INPUT_GATE] is None)
        first = (place * self.whole + self.row) * x.shape[1]
        rows = x.reshape(-1, self.batch * x.shape[1])
        return eigen.logistic_of_rows(rows, -first % eigen.LANES, self.runtime).reshape(x.shape)


def run(node: Node, inputs: Inputs, runtime: Runtime) -> Array:
    """The outputs of all steps. Shapes: x (batch, time, inputs), or (time, batch, …) with time_major -> (…, outputs).

    Raises:
        NoKernel: the cell is one that these formulas do not cover.
    """
    check(node, inputs, runtime)
    x, by_time = needed(inputs, 0), bool(node.option("time_major", False))
    if by_time:
        return sequence(Cell(node, inputs, runtime, x.shape[1], x.shape[1]), x)
    rows = node.x.shape[0]  # samples, where there are several, have one row each
    if node.operator.op == "LSTM":  # one step, whose rows go together
        return np.swapaxes(sequence(Cell(node, inputs, runtime, rows, rows), np.swapaxes(x, 0, 1)), 0, 1)
    y = [sequence(Cell(node, inputs, runtime, rows, 1, row), np.swapaxes(x[row::rows], 0, 1)) for row in range(rows)]
    return np.stack([np.swapaxes(each, 0, 1) for each in y], axis=1).reshape(*x.shape[:2], -1)


def sequence(cell: Cell, steps: Array) -> Array:
    """All steps from a state of zero. Shapes: (time, rows, inputs) -> (time, rows, outputs)."""
    recurrent = needed(cell.inputs, RECURRENT_WEIGHTS + FORGET_GATE)
    kept, state = (np.zeros((steps.shape[1], n), np.float32) for n in recurrent.shape)
    outputs = []
    for step in steps:
        kept, state = cell.step(step, kept, state)
        outputs.append(state)
    return np.stack(outputs)


def check(node: Node, inputs: Inputs, runtime: Runtime) -> None:
    """Refuse what these formulas do not cover."""
    if any(t is not None and t.dtype not in ("float32", "int8") for t in node.inputs):
        raise NoKernel(f"types float32, weights {node.at(INPUT_WEIGHTS + FORGET_GATE).dtype}")
    check_stored(node, runtime)
    if node.activation != "TANH":
        raise NoKernel(f"activation {node.activation}")
    if any(given(inputs, position) is not None for position in LAYER_NORMS):
        raise NoKernel("layer normalization of floats, whose sums nobody has followed")
    rare = (*PEEPHOLES.values(), *PROJECTION)
    coupled = inputs[INPUT_WEIGHTS + INPUT_GATE] is None
    if runtime is Runtime.TFLM and (coupled or any(given(inputs, position) is not None for position in rare)):
        raise NoKernel("with coupled gates, peephole or projection, which TFLM does not have")
    if needed(inputs, RECURRENT_WEIGHTS + FORGET_GATE).ndim == 1:
        raise NoKernel("recurrent weights along the diagonal alone")


def check_stored(node: Node, runtime: Runtime) -> None:
    """Refuse integer weights that the kernel of dynamic range does not take, all of them or none."""
    weights = [node.inputs[k] for k in range(INPUT_WEIGHTS, BIASES) if k not in PEEPHOLES.values() and node.inputs[k]]
    stored = [t for t in node.inputs if t is not None and t.dtype == "int8"]
    if stored and runtime is Runtime.TFLM:
        raise NoKernel("a float cell on int8 weights, for which TFLM has no kernel")
    if stored and not all(t in stored for t in weights):
        raise NoKernel("weights some of which are int8, some float32")
    if any(scale_of(t).ndim for t in stored):
        raise NoKernel("int8 weights with a scale per channel, of which LiteRT reads none")


def clipped(x: Array, limit: float) -> Array:
    """Within a limit, where there is one. Shape as ``x``."""
    return x.clip(np.float32(-limit), np.float32(limit)) if limit > 0 else x
