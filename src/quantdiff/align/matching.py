"""Pairs of places of two models, what lies inside each pair, and what has no partner: as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Match:
    """A pair of keys.

    ``found_by`` is ``name``, ``structure`` or ``values``; ``distance`` that of the values (see ``Agreement``).
    ``confirmed`` says by what: ``values`` as they are; ``local`` values, the reference fed with the candidate's input;
    the ``next`` pair's local values; or ``flat``: they hardly vary, so they do not contradict and cannot confirm.
    ``kernel`` says whether the weights agree, None where there are none to compare. ``reference_inside`` and
    ``candidate_inside`` are the places that were computed on the way from the pairs before.
    """

    reference: int
    candidate: int
    found_by: str
    distance: float
    confirmed: str = "values"
    kernel: bool | None = None
    reference_inside: tuple[int, ...] = ()
    candidate_inside: tuple[int, ...] = ()

    @property
    def keys(self) -> tuple[int, int]:
        """Reference and candidate."""
        return self.reference, self.candidate


@dataclass(frozen=True, slots=True)
class Leftover:
    """A place without a partner, and why."""

    key: int
    name: str
    op: str
    why: str


@dataclass(frozen=True, slots=True)
class Matching:
    """All pairs in the reference's order, and what is left on both sides.

    ``strangers`` says in words why the two are not made from each other, empty where they are; of strangers only the
    pairs that agree are kept, and nothing is listed.
    """

    matches: tuple[Match, ...]
    only_reference: tuple[Leftover, ...] = ()
    only_candidate: tuple[Leftover, ...] = ()
    strangers: str = ""
