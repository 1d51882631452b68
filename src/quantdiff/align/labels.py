"""What names, kinds and ends of two places say about whether they belong together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from quantdiff.flow import Flow, FlowValue
from quantdiff.ops import INTO_INTEGERS

SAME, MENTIONED, END, ALIKE = 2.0, 1.0, 0.5, 0.25


@dataclass(frozen=True, slots=True)
class Labels:
    """Where both flows begin and end, and for every place of one the last of the other that its name mentions."""

    begins: tuple[frozenset[int], frozenset[int]]
    ends: tuple[frozenset[int], frozenset[int]]
    last_mentioned: tuple[dict[int, str], dict[int, str]]

    def score(self, ours: FlowValue, theirs: FlowValue) -> float:
        """``SAME``: one name, or the last layer that the other's name mentions; less for weaker signs; 0 for none."""
        return self._by_name(ours, theirs) + ALIKE * (ours.op == theirs.op) + self._by_end(ours, theirs)

    def _by_name(self, ours: FlowValue, theirs: FlowValue) -> float:
        a, b = path_of(ours.name), path_of(theirs.name)
        if a == b or a == self.last_mentioned[1].get(theirs.key) or b == self.last_mentioned[0].get(ours.key):
            return SAME
        if mentions(theirs.name, a) or mentions(ours.name, b):
            return MENTIONED
        if stem(a) in map(stem, parts(theirs.name)) or stem(b) in map(stem, parts(ours.name)):
            return END
        either = parts(ours.name) | parts(theirs.name)
        return 0.9 * len(parts(ours.name) & parts(theirs.name)) / len(either) if either else 0.0

    def _by_end(self, ours: FlowValue, theirs: FlowValue) -> float:
        if ours.op == INTO_INTEGERS and theirs.key in self.begins[1] and theirs.grid is not None:
            return MENTIONED
        both = any(ours.key in mine and theirs.key in other for mine, other in (self.begins, self.ends))
        return END * both


def labels_of(reference: Flow, candidate: Flow) -> Labels:
    """Read the names of both flows."""
    return Labels(
        (_begin(reference), _begin(candidate)),
        (reference.ends(), candidate.ends()),
        (_last_mentioned(reference, candidate), _last_mentioned(candidate, reference)),
    )


def _begin(flow: Flow) -> frozenset[int]:
    """Inputs, and the integers made of them."""
    quantized = (p.key for p in flow.places if p.op == INTO_INTEGERS and set(p.feeds) <= set(flow.inputs))
    return frozenset(flow.inputs) | frozenset(quantized)


def _last_mentioned(flow: Flow, other: Flow) -> dict[int, str]:
    """Key → the path of the last place of ``other`` that the place's name mentions."""
    paths = [path_of(place.name) for place in other.places]
    found: dict[int, str] = {}
    for place in flow.places:
        for path in reversed(paths):
            if mentions(place.name, path):
                found[place.key] = path
                break
    return found


def mentions(name: str, path: str) -> bool:
    """Whether ``model/quant_bn/Fused;model/quant_conv/Conv2D`` has the path ``conv`` in it as whole pieces."""
    return any(f"/{path}/" in each for each in _paths(name))


def parts(name: str) -> frozenset[str]:
    """The pieces of a name's paths."""
    return frozenset(piece for path in _paths(name) for piece in path.split("/") if piece)


@cache
def stem(path: str) -> str:
    """The last piece without its number: Keras 3 writes layer ``x`` as ``x_1``, and ``x_1`` as ``x_1_2``."""
    return re.sub(r"(_\d+)+$", "", path.rpartition("/")[2])


@cache
def path_of(name: str) -> str:
    """A place's name without TFMOT's ``quant_``, the number of a repeated call, and what stands behind it."""
    path = name.partition("#")[0].removesuffix("/pre_activation").removesuffix(":0")
    return "/".join(piece.removeprefix("quant_") for piece in path.split("/"))


@cache
def _paths(name: str) -> tuple[str, ...]:
    return tuple(f"/{path_of(path)}/" for path in name.split(";"))
