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

NEAR = 0.25  # of a step: what a float that stands for an integer loses by few digits or bits


WIDER = (2, 4, 8)
NUMBERED = re.compile(r"(.*?)[ _.-]?(?:sample_?)?(\d{1,9})")
BUFFER = re.compile(r"^g_|_(?:data|buf|buffer|tensor)$")
"""What programs put around the name of a tensor."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The tensors of a dump, as the model has them.

    Attributes:
        values: by index, in the tensor's own type. Shapes: (runs, *shape of the tensor).
        runs: how many there are.
        notes: by index, how the dump's numbers were read where that was not as they stand.
        left_out: what the dump names besides.
    """

    values: Mapping[int, Array] = field(repr=False)
    runs: int
    notes: Mapping[int, str]
    left_out: str = ""


def bind_dump(dump: Dump, model: Model) -> Recorded:
    """The dump's arrays as tensors of the model's main graph.

    Raises:
        BadData: a name that is none of the model's, sizes or types that do not fit, constants of another model.
    """
    values, notes, found = dict[int, Array](), dict[int, str](), _Names(model, dump)
    others = list[str]()
    for name, array in _by_sample(dump.arrays, found):
        where = f"{dump.source}: {name}"
        if (tensor := found.tensor(name)) is None:
            others.append(name)
            continue
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
    if others and not values:
        raise BadData(found.unknown(others[0]))
    runs = _runs(dump, model, values)
    left_out = f"{', '.join(map(repr, others))}: no tensors of the model, left out" if others else ""
    return Recorded(values, runs, notes, left_out)


def _by_sample(arrays: Mapping[str, Array], names: _Names) -> Iterator[tuple[str, Array]]:
    """The arrays; those of one size whose names are that of a tensor and a number each, are its samples."""
    numbered = dict[str, dict[int, str]]()
    for name in arrays:
        if (told := NUMBERED.fullmatch(name)) and not names.is_told(name):
            numbered.setdefault(told[1], {})[int(told[2])] = name
    taken = set[str]()
    for stem, of_number in numbered.items():
        parts = [arrays[of_number[number]] for number in sorted(of_number)]
        known = all(names.knows(name) for name in of_number.values())
        if len(parts) > 1 and not known and names.knows(stem) and len({part.shape for part in parts}) == 1:
            yield stem, np.stack(parts)
            taken |= {*of_number.values()}
    yield from ((name, array) for name, array in arrays.items() if name not in taken)


def _runs(dump: Dump, model: Model, values: Mapping[int, Array]) -> int:
    sizes = {len(array): model.main.tensors[index].label for index, array in values.items()}
    if len(sizes) == 1:
        (runs,) = sizes
        if dump.manifest and dump.manifest.samples != runs:
            raise BadData(
                f"{dump.source}: holds {runs:,} samples, its own list says {dump.manifest.samples:,}; record again"
            )
        return runs
    told = ", ".join(f"{n:,} of {label!r}" for n, label in sorted(sizes.items()))
    few, *_, most = sorted(sizes) or (0, 0)
    hint = (
        f", or are its elements {most // few} times as wide" if few and most % few == 0 and most // few in WIDER else ""
    )
    raise BadData(f"{dump.source}: does not hold one number of samples ({told or 'none'}); is it cut off{hint}?")


class _Names:
    """Tensors by every name that people and C programs have for them."""

    def __init__(self, model: Model, dump: Dump) -> None:
        self._graph, self._source = model.main, dump.source
        self._told = {t.array: t.index for t in dump.manifest.tensors} if dump.manifest else {}
        self._printed = {name: array[0].size for name, array in dump.arrays.items()} if dump.printed else {}
        self._known: list[dict[str, set[int]]] = [{}, {}, {}]
        for rank, (name, index) in _names(model):
            for its, known in ((rank, name), (2, _plain(name))):
                self._known[its].setdefault(known, set()).add(index)

    def is_told(self, name: str) -> bool:
        """Whether the manifest says whose array it is."""
        return name in self._told

    def tensor(self, name: str) -> Tensor | None:
        """The tensor of a name; None for a printed word that is none's, with numbers that are none's.

        Raises:
            BadData: there is none, or several.
        """
        tensors = self._graph.tensors
        if name in self._told:
            if not 0 <= self._told[name] < len(tensors):
                raise BadData(
                    f"{self._source}: says that {name!r} is tensor {self._told[name]}, which is none; record again"
                )
            return tensors[self._told[name]]
        found = next(self._found(name), set[int]())
        if len(found) == 1:
            return tensors[found.pop()]
        if found:
            which = ", ".join(map(str, sorted(found)))
            raise BadData(f"{self._source}: {name!r} is the name of tensors {which}; give the number of the one it is")
        if name in self._printed and not any(
            prod(t.shape) == self._printed[name] for t in tensors if not t.is_constant
        ):
            return None
        raise BadData(self.unknown(name))

    def _found(self, name: str) -> Iterator[set[int]]:
        """By the whole name, then by what a program may have made of it, and by the last word of a line."""
        last = name.split()[-1:]
        for each in (name, *last, *(BUFFER.sub("", word) for word in last)):
            yield from (known[each] for known in self._known if each in known)
            yield from (known[_plain(each)] for known in self._known[2:] if _plain(each) in known)

    def knows(self, name: str) -> bool:
        """Whether it is the name of one tensor."""
        return len(next(self._found(name), ())) == 1

    def unknown(self, name: str) -> str:
        """That there is none of this name."""
        likely = get_close_matches(name, self._known[0], 1, 0)
        hint = f"; did you mean {likely[0]!r}?" if likely else ""
        return f"{self._source}: the model has no tensor {name!r}{hint} `quantdiff inspect` lists them by number"


def _plain(name: str) -> str:
    """Letters and figures, whatever stands between them."""
    return re.sub(r"\W+", "_", name).strip("_").lower()


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
    if sorted(given) == sorted(whole):
        order = list[int]()
        for size in given:  # of two axes of one size the one that comes first
            order.append(next(i for i, axis in enumerate(whole) if axis == size and i not in order))
        turned = array.reshape(given).transpose([order.index(i) for i in range(len(whole))])
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
    for told, read in _byte_orders(array):
        least, most = int(read.min()), int(read.max())
        if low <= least and most <= high:
            return read.astype(dtype), told
    other = np.dtype(("int" if dtype.kind == "u" else "uint") + f"{8 * dtype.itemsize}") if dtype.kind in "iu" else None
    least, most = int(array.min()), int(array.max())
    if other is not None and np.iinfo(other).min <= least and most <= np.iinfo(other).max:
        return array.astype(other).view(dtype), f"{other.name} shown for {dtype.name}: the same bits"
    raise BadData(f"{where}: holds {least} to {most}, a tensor of {tensor.dtype} cannot; it is of another model")


def _byte_orders(array: Array) -> Iterator[tuple[str, Array]]:
    """As it stands and with its bytes reversed, but no floats that are too small to be meant."""
    for told, read in (("", array), ("the other endianness", array.byteswap())):
        small = array.dtype.kind == "f" and (np.abs(read[read != 0]) < np.finfo(array.dtype).tiny).any()
        if not small and (not told or array.dtype.itemsize > 1):
            yield told, read


@np.errstate(over="ignore", invalid="ignore")
def _from_floats(array: Array, tensor: Tensor, where: str) -> tuple[Array, str]:
    """Whole numbers as they are, real values by scale and zero point."""
    ends = INTEGER_RANGE.get(tensor.dtype)
    if ends is None:
        raise BadData(f"{where}: holds {array.dtype}, the tensor {tensor.dtype}; dump it as it is stored")
    for told, read in _byte_orders(array):
        values = np.asarray(read, np.float64)
        for how, steps, near in _as_steps(values, tensor):
            whole = np.round(steps)
            fits = (np.abs(steps - whole) <= near).all() and ends[0] <= whole.min() and whole.max() <= ends[1]
            if fits and np.isfinite(values).all():
                return whole.astype(tensor.dtype), ", ".join(each for each in (told, how) if each)
    if not np.isfinite(array).all():
        raise BadData(f"{where}: holds NaN or infinity, the tensor {tensor.dtype}; dump it as it is stored")
    raise BadData(
        f"{where}: holds fractions that are no steps of {tensor.label!r}; dump the integers, print more "
        "digits, or leave it out"
    )


def _as_steps(values: Array, tensor: Tensor) -> Iterator[tuple[str, Array, float]]:
    yield "", values, 0.0
    if (grid := tensor.grid) is not None and grid.params.scale[0]:
        steps = values / grid.params.scale[0] + grid.params.zero_point[0]
        yield "real values, by scale and zero point", steps, NEAR
