"""Checks by their stable codes: each module of ``linting/checks`` registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from quantdiff.lazy import Registry
from quantdiff.linting.finding import Found, Severity

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
