"""What a check has found: where, and the number that made it fire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
