"""A model as values: tensors, operators, graphs; no framework, no file handle in sight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.ops import INTO_FLOAT, RECODES, traits
from quantdiff.quant import Array, BlockQuant, Grid, QuantParams, Sparsity, is_float, unpack_integers

T = TypeVar("T")
PACKED = {"int4": 4, "uint4": 4, "int2": 2}  # bits per value
GRID_TYPES = ("int8", "uint8", "int16")  # of activations


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a subgraph.

    ``dtype`` is the TFLite name in lower case (``int8``, ``float32``, ``int4``, …). ``data`` is a read-only
    view of the file for constants, None for activations; it takes no part in equality or hash. The view has
    the tensor's shape, but for values that the file packs (``int4``, ``int2``, strings: bytes in one
    dimension) or leaves out (sparse: the stored ones in one dimension). ``bfloat16`` is seen as ``uint16``.
    ``block_scales``: where ``blocks`` lie along the last axis, float32. Shape: (rows, blocks).
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
    block_scales: Array | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str:
        """Its name, or its number where the file has none."""
        return self.name or f"tensor {self.index}"

    @property
    def grid(self) -> Grid | None:
        """Its integers as a grid; None for what has a scale per channel, none at all, or counts in other types."""
        quant = self.quant
        if quant is None or quant.axis is not None or len(quant.scale) != 1 or self.dtype not in GRID_TYPES:
            return None
        return Grid(quant, self.dtype, self.name)

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
    """One subgraph; operators stand in the order in which they run.

    ``in_half``: its file lets a runtime compute floats in 16 bits, sums too.
    """

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    in_half: bool = False
    _makers: Mapping[int, Operator] = field(init=False, compare=False, repr=False)
    _users: Mapping[int, tuple[Operator, ...]] = field(init=False, compare=False, repr=False)
    _ends: frozenset[int] = field(init=False, compare=False, repr=False)
    _stored: dict[int, Tensor | None] = field(init=False, default_factory=dict, compare=False, repr=False)
    _grids: dict[int, Grid | None] = field(init=False, default_factory=dict, compare=False, repr=False)
    _nearest: dict[int, tuple[int, Grid | None]] = field(init=False, default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        makers = {index: op for op in self.operators for index in op.outputs if index >= 0}
        users: dict[int, list[Operator]] = {}
        for op in self.operators:
            for index in dict.fromkeys(i for i in op.inputs if i >= 0):
                users.setdefault(index, []).append(op)
        object.__setattr__(self, "_makers", makers)
        object.__setattr__(self, "_ends", frozenset(self.outputs))
        object.__setattr__(self, "_users", {index: tuple(ops) for index, ops in users.items()})

    def producer(self, tensor: int) -> Operator | None:
        """The operator that writes a tensor; None for inputs and constants."""
        return self._makers.get(tensor)

    def readers(self, tensor: int) -> tuple[Operator, ...]:
        """The operators that read a tensor, in their order."""
        return self._users.get(tensor, ())

    def is_output(self, tensor: int) -> bool:
        """True for what the caller reads."""
        return tensor in self._ends

    def stored(self, tensor: int) -> Tensor | None:
        """The constant that a tensor is, or that it restates behind DEQUANTIZE, DENSIFY and the like; else None."""
        return follow(tensor, self._stored, self._toward_constant)

    def _toward_constant(self, tensor: int) -> tuple[int | None, Tensor | None]:
        found, maker = self.tensors[tensor], self.producer(tensor)
        if found.is_constant or maker is None or maker.op not in RECODES or not maker.inputs or maker.inputs[0] < 0:
            return None, found if found.is_constant else None
        return maker.inputs[0], None

    def grid(self, tensor: int) -> Grid | None:
        """The integers that a tensor's values lie on: its own, or those that it restates as floats."""
        return follow(tensor, self._grids, self._toward_grid)

    def _toward_grid(self, tensor: int) -> tuple[int | None, Grid | None]:
        own, maker = self.tensors[tensor].grid, self.producer(tensor)
        if own is not None or maker is None or not is_float(self.tensors[tensor].dtype):
            return None, own
        known = traits(maker.op)
        restates = maker.op == INTO_FLOAT or (known.moves and not known.joins)
        return (maker.inputs[known.x] if restates and known.x < len(maker.inputs) else None), None

    def grid_before(self, tensor: int) -> Grid | None:
        """The grid of a tensor or, where it has none, the steps of the nearest one before it.

        Floats that restate integers lie on their grid. What floats are computed from says how long a step is, and not
        where they end: a logit below 0 behind a ReLU's grid is nowhere cut off.
        """
        if not self._nearest:
            self._nearest.update(self._nearest_grids())
        found = self._nearest[tensor][1]
        return found if found is None or found == self.grid(tensor) else found.lent

    def _nearest_grids(self) -> dict[int, tuple[int, Grid | None]]:
        """Tensor → how many operators away the nearest grid is, and that grid."""
        nobody: tuple[int, Grid | None] = (len(self.operators) + 1, None)
        own = {t.index: None if t.is_constant else t.grid for t in self.tensors}
        found = {index: (0, grid) if grid is not None else nobody for index, grid in own.items()}
        for operator in self.operators:
            away, grid = min((found[i] for i in operator.inputs if i >= 0), key=itemgetter(0), default=nobody)
            for index in operator.outputs:
                if index >= 0 and own[index] is None:
                    found[index] = away + 1, grid
        return found


def follow(start: int, known: dict[int, T], step: Callable[[int], tuple[int | None, T]]) -> T:
    """What stands at the end of a chain: ``step`` gives the next link or None, and the answer where it ends.

    ``known`` keeps the answers, so that many questions about one long chain take one walk; the answer of a chain that
    bites its own tail, as in a damaged file, is that of its last link.
    """
    walked: list[int] = []
    link: int | None = start
    while link is not None and link not in known:
        walked.append(link)
        link, known[walked[-1]] = step(link)
    answer = known[walked[-1] if link is None else link]
    known.update(dict.fromkeys(walked, answer))
    return answer


@dataclass(frozen=True, slots=True)
class Metadata:
    """A named piece of bytes that the file carries along, such as ``min_runtime_version``."""

    name: str
    size: int
    data: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A whole file: subgraph 0 is the one that runs, others are bodies of IF and WHILE, or entry points.

    ``attached`` are the members of a zip archive that stands behind the flatbuffer, where some tools keep labels.
    ``content`` are the model's bytes where they are not those of the file at ``path``, but of a part of it.
    ``turned``: for each input how the axes of the data, samples aside, are turned for it where sizes do not say; () in
    a file as it was read. ``called``: by tensor the names that its converter says it has in the reference.
    """

    subgraphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    attached: tuple[Metadata, ...] = ()
    description: str = ""
    version: int = 3
    path: Path | None = field(default=None, compare=False)
    content: bytes | None = field(default=None, compare=False, repr=False)
    turned: tuple[tuple[int, ...], ...] = ()
    called: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def main(self) -> Graph:
        """Subgraph 0."""
        return self.subgraphs[0]

    def whole(self) -> bytes:
        """The model's bytes.

        Raises:
            OSError: its file is gone.
        """
        if self.content is not None:
            return self.content
        assert self.path is not None
        return self.path.read_bytes()


def dense_values(tensor: Tensor) -> Array:
    """A constant's values in the tensor's shape, copied only where the file packs them.

    ``int4`` and ``int2`` become int8, ``bfloat16`` becomes float32, sparse values are spread over zeros.

    Raises:
        BadModel: the tensor holds no constant, or its sparsity contradicts itself.
    """
    data = tensor.data
    if data is None:
        raise BadModel(f"tensor {tensor.index} {tensor.name!r} holds no constant: run the model to see its values")
    if tensor.dtype == "bfloat16":
        data = (data.astype(np.uint32) << 16).view(np.float32)
    if tensor.sparsity is not None:
        return _spread(tensor, tensor.sparsity, data)
    return unpack_integers(data, tensor.dtype, tensor.shape) if tensor.dtype in PACKED else data


def _spread(tensor: Tensor, sparsity: Sparsity, data: Array) -> Array:
    if tensor.dtype in PACKED:
        data = unpack_integers(data, tensor.dtype, (data.size * 8 // int(tensor.dtype[-1]),))
    try:
        where, node = sparsity.coordinates(tensor.shape)
        dense = np.zeros(tensor.shape, data.dtype)
        dense[where] = data[node]
    except (IndexError, ValueError, OverflowError, MemoryError) as error:
        raise BadModel(f"tensor {tensor.index} {tensor.name!r}: its sparsity contradicts itself") from error
    return dense


def real_values(tensor: Tensor) -> Array:
    """A constant in real units, double, in the tensor's shape.

    Raises:
        BadModel: as ``dense_values``.
    """
    values = dense_values(tensor)
    if tensor.block_scales is not None:
        return np.asarray(values * block_steps(tensor))
    if tensor.quant is None or not tensor.quant.scale:
        return values.astype(np.float64)
    scale, zero_point = tensor.quant.along(values.ndim)
    real: Array = (values.astype(np.int64) - zero_point) * scale.astype(np.float64)
    return real


def block_steps(tensor: Tensor) -> Array:
    """The step of every value of a tensor with scales per block, double, in its shape."""
    assert tensor.blocks is not None
    assert tensor.block_scales is not None
    return np.repeat(tensor.block_scales.astype(np.float64), tensor.blocks.block_size, axis=1).reshape(tensor.shape)


STATE = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")


def keeps_resources(graph: Graph) -> bool:
    """True when samples depend on those before them."""
    return any(operator.op in STATE for operator in graph.operators)
