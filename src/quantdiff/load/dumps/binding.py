"""Which array of a dump is which tensor of a model, and how its numbers are to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod

import numpy as np

from quantdiff.errors import BadData
from quantdiff.graph import Graph, Model, Tensor, dense_values
from quantdiff.load.dumps.forms import Dump
from quantdiff.quant import INTEGER_RANGE, Array

NEAR = 0.01  # of a step: what a float that stands for an integer may be off


@dataclass(frozen=True, slots=True)
class Recorded:
    """The tensors of a dump, as the model has them.

    Attributes:
        values: by index, in the tensor's own type. Shapes: (runs, *shape of the tensor).
        runs: how many there are.
        notes: by index, how the dump's numbers were read where that was not as they stand.
    """

    values: Mapping[int, Array] = field(repr=False)
    runs: int
    notes: Mapping[int, str]


def bind_dump(dump: Dump, model: Model) -> Recorded:
    """The dump's arrays as tensors of the model's main graph.

    Raises:
        BadData: a name that is none of the model's, sizes or types that do not fit, constants of another model.
    """
    values, notes, found = dict[int, Array](), dict[int, str](), _Names(model, dump)
    for name, array in dump.arrays.items():
        tensor = found.tensor(name)
        where = f"{dump.source}: {name}"
        if tensor.is_constant:
            _check_constant(tensor, array, where)
            continue
        if tensor.index in values:
            raise BadData(f"{where}: tensor {tensor.label!r} is there twice; leave one of them")
        ours = found.is_told(name) and array.ndim > 0  # with the shapes that the runtime gave it
        shaped, turned = (array, "") if ours else _shaped(array, tensor, where)
        typed, read = _typed(shaped, tensor, where)
        values[tensor.index] = typed
        if told := ", ".join(each for each in (turned, read) if each):
            notes[tensor.index] = told
    sizes = {len(array): index for index, array in values.items()}
    if len(sizes) != 1:
        told_sizes = ", ".join(f"{n} of {model.main.tensors[i].label!r}" for n, i in sorted(sizes.items()))
        raise BadData(f"{dump.source}: does not hold one number of samples ({told_sizes or 'none'}); is it cut off?")
    return Recorded(values, next(iter(sizes)), notes)


class _Names:
    """Tensors by every name that people and C programs have for them."""

    def __init__(self, model: Model, dump: Dump) -> None:
        self._graph, self._source = model.main, dump.source
        self._told = {t.array: t.index for t in dump.manifest.tensors} if dump.manifest else {}
        self._known: list[dict[str, set[int]]] = [{}, {}]
        for rank, (name, index) in _names(model):
            self._known[rank].setdefault(name, set()).add(index)

    def is_told(self, name: str) -> bool:
        """Whether the manifest says whose array it is."""
        return name in self._told

    def tensor(self, name: str) -> Tensor:
        """The tensor of a name.

        Raises:
            BadData: there is none, or several.
        """
        if name in self._told and 0 <= self._told[name] < len(self._graph.tensors):
            return self._graph.tensors[self._told[name]]
        found = next((known[name] for known in self._known if name in known), set[int]())
        if len(found) == 1:
            return self._graph.tensors[found.pop()]
        if found:
            which = ", ".join(map(str, sorted(found)))
            raise BadData(f"{self._source}: {name!r} is the name of tensors {which}; give the number of the one it is")
        likely = get_close_matches(name, self._known[0], 1, 0)
        hint = f"; did you mean {likely[0]!r}?" if likely else ""
        raise BadData(
            f"{self._source}: the model has no tensor {name!r}{hint} `quantdiff inspect` lists them by number"
        )


def _names(model: Model) -> Iterator[tuple[int, tuple[str, int]]]:
    """Rank, and name with index: what the file says, and what is made of that."""
    graph = model.main
    signature = next((s for s in model.signatures if s.subgraph == 0), None)
    for name, index in (*signature.inputs, *signature.outputs) if signature else ():
        yield 0, (name, index)
    for tensor in graph.tensors:
        plain = tensor.name.removesuffix(":0").removeprefix("serving_default_")
        for name in {tensor.name} - {""}:
            yield 0, (name, tensor.index)
        for name in {plain, _in_c(tensor.name), _in_c(plain)} - {"", tensor.name}:
            yield 1, (name, tensor.index)
        for name in (f"{tensor.index}", f"t{tensor.index}", f"tensor_{tensor.index}"):
            yield 1, (name, tensor.index)
    yield from ((1, each) for each in _by_place(graph))


def _by_place(graph: Graph) -> Iterator[tuple[str, int]]:
    for word, side in (("input", graph.inputs), ("output", graph.outputs)):
        for place, index in enumerate(side):
            for name in (f"{word}_{place}", f"{word}{place}", *((word,) if len(side) == 1 else ())):
                yield name, index


def _in_c(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _check_constant(tensor: Tensor, array: Array, where: str) -> None:
    """It may be there once, or for each sample, as an output is."""
    stored = dense_values(tensor).reshape(-1)
    times = array.size // max(stored.size, 1)
    if times * stored.size != array.size or not np.array_equal(np.tile(stored, times), np.reshape(array, -1)):
        raise BadData(f"{where}: not the constant {tensor.label!r} of this file; the dump is of another model")


def _shaped(array: Array, tensor: Tensor, where: str) -> tuple[Array, str]:
    """Runs in front; and in which order of axes the dump had them, where its shape says another one."""
    each = prod(tensor.shape)
    if array.size == 0 or each == 0 or array.size % each:
        raise BadData(
            f"{where}: {array.size:,} numbers are no whole number of samples of shape {list(tensor.shape)}; "
            "the dump is cut off or of another model"
        )
    runs = array.size // each
    whole, given = _long((runs, *tensor.shape)), _long(array.shape)
    flat = (
        _long((runs, each)),
        _long((runs * each,)),
        _long((runs * tensor.shape[0], each // tensor.shape[0])) if tensor.shape else (),
    )
    if given == whole or given in flat:
        return array.reshape(runs, *tensor.shape), ""
    axes = _long(tensor.shape)
    inside = given[1:] if runs > 1 else given
    if (runs == 1 or given[:1] == (runs,)) and sorted(inside) == sorted(axes):
        order = list[int]()
        for size in inside:  # of two axes of one size the one that comes first
            order.append(next(i for i, axis in enumerate(axes) if axis == size and i not in order))
        turned = np.moveaxis(array.reshape(runs, *inside), range(1, len(axes) + 1), [1 + i for i in order])
        return turned.reshape(runs, *tensor.shape), f"its shape {list(array.shape)} has the axes in another order"
    raise BadData(f"{where}: shape {list(array.shape)}, the tensor has {list(tensor.shape)}; it is of another model")


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that are longer than 1."""
    return tuple(size for size in shape if size > 1)


def _typed(array: Array, tensor: Tensor, where: str) -> tuple[Array, str]:
    """The array in the tensor's own type, and how its numbers were read where they are of another kind."""
    dtype = np.dtype(tensor.dtype) if tensor.dtype != "bfloat16" else np.dtype(np.uint16)
    if array.dtype.newbyteorder("=") == dtype:
        return np.asarray(array, dtype), ""
    if array.dtype.kind not in "biuf":
        raise BadData(f"{where}: holds {array.dtype}, which are no numbers")
    if dtype.kind == "f":
        return array.astype(dtype), "" if array.dtype.kind == "f" else f"{array.dtype.name} for {dtype.name}"
    if array.dtype.kind == "f":
        return _from_floats(array, tensor, where)
    low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    least, most = int(array.min()), int(array.max())
    if low <= least and most <= high:
        return array.astype(dtype), ""
    other = np.dtype(("int" if dtype.kind == "u" else "uint") + f"{8 * dtype.itemsize}") if dtype.kind in "iu" else None
    if other is not None and np.iinfo(other).min <= least and most <= np.iinfo(other).max:
        return array.astype(other).view(dtype), f"{other.name} shown for {dtype.name}: the same bits"
    raise BadData(f"{where}: holds {least} to {most}, a tensor of {tensor.dtype} cannot; it is of another model")


def _from_floats(array: Array, tensor: Tensor, where: str) -> tuple[Array, str]:
    """Whole numbers as they are, real values by scale and zero point."""
    ends = INTEGER_RANGE.get(tensor.dtype)
    if ends is None or not np.isfinite(array).all():
        what = array.dtype if ends is None else "NaN or infinity"
        raise BadData(f"{where}: holds {what}, the tensor {tensor.dtype}; dump it as it is stored")
    values = np.asarray(array, np.float64)
    if (values == np.round(values)).all() and ends[0] <= values.min() and values.max() <= ends[1]:
        return values.astype(tensor.dtype), ""
    grid = tensor.grid
    if grid is not None and grid.params.scale[0]:
        steps = values / grid.params.scale[0] + grid.params.zero_point[0]
        if (
            (np.abs(steps - np.round(steps)) < NEAR).all()
            and ends[0] <= np.round(steps.min())
            and np.round(steps.max()) <= ends[1]
        ):
            return np.round(steps).astype(tensor.dtype), "real values, by scale and zero point"
    raise BadData(
        f"{where}: holds fractions that are no steps of {tensor.label!r}; dump the integers, or {tensor.dtype}"
    )
