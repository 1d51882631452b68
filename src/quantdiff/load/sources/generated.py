"""``FILE.py:function``: what a function yields, as people write it for the converter's ``representative_dataset``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from quantdiff.errors import BadData
from quantdiff.load.data import Batch, Slot, make_batch
from quantdiff.load.npz import UNPACKED, unpacked_at_most
from quantdiff.load.own_code import function_of, guarded
from quantdiff.quant import Array

PAIR = 2
LEAST = 1000  # bytes that an item counts as: Python keeps as many of the smallest


def from_function(source: str, slots: Sequence[Slot]) -> Batch:
    """Run the file that the user named and take what its function gives.

    The function returns or yields samples or batches: arrays, lists of them (one for each input), dicts of them, or
    pairs with labels; or it returns whole arrays by name. ``slots`` tell a sample from a batch; () takes batches.

    Raises:
        BadData: no such file or function, it fails, or gives what is no data.
    """
    given = function_of(source, BadData)()
    if isinstance(given, tuple) and len(given) == PAIR and all(isinstance(each, np.ndarray) for each in given):
        given = [given]
    if isinstance(given, Mapping):
        return make_batch({str(key): np.asarray(value) for key, value in given.items()}, source)
    if isinstance(given, np.ndarray):
        given = [given]
    if not isinstance(given, Iterable):
        raise BadData(f"{source}: gives a {type(given).__name__}; let it yield samples, or return arrays by name")
    return make_batch(guarded(source, BadData, lambda: _joined(source, given, slots)), source)


def _joined(source: str, given: Iterable[Any], slots: Sequence[Slot]) -> dict[str, Array]:
    """All items, one behind the other.

    Raises:
        BadData: they do not go together, or never end.
    """
    parts: dict[str, list[Array]] = {}
    room = unpacked_at_most()
    for number, item in enumerate(given):
        arrays = _named(item, slots)
        if slots and not isinstance(item, Mapping) and len(arrays.keys() - {"y"}) > len(slots):
            raise BadData(f"{source}: item {number} holds {len(arrays)} arrays, the model takes {len(slots)}")
        if number and arrays.keys() != parts.keys():
            raise BadData(f"{source}: item {number} names {_list(arrays)}, those before it {_list(parts)}")
        for key, array in arrays.items():
            known = parts.setdefault(key, [array[:0]])
            if array.shape[1:] != known[0].shape[1:]:
                raise BadData(f"{source}: item {number} holds {array.shape[1:]}, those before it {known[0].shape[1:]}")
            known.append(array)
            room -= max(array.nbytes, LEAST)
        if room < 0:
            raise BadData(
                f"{source}: gives more than {unpacked_at_most():,} bytes, or never ends; let it stop after some "
                f"samples, or set {UNPACKED} to as many bytes"
            )
    return {key: np.concatenate(each) for key, each in parts.items()}


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _named(item: Any, slots: Sequence[Slot]) -> dict[str, Array]:
    """One item by input, with samples along axis 0, and its labels as ``y``."""
    labels = None
    if _is_labelled(item, slots):
        item, labels = item
    if isinstance(item, Mapping):
        arrays = {str(key): np.asarray(value) for key, value in item.items()}
    elif isinstance(item, list | tuple):
        arrays = {str(i): np.asarray(value) for i, value in enumerate(item)}
    else:
        arrays = {"x": np.asarray(item)}
    if len(arrays) == 1 and not isinstance(item, Mapping):
        arrays = {"x": next(iter(arrays.values()))}
    shapes = dict(zip(arrays, slots, strict=False)) if len(slots) == len(arrays) else {}
    found = {key: array[None] if _is_sample(array, shapes.get(key)) else array for key, array in arrays.items()}
    if labels is not None:
        count = len(next(iter(found.values())))
        found["y"] = np.asarray(labels).reshape(count, -1).squeeze(-1) if np.size(labels) == count else _index(labels)
    return found


def _is_labelled(item: Any, slots: Sequence[Slot]) -> bool:
    """Whether an item is a pair of inputs and labels, and no list of two inputs."""
    if not isinstance(item, list | tuple) or len(item) != PAIR:
        return False
    first = item[0]
    if isinstance(first, list | tuple) and first and all(hasattr(each, "__array__") for each in first):
        return len(slots) in (0, len(first))
    return isinstance(first, Mapping) or len(slots) == 1 or (not slots and isinstance(item, tuple))


def _index(labels: Any) -> Array:
    """One-hot labels as numbers."""
    rows = np.atleast_2d(np.asarray(labels))
    return np.asarray(rows.argmax(axis=-1))


def _is_sample(array: Array, slot: Slot | None) -> bool:
    """Whether an array has no axis of samples."""
    if array.ndim == 0:
        return True
    return slot is not None and array.ndim == len(slot.shape) - 1
