"""Checks by their stable codes, and what one finds: each module of ``linting/checks`` registers itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from inspect import cleandoc
from typing import Any

from quantdiff.lazy import Registry


class Severity(Enum):
    """How much a finding matters; the worst comes first."""

    ERROR = "error"
    """The numbers are wrong, or a runtime refuses the file."""
    WARNING = "warning"
    """It costs accuracy or speed, and can be mended."""
    INFO = "info"
    """Worth knowing; usual in sane models."""


def counted(count: int, what: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {what}" + "s" * (count != 1)


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the model: an operator or tensor of a subgraph, or a layer of the reference."""

    text: str
    subgraph: int | None = None
    operator: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One hit of a check; ``severity`` when it matters less or more than the check's own."""

    place: Location
    evidence: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A hit with all that a reader needs."""

    code: str
    severity: Severity
    place: Location
    evidence: str
    message: str
    advice: str


Find = Callable[[Any], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Check:
    """A function that looks at one ``subject``; its docstring is the text that the user reads."""

    code: str
    severity: Severity
    subject: type
    find: Find

    @property
    def message(self) -> str:
        """What it means: the docstring's first line."""
        return cleandoc(self.find.__doc__ or "").partition("\n")[0]

    @property
    def advice(self) -> str:
        """Why it matters and what to do: the rest of the docstring, in one line."""
        return " ".join(cleandoc(self.find.__doc__ or "").partition("\n")[2].split())


CHECKS: Registry[Check] = Registry("quantdiff.linting.checks")


def check(code: str, severity: Severity, subject: type) -> Callable[[Find], Find]:
    """Register a function that yields what it finds on one ``subject``."""

    def register(find: Find) -> Find:
        CHECKS.add(code, Check(code, severity, subject, find))
        return find

    return register


def checks() -> tuple[Check, ...]:
    """Every check in the order of the codes."""
    return tuple(CHECKS.load().values())
