"""How numbers of a dump can be meant, and what overwrote them: each reading is tried, and its elements are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from math import prod

import numpy as np

from quantdiff.quant import Array

STEPS = 2
"""Integers that rounding otherwise may be apart."""
RELATIVE = 1e-3
"""Of the largest value: what float arithmetic in another order or type may be apart."""
FITS = 0.99
"""Share of the elements that a reading brings into place."""
LOOKED_AT = 16  # samples
AXES_AT_MOST = 4
WINDOW, DISTINCT = 16, 4  # bytes that are looked for elsewhere, and how many different ones make them telling
LETTERS = {3: ("H", "W", "C"), 2: ("H", "W")}


@dataclass(frozen=True, slots=True)
class Meant:
    """What fits the numbers of a tensor best.

    Attributes:
        kind: ``rounding``, ``reading``, ``constant``, ``samples``, ``overwritten``, ``arithmetic`` or ``unknown``.
        text: in words.
        wrong: elements that are still otherwise, so understood; None where nothing can be counted.
        values: the tensor so read; None where what it held is lost.
    """

    kind: str
    text: str
    wrong: int | None = None
    values: Array | None = field(default=None, compare=False, repr=False)


def alike(ours: Array, theirs: Array) -> Array:
    """Which elements are no further apart than arithmetic of another kind makes them."""
    if ours.dtype.kind == "f":
        known = np.abs(theirs[np.isfinite(theirs)], dtype=np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            near: Array = np.abs(ours.astype(np.float64) - theirs) <= RELATIVE * float(known.max(initial=0))
        same: Array = near | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        return same
    apart: Array = np.abs(ours.astype(np.int64) - theirs.astype(np.int64)) <= STEPS
    return apart


def wrong_elements(ours: Array, theirs: Array) -> int:
    """Elements that differ: integers by any bit, floats beyond ``RELATIVE``."""
    if ours.dtype.kind == "f":
        return int(np.count_nonzero(~alike(ours, theirs)))
    return int(np.count_nonzero(ours != theirs))


def meant(device: Array, expected: Array, others: Mapping[str, Array]) -> Meant:
    """Why a tensor that was recorded is not what is expected; ``others`` are tensors that may lie in its memory.

    Shapes: all (runs, *shape of the tensor).
    """
    near = alike(device, expected)
    if near.all():
        return Meant("rounding", _distance(device, expected), wrong_elements(device, expected))
    lost = _constant(device, expected, near) or _of_other_samples(device, expected)
    return (
        lost
        or _read_otherwise(device, expected, near)
        or _overwritten(device, near, others)
        or _cut_off(device, expected, near)
        or _left(device, expected)
    )


def _distance(device: Array, expected: Array) -> str:
    if device.dtype.kind == "f":
        return f"by at most {np.abs(device.astype(np.float64) - expected).max():.2g}"
    most = int(np.abs(device.astype(np.int64) - expected.astype(np.int64)).max())
    return f"by at most {most} step{'s' if most > 1 else ''}"


def _constant(device: Array, expected: Array, near: Array) -> Meant | None:
    """Memory that nothing was written to: one value where others belong."""
    flat, wanted, wrong = (a.reshape(len(a), -1) for a in (device, expected, ~near))
    columns = np.flatnonzero(wrong.any(axis=0))
    first, last = int(columns[0]), int(columns[-1]) + 1
    held = flat[:, first:last]
    value = held.flat[0]
    if held.size < DISTINCT or not (held == value).all() or (wanted[:, first:last] == value).all():
        return None
    where = "all of it" if last - first == flat.shape[1] else f"elements {first:,} to {last - 1:,} of each sample"
    return Meant("constant", f"never written: {where} is {value.item():g}")


def _of_other_samples(device: Array, expected: Array) -> Meant | None:
    """Values of another sample than the one that was fed."""
    count = len(device)
    found = dict[int, int]()
    for run in range(min(count, LOOKED_AT)):
        for other in sorted(range(count), key=lambda k: abs(k - run)):
            if alike(device[run : run + 1], expected[other : other + 1]).all():
                found[run] = other
                break
    moved = {run: other for run, other in found.items() if run != other}
    if count < 2 or len(found) < min(count, LOOKED_AT) - 1 or not moved:  # noqa: PLR2004 (of one sample there is no other)
        return None
    away = {other - run for run, other in found.items() if run not in (0, count - 1)}
    if len({*found.values()}) == 1:
        text = f"the same in every sample: what sample {next(iter(found.values()))} gives"
    elif away in ({-1}, {1}):
        text = f"a sample late: each holds what the one {'before' if away == {-1} else 'behind'} it gives"
    else:
        text = "the samples are in another order"
    return Meant("samples", text)


def _read_otherwise(device: Array, expected: Array, near: Array) -> Meant | None:
    """The reading that brings most elements into place, if that is nearly all of them."""
    few = min(len(device), LOOKED_AT)
    best, share = "", float(near[:few].mean())
    found = _one_way(device[:few], expected[:few])
    for text, values in [
        *found,
        *(_two_ways(device[:few]) if all(_share(v, expected[:few]) < FITS for _, v in found) else ()),
    ]:
        if (now := _share(values, expected[:few])) > share and now >= FITS:
            best, share = text, now
    if not best:
        return None
    values = dict([*_one_way(device, expected), *_two_ways(device)])[best]
    return Meant("reading", best, wrong_elements(values, expected), values)


def read_otherwise(device: Array) -> Iterator[tuple[str, Array]]:
    """Every reading that needs no value to compare with, as words and the tensor so read. Shapes: as ``device``."""
    yield from (*_by_axes(device), *_by_bytes(device))


def _share(values: Array, expected: Array) -> float:
    return float(alike(values, expected).mean())


def _one_way(device: Array, expected: Array) -> list[tuple[str, Array]]:
    found = [*read_otherwise(device)]
    if device.dtype.kind in "iu":
        apart = device.astype(np.int64) - expected.astype(np.int64)
        values, counts = np.unique(apart, return_counts=True)
        offset = int(values[counts.argmax()])
        if abs(offset) > STEPS:
            ends = np.iinfo(device.dtype)
            cut = (expected.astype(np.int64) + offset).clip(
                ends.min, ends.max
            ) == device  # the range may have cut it off
            moved = (device.astype(np.int64) - offset).clip(ends.min, ends.max).astype(device.dtype)
            moved = np.where(cut, expected, moved)
            found.append((f"every integer moved by {offset:+d}, as another zero point does", moved))
    return found


def _two_ways(device: Array) -> Iterator[tuple[str, Array]]:
    for (one, turned), (other, _) in product([*_by_axes(device)], [*_by_bytes(device[:1])]):
        yield f"{one}, and {other}", dict(_by_bytes(turned))[other]


def _by_axes(device: Array) -> Iterator[tuple[str, Array]]:
    """The same numbers, if the axes lay in another order in memory."""
    shape = device.shape[1:]
    axes = [i for i, size in enumerate(shape) if size > 1]
    if not 2 <= len(axes) <= AXES_AT_MOST:  # noqa: PLR2004 (one axis has one order)
        return
    sizes = [shape[i] for i in axes]
    for order in permutations(range(len(axes))):
        if list(order) == sorted(order):
            continue
        lay = device.reshape(len(device), *(sizes[i] for i in order))
        turned = lay.transpose(0, *(1 + order.index(i) for i in range(len(axes))))
        yield _axes_text(order), turned.reshape(device.shape)


def _axes_text(order: Sequence[int]) -> str:
    if tuple(order) == (2, 0, 1):
        return "NCHW, shown as NHWC"
    letters = LETTERS.get(len(order))
    return f"its axes lie in the order {', '.join(letters[i] if letters else str(i) for i in order)}"


def _by_bytes(device: Array) -> Iterator[tuple[str, Array]]:
    """The same bytes in another order, or with the other sign."""
    size, each = device.dtype.itemsize, prod(device.shape[1:]) * device.dtype.itemsize
    lay = np.ascontiguousarray(device).reshape(len(device), -1).view(np.uint8)
    for width in (2, 4, 8):
        if each % width == 0 and width >= size:
            swapped = np.ascontiguousarray(lay.reshape(len(lay), -1, width)[:, :, ::-1])
            text = (
                "the other endianness" if width == size else f"the bytes of each {8 * width}-bit word in reverse order"
            )
            yield text, swapped.reshape(len(lay), -1).view(device.dtype).reshape(device.shape)
    if device.dtype.kind in "iu" and size == 1:
        names = ("int8", "uint8") if device.dtype == np.int8 else ("uint8", "int8")
        moved = (lay ^ np.uint8(0x80)).view(device.dtype).reshape(device.shape)
        yield f"{names[0]} shown as {names[1]}: moved by 128", moved


def _overwritten(device: Array, near: Array, others: Mapping[str, Array]) -> Meant | None:
    """Another tensor's values where its own belong: memory of an arena that serves several tensors."""
    size, wrong = device.dtype.itemsize, ~near.reshape(len(near), -1)
    run = int(wrong.any(axis=1).argmax())
    place = np.flatnonzero(wrong[run])
    ours = np.ascontiguousarray(device[run]).reshape(-1)
    first, last = int(place[0]) * size, (int(place[-1]) + 1) * size
    lay = ours.tobytes()
    for name, other in others.items():
        held = np.ascontiguousarray(other[run if len(other) == len(device) else 0]).tobytes()
        at = _found(lay[first:last], held)
        if at is None:
            continue
        start, stop = max(first, first - at), min(last, first - at + len(held))
        a, b = (
            np.frombuffer(lay[start:stop], np.uint8),
            np.frombuffer(held[start - first + at : stop - first + at], np.uint8),
        )
        same = float((a == b).mean()) * (stop - start) / (last - first)
        if same >= 1 - (1 - FITS) * 10:
            where = "" if at == 0 and len(held) == len(lay) else f", from byte {start:,} to {stop - 1:,}"
            return Meant("overwritten", f"holds the values of {name}{where}: its memory served that tensor too")
    return _nearly_another(device, wrong, others)


def _nearly_another(device: Array, wrong: Array, others: Mapping[str, Array]) -> Meant | None:
    """Another tensor from its first element on, where the device rounds otherwise than what is known of that tensor."""
    flat = device.reshape(len(device), -1)
    for name, other in others.items():
        theirs = other.reshape(len(other), -1)
        size = min(flat.shape[1], theirs.shape[1])
        if other.dtype != device.dtype or len(other) != len(device) or len({*theirs.flat}) < DISTINCT:
            continue
        in_it = wrong[:, :size]
        if wrong[:, size:].any() or in_it.sum() < WINDOW:
            continue
        if alike(flat[:, :size], theirs[:, :size])[in_it].mean() >= FITS:
            return Meant("overwritten", f"holds nearly the values of {name}: its memory served that tensor too")
    return None


def _found(wanted: bytes, held: bytes) -> int | None:
    """Where the first byte of ``wanted`` would lie in ``held``, by a window that is not all alike."""
    for start in range(0, max(1, len(wanted) - WINDOW + 1), WINDOW):
        window = wanted[start : start + WINDOW]
        if len({*window}) >= DISTINCT and (at := held.find(window)) >= 0:
            return at - start
    return None


def _cut_off(device: Array, expected: Array, near: Array) -> Meant | None:
    """Values that stop where others go on."""
    for end, beyond in ((device.max(), expected > device.max()), (device.min(), expected < device.min())):
        if not (~near & ~((device == end) & beyond)).any():
            return Meant("arithmetic", f"cut off at {end.item():g}: another activation or clamp")
    return None


def _left(device: Array, expected: Array) -> Meant:
    """How far numbers are apart that no reading explains."""
    a, b = (x.reshape(-1).astype(np.float64) for x in (device, expected))
    if not np.isfinite(a).all():
        return Meant("unknown", f"{np.count_nonzero(~np.isfinite(a)):,} elements are NaN or infinite; no reading fits")
    spread = a.std() * b.std()
    related = float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else 0.0
    most = f"by up to {np.abs(a - b).max():.4g}{'' if device.dtype.kind == 'f' else ' steps'}"
    if related > 0.9:  # noqa: PLR2004 (nearly the same)
        return Meant(
            "arithmetic",
            f"{most}; they follow what is expected (correlation {related:.3f}): other arithmetic or constants",
        )
    return Meant(
        "unknown", f"{most}; hardly related to what is expected (correlation {related:.2f}), and no reading fits"
    )
