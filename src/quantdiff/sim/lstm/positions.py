"""Where the inputs of an LSTM stand: LiteRT ``tflite/kernels/lstm_shared.h``."""

from __future__ import annotations

from quantdiff.quant import Array
from quantdiff.sim.node import NoKernel

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
