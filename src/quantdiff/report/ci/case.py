"""Case: one thing that was checked, and how it ended; what all forms for CI render."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How a case ended; in the words of a summary."""

    TROUBLE = "trouble"
    """It could not be checked."""
    FAILED = "failed"
    WARNING = "warning"
    """It fails the command, and is a finding of the second rank."""
    NOTED = "info"
    """Worth knowing; it does not fail the command."""
    PASSED = "passed"

    @property
    def is_bad(self) -> bool:
        """Whether the command does not end with 0."""
        return self not in (Status.NOTED, Status.PASSED)


@dataclass(frozen=True, slots=True)
class Case:
    """``name`` was checked of ``group``: a pair of engines, a runtime, a model; ``message`` is what came out.

    ``place`` is where in the group, for a name that comes several times; ``about`` explains all cases of the name.
    """

    group: str
    name: str
    status: Status
    message: str
    place: str = ""
    about: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """All that a command checked. ``table`` is Markdown with its figures, ``remarks`` are lines of text."""

    command: str
    subject: str
    cases: tuple[Case, ...]
    table: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``2 of 5 checks failed``."""
        bad = sum(case.status.is_bad for case in self.cases)
        return f"{bad} of {len(self.cases)} check{'s' * (len(self.cases) != 1)} failed"


def trouble(command: str, message: str) -> Checked:
    """A command that could do nothing at all, and why."""
    return Checked(command, "", (Case(command, "trouble", Status.TROUBLE, message),))
