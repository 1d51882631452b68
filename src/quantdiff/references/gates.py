"""The sums of products inside a recurrent layer, by paths of their own, whoever trained it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quantdiff.layer import Layer
from quantdiff.quant import Array

DENSE = "FULLY_CONNECTED"
GATES = ("input", "forget", "cell", "output")
"""Of an LSTM, in the order of Keras and PyTorch, in TFLite's words."""


def gates(path: str, kind: str, kernels: Sequence[Array], biases: Sequence[Array | None]) -> Iterator[Layer]:
    """What multiplies the input and what the state; kernels as (gates * units, depth), as TFLite has them.

    An LSTM is told twice, gate by gate and all gates in one: a converter writes it either way.
    """
    (kernel, recurrent), (first, second) = kernels, biases
    yield Layer(f"{path}/input_to_gates", kind, (), kernel=kernel, bias=first, op=DENSE)
    yield Layer(f"{path}/recurrent_to_gates", kind, (), kernel=recurrent, bias=second, op=DENSE)
    parts = len(GATES) if kind == "LSTM" else 0
    for gate, own, state, bias in zip(
        GATES, _split(kernel, parts), _split(recurrent, parts), _split(first, parts), strict=False
    ):
        yield Layer(f"{path}/input_to_{gate}", kind, (), kernel=own, bias=bias, op=DENSE)
        yield Layer(f"{path}/recurrent_to_{gate}", kind, (), kernel=state, op=DENSE)


def _split(rows: Array | None, parts: int) -> Sequence[Array | None]:
    """The rows of each gate."""
    return [None] * parts if rows is None or not parts else np.split(rows, parts)
