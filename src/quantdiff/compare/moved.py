"""What moved between two results of the same command: every figure by who it belongs to, before and after."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantdiff.errors import NotComparable
from quantdiff.lazy import Shown

Figure = float | str
Place = tuple[str, str, str]
"""Section of the document, whose figure it is, and its name."""
ABOUT = ("schema", "versions", "artifacts", "data", "model", "notes", "warnings", "sentence", "signed", "differences",
         "matching", "failures", "evidence", "unaligned", "layer_summaries", "advice")  # fmt: skip
"""Parts of documents that hold no figures, or figures of nobody in particular."""
NAMED_BY = ("quantizer", "code", "runtime", "op", "name", "tensor", "mechanism")
IN_WORDS = ("status", "leading")
NUMBERS_OF_PLACES = ("operator", "index", "worst_sample", "buffer")
DEEPEST = 8
COUNTS = 2**64
"""More than anything that is counted."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A figure of two results; None where one of them does not have it."""

    section: str
    whose: str
    figure: str
    before: Figure | None
    after: Figure | None

    @property
    def change(self) -> float | None:
        """After minus before, where both are numbers."""
        if isinstance(self.before, str) or isinstance(self.after, str) or self.before is None or self.after is None:
            return None
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Movement(Shown):
    """What is otherwise in the second of two results, in the order of the document; ``same`` figures are not.

    ``versions``: package, before, after.
    """

    before: str
    after: str
    moved: tuple[Moved, ...]
    same: int
    versions: tuple[tuple[str, str, str], ...] = ()


def movement(before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, str]) -> Movement:
    """Hold two JSON documents of the same command against each other.

    Raises:
        NotComparable: they are of two commands, or have no figure in common.
    """
    commands = [str(each.get("command", "unknown")) for each in (before, after)]
    if commands[0] != commands[1]:
        raise NotComparable(f"{names[0]} is of `{commands[0]}`, {names[1]} of `{commands[1]}`; give two of one command")
    ours, theirs = dict(_figures(before)), dict(_figures(after))
    if not ours.keys() & theirs.keys():
        raise NotComparable(f"{names[0]} and {names[1]} have no figure in common: they are of other models or runtimes")
    places = [*ours, *(place for place in theirs if place not in ours)]
    moved = tuple(
        Moved(*place, ours.get(place), theirs.get(place)) for place in places if ours.get(place) != theirs.get(place)
    )
    return Movement(*names, moved, len(places) - len(moved), tuple(_versions(before, after)))


def _versions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    ours, theirs = (said if isinstance(said := each.get("versions"), Mapping) else {} for each in (before, after))
    for package in dict.fromkeys((*ours, *theirs)):
        pair = str(ours.get(package, "–")), str(theirs.get(package, "–"))
        if pair[0] != pair[1]:
            yield package, *pair


def _figures(document: Mapping[str, Any]) -> Iterator[tuple[Place, Figure]]:
    for section, value in document.items():
        if section not in ABOUT:
            yield from _under(section, (), "", value)


def _under(section: str, whose: tuple[str, ...], key: str, value: Any) -> Iterator[tuple[Place, Figure]]:
    """The figures in a value: of lists each item by its name, however often the name comes."""
    if len(whose) > DEEPEST:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            nested = (*whose, key) if key and isinstance(inner, Mapping | list) else whose
            yield from _under(section, nested, f"{key}.{name}" if key and nested is whose else name, inner)
    elif isinstance(value, list):
        seen: dict[str, int] = {}
        for place, item in enumerate(value):
            if isinstance(item, Mapping):
                label = _label(item) or f"{place}"
                seen[label] = seen.get(label, 0) + 1
                label += f" #{seen[label]}" if seen[label] > 1 else ""
                yield from _under(section, (*whose, label), "", item)
    elif key in IN_WORDS if isinstance(value, str) else _is_figure(value) and key not in NUMBERS_OF_PLACES:
        yield (section, " / ".join(whose), key or section), value


def _is_figure(value: Any) -> bool:
    """Whether it is a number that can be subtracted from another one."""
    return not math.isnan(value) if isinstance(value, float) else isinstance(value, int) and abs(value) < COUNTS


def _label(item: Mapping[str, Any]) -> str:
    """Who an item is about."""
    if "reference" in item and "candidate" in item:
        ours, theirs = str(item["reference"]), str(item["candidate"])
        parts: Sequence[Any] = (ours if ours == theirs else f"{ours} → {theirs}",)
    elif item.get("layer"):
        parts = (item["layer"], item.get("mechanism"))
    else:
        parts = (next((item[name] for name in NAMED_BY if item.get(name)), None),)
    return ", ".join(str(part) for part in parts if part)
