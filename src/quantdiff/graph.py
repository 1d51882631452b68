"""A model as values: tensors, operators, graphs; no framework, no file handle in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quantdiff.quant import Array, QuantParams


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a subgraph.

    ``dtype`` is the TFLite name in lower case (``int8``, ``float32``, ``int4``, …). ``data`` is a read-only
    view of the file for constants, None for activations; it takes no part in equality or hash.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quant: QuantParams | None = None
    shape_signature: tuple[int, ...] | None = None
    stored_min: tuple[float, ...] = ()
    stored_max: tuple[float, ...] = ()
    is_variable: bool = False
    data: Array | None = field(default=None, compare=False, repr=False)

    @property
    def is_constant(self) -> bool:
        """True for weights and other values that the file holds."""
        return self.data is not None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: ``op`` is the builtin's name (``CONV_2D``), or ``CUSTOM:<name>``.

    ``inputs`` and ``outputs`` are tensor indices; -1 is an input left out. ``options`` are the builtin
    options by their schema names in snake_case.
    """

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    version: int = 1
    options: Mapping[str, object] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """A named entry point: argument name → tensor index, result name → tensor index."""

    key: str
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    subgraph: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """One subgraph; operators stand in the order in which they run."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def is_float(dtype: str) -> bool:
    """True for the floating-point dtypes."""
    return np.dtype(dtype).kind == "f" if dtype.startswith("float") else dtype == "bfloat16"
