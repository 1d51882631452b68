"""Data sets, from ``.npz`` and ``.npy`` files or from memory, checked once when they are read.

Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadData
from quantdiff.files import state_of
from quantdiff.load.npz import check_samples, read_arrays, shape_text
from quantdiff.quant import Array

SAMPLES, LABELS = ("x", "x_test"), ("y", "y_test")
SUFFIXES = (".npz", ".npy")
TRAINING = ("x_train", "y_train")
Order = tuple[int, ...]
"""For each axis of a sample the one that it is made of; () as it is."""
AXES = {2: ("NCW", "NWC"), 3: ("NCHW", "NHWC"), 4: ("NCDHW", "NDHWC")}
"""By how many axes a sample has what the two are called."""


def order_name(order: Order) -> str:
    """``NCHW → NHWC``."""
    first, last = AXES.get(len(order), ("", ""))
    if order == channels_last(len(order)):
        return f"{first} → {last}"
    return f"{last} → {first}" if order == channels_first(len(order)) else f"axes → {list(order)}"


def channels_last(axes: int) -> Order:
    """The first axis of a sample at the end."""
    return (*range(1, axes), 0)


def channels_first(axes: int) -> Order:
    """The last axis of a sample in front."""
    return (axes - 1, *range(axes - 1))


class UnknownInputs(BadData):
    """Arrays whose names say of no input that they are it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in the reference's float units, named as in the file, and the labels where it has them.

    Every array has the samples along axis 0.

    Attributes:
        arrays: by name, each of shape (samples, …): one per input of the model; two batches are equal without them.
        labels: int64 of shape (samples,): the right class of each; None where the file has none.
        source: where they come from, for messages.
    """

    arrays: Mapping[str, Array] = field(compare=False, repr=False)
    labels: Array | None = field(default=None, compare=False, repr=False)
    source: str = "memory"

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def part(self, rows: slice) -> Batch:
        """Some of the samples, without labels."""
        return Batch({name: array[rows] for name, array in self.arrays.items()}, None, self.source)

    def labelled_part(self, rows: slice) -> Batch:
        """Some of the samples, with their labels."""
        return replace(self.part(rows), labels=None if self.labels is None else self.labels[rows])


@dataclass(frozen=True, slots=True)
class Slot:
    """What a model asks of one input: its name, dtype and shape; None or -1 stand for any size.

    ``aliases`` are the other names under which people know this input. ``order``: how the axes of the data, samples
    aside, are turned for it, where their sizes do not say.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    aliases: tuple[str, ...] = ()
    order: Order = ()


EVERY = slice(None)  # of the samples


def load_batch(path: Path, rows: slice = EVERY) -> Batch:
    """Read samples and labels: key ``x`` (or ``x_test``) and ``y`` (or ``y_test``), else by order.

    Args:
        path: an ``.npz``, or an ``.npy`` with samples alone. What is not compressed stays in the file.
        rows: the samples that are wanted; no others are looked at.

    Returns:
        Samples of shape (samples, …) in the model's float units, and labels of shape (samples,).

    Raises:
        BadData: no such file, not an array file, pickled objects, an empty set, NaN or infinity, labels
            that are not one integer per sample.
    """
    return make_batch(read_arrays(path) if rows == EVERY else _kept_open(path, state_of(path)), str(path), rows)


def count_samples(path: Path) -> int:
    """How many samples an ``.npz`` or ``.npy`` holds; none of them is looked at.

    Raises:
        BadData: as ``load_batch``, but for what the samples hold.
    """
    samples, _ = _told_apart(_kept_open(path, state_of(path)), str(path))
    return _length(samples, str(path))


@lru_cache(maxsize=1)
def _kept_open(path: Path, state: tuple[object, ...]) -> dict[str, Array]:
    """The arrays of a file that is read part by part: it is unpacked, or its checksums are compared, once a state."""
    del state
    return read_arrays(path)


def make_batch(arrays: Mapping[str, Array], source: str, rows: slice = EVERY) -> Batch:
    """Tell samples from labels and check both; see ``load_batch``.

    Where the samples are called ``x``, other arrays count as further inputs only if they have a row a sample.

    Args:
        arrays: by name, each of shape (samples, …), numbers in the model's float units.
        source: where they come from, for messages.
        rows: the samples that are wanted; values of others are not checked.

    Returns:
        The same arrays, nothing copied; labels as int64 of shape (samples,).

    Raises:
        BadData: no samples, none that are numbers, lengths that differ, NaN or infinity, labels that are not one
            integer per sample.
    """
    samples, labels = _told_apart(arrays, source)
    for name, array in samples.items():
        check_samples(name, array, source, rows)
    count = _length(samples, source)
    if labels is not None:
        labels = _check_labels(labels, count, source)
    whole = Batch(samples, labels, source)
    return whole if rows == EVERY else whole.labelled_part(rows)


def _told_apart(arrays: Mapping[str, Array], source: str) -> tuple[dict[str, Array], Array | None]:
    """Samples and labels."""
    labels = next((arrays[key] for key in LABELS if key in arrays), None)
    samples = {name: array for name, array in arrays.items() if name not in (*LABELS, *TRAINING)}
    main = next((name for name in SAMPLES if name in samples), None)
    if main is not None:
        count = samples[main].shape[:1]
        others = {name: array for name, array in samples.items() if name != main and array.shape[:1] == count}
        samples = {main: samples[main], **others}
    if not samples:
        raise BadData(f"{source}: holds no samples; save them as `x`, labels as `y`: np.savez(file, x=…, y=…)")
    return samples, labels


def _length(samples: Mapping[str, Array], source: str) -> int:
    lengths = {len(array) if array.ndim else 0 for array in samples.values()}
    if len(lengths) > 1:
        raise BadData(f"{source}: arrays of unequal length {sorted(lengths)}; each needs one row a sample")
    return lengths.pop()


def bind(batch: Batch, slots: Sequence[Slot], model: str) -> tuple[Array, ...]:
    """One array per input of the model, in the model's order; shapes checked.

    One input takes the array of its name, else ``x``, else the only one. Several take the arrays of their names, of
    their places (``0``, ``1``, … or ``arr_0``, ``arr_1``, …), or the only ones whose shapes fit.

    Raises:
        UnknownInputs: names that fit nothing, and shapes that leave a choice.
        BadData: too few arrays, or a shape that does not fit; the message names both shapes.
    """
    chosen = _chosen(batch, slots, model)
    return tuple(_fit(array, slot, batch.source, model) for array, slot in zip(chosen, slots, strict=True))


def bound_names(batch: Batch, slots: Sequence[Slot], model: str) -> tuple[str, ...]:
    """The names of the arrays that ``bind`` takes; raises as it does."""
    chosen = _chosen(batch, slots, model)
    return tuple(next(name for name, array in batch.arrays.items() if array is each) for each in chosen)


def _chosen(batch: Batch, slots: Sequence[Slot], model: str) -> Sequence[Array]:
    if len(batch.arrays) < len(slots):
        raise UnknownInputs(
            f"{batch.source}: has {len(batch.arrays)} array(s), {model} has {len(slots)} inputs; "
            f"name the arrays: {wanted_names(slots)}"
        )
    chosen = _by_name(batch.arrays, slots) or _by_place(batch.arrays, slots) or _by_shape(batch.arrays, slots)
    if chosen is None:
        arrays, wanted = ", ".join(batch.arrays), wanted_names(slots)
        raise UnknownInputs(f"{batch.source}: arrays {arrays} are no inputs of {model}; name them {wanted}")
    return chosen


def wanted_names(slots: Sequence[Slot]) -> str:
    """``left, right (or 0, 1 in this order)``."""
    order = f" (or {', '.join(str(i) for i, _ in enumerate(slots))} in this order)" if len(slots) > 1 else ""
    plain = (slot.aliases[-1] if ":" in slot.name and slot.aliases else slot.name for slot in slots)
    return ", ".join(plain) + order


def _by_name(arrays: Mapping[str, Array], slots: Sequence[Slot]) -> list[Array] | None:
    """The arrays that bear the inputs' names; with one input also the samples, and an array that is alone."""
    names = [(slot.name, *slot.aliases) for slot in slots]
    found = [next((arrays[name] for name in each if name in arrays), None) for each in names]
    if len(slots) == 1 and found[0] is None:
        found = [next((arrays[name] for name in SAMPLES if name in arrays), None)]
        found = [next(iter(arrays.values()))] if found[0] is None and len(arrays) == 1 else found
    known = [array for array in found if array is not None]
    return known if len(known) == len(slots) else None


def _by_place(arrays: Mapping[str, Array], slots: Sequence[Slot]) -> list[Array] | None:
    """Arrays that are numbered, as ``np.savez(file, a, b)`` does."""
    for prefix in ("", "arr_"):
        names = [f"{prefix}{i}" for i, _ in enumerate(slots)]
        if all(name in arrays for name in names):
            return [arrays[name] for name in names]
    return None


def _by_shape(arrays: Mapping[str, Array], slots: Sequence[Slot]) -> list[Array] | None:
    """The one array of each input's shape, where no array fits two inputs."""
    fitting = [[n for n, array in arrays.items() if _fits(array, slot)] for slot in slots]
    if len(slots) > 1 and all(len(each) == 1 for each in fitting) and len({each[0] for each in fitting}) == len(slots):
        return [arrays[name] for (name,) in fitting]
    return None


def _fits(array: Array, slot: Slot) -> bool:
    return any(_matches(array.shape[1:], wanted) for wanted in (slot.shape[1:], slot.shape))


def _fit(array: Array, slot: Slot, source: str, model: str) -> Array:
    """The array, with axes of size 1 added or removed, or channels first or last, where that alone makes it fit."""
    wanted = slot.shape[1:]
    if slot.order and len(slot.order) == array.ndim - 1:
        return turned(array, slot.order)
    if _fits(array, slot):
        return array
    if [n for n in array.shape[1:] if n != 1] == [n for n in wanted if n != 1] and None not in wanted:
        return array.reshape(len(array), *(n for n in wanted if n is not None))
    if order := turn_into(array, slot):
        return turned(array, order)
    raise BadData(
        f"{source}: samples of shape {shape_text(array.shape[1:])} do not fit input {slot.name!r} of {model}, "
        f"which takes {shape_text(wanted)}; reshape the data"
    )


def turn_into(array: Array, slot: Slot) -> Order:
    """The order of its axes in which alone an array fits an input, channels first or last; () where it needs none."""
    shape, wanted = array.shape[1:], slot.shape[1:]
    if slot.order or _fits(array, slot) or [n for n in shape if n != 1] == [n for n in wanted if n != 1]:
        return ()
    return next(iter(turns(shape, wanted)), ())


def turns(shape: Sequence[int], wanted: Sequence[int | None]) -> list[Order]:
    """The orders of axes, channels first or last, in which an image or a row of one shape has another; itself aside."""
    if len(shape) not in AXES or len(wanted) != len(shape):
        return []
    orders = dict.fromkeys((channels_last(len(shape)), channels_first(len(shape))))
    return [order for order in orders if _matches([shape[axis] for axis in order], wanted)]


def _matches(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, -1, n) for n, w in zip(shape, wanted, strict=True))


def _check_labels(labels: Array, count: int, source: str) -> Array:
    if labels.ndim == 2 and labels.shape[1] == 1:  # noqa: PLR2004 (a column of labels)
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise BadData(
            f"{source}: labels of shape {shape_text(labels.shape)} and type {labels.dtype} for {count} samples; "
            "give one integer per sample"
        )
    return labels.astype(np.int64)


def turned(array: Array, order: Order) -> Array:
    """Samples with their axes in another order, as a view; () leaves them."""
    if not order or array.ndim != len(order) + 1:
        return array
    return array.transpose(0, *(axis + 1 for axis in order))


MEMORY = "data in memory"
"""The source of data that are in no file."""


def as_batch(data: Any) -> Batch:
    """A ``Batch`` of a file, of an array (samples along axis 0), of ``(x, y)``, or of arrays by input name.

    Raises:
        BadData: an empty set, NaN or infinity, labels that are not one integer per sample; a file that is none.
    """
    if isinstance(data, str | Path):
        return load_batch(Path(data))
    if isinstance(data, Batch):
        return data
    if isinstance(data, tuple) and len(data) == 2:  # noqa: PLR2004 (samples and labels, as fit takes them)
        data = dict(zip(("x", "y"), data, strict=True))
    arrays = data if isinstance(data, Mapping) else {"x": data}
    return make_batch({name: np.asarray(array) for name, array in arrays.items()}, MEMORY)
