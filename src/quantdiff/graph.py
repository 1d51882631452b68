"""A model as values: tensors, operators, graphs; no framework, no file handle in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from quantdiff.quant import Array, QuantParams


@dataclass(frozen=True, slots=True)
class BlockQuant:
    """Quantization per block; ``scales`` and ``zero_points`` are the indices of the tensors that hold them.

    ``kind`` is the schema's name: ``BlockwiseQuantization`` (blocks of ``block_size`` along one axis, or of
    ``block_shape``) or ``MultiAxisQuantization`` (one scale per position of ``axes``).
    """

    kind: str
    scales: int
    zero_points: int
    block_size: int
    block_shape: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SparseDimension:
    """One level of a sparse tensor: all ``size`` positions (``DENSE``) or listed ones (``SPARSE_CSR``)."""

    format: str
    size: int
    segments: Array | None = field(default=None, compare=False, repr=False)
    indices: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sparsity:
    """How the stored values of a sparse constant are spread: see ``SparsityParameters`` in the schema."""

    traversal_order: tuple[int, ...]
    block_map: tuple[int, ...]
    dimensions: tuple[SparseDimension, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a subgraph.

    ``dtype`` is the TFLite name in lower case (``int8``, ``float32``, ``int4``, …). ``data`` is a read-only
    view of the file for constants, None for activations; it takes no part in equality or hash. The view has
    the tensor's shape, but for values that the file packs (``int4``, ``int2``, strings: bytes in one
    dimension) or leaves out (sparse: the stored ones in one dimension). ``bfloat16`` is seen as ``uint16``.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quant: QuantParams | None = None
    shape_signature: tuple[int, ...] | None = None
    stored_zero_point: tuple[int, ...] = ()
    stored_min: tuple[float, ...] = ()
    stored_max: tuple[float, ...] = ()
    is_variable: bool = False
    data: Array | None = field(default=None, compare=False, repr=False)
    stored_axis: int = 0
    buffer: int = 0
    buffer_size: int = 0
    blocks: BlockQuant | None = None
    sparsity: Sparsity | None = None

    @property
    def is_constant(self) -> bool:
        """True for weights and other values that the file holds."""
        return self.data is not None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: ``op`` is the builtin's name (``CONV_2D``), or ``CUSTOM:<name>``.

    ``inputs`` and ``outputs`` are tensor indices; -1 is an input left out. ``options`` are the builtin
    options by their schema names in snake_case, enums by name; a custom op has bytes, ``custom_options``.
    """

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    version: int = 1
    options: Mapping[str, object] = field(default_factory=dict, compare=False)
    intermediates: tuple[int, ...] = ()
    custom_options: Array | None = field(default=None, compare=False, repr=False)


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


@dataclass(frozen=True, slots=True)
class Metadata:
    """A named piece of bytes that the file carries along, such as ``min_runtime_version``."""

    name: str
    size: int
    data: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A whole file: subgraph 0 is the one that runs, others are bodies of IF and WHILE, or entry points."""

    subgraphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    description: str = ""
    version: int = 3
    path: Path | None = field(default=None, compare=False)

    @property
    def main(self) -> Graph:
        """Subgraph 0."""
        return self.subgraphs[0]


def is_float(dtype: str) -> bool:
    """True for the floating-point dtypes."""
    return np.dtype(dtype).kind == "f" if dtype.startswith("float") else dtype == "bfloat16"
