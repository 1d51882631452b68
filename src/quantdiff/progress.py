"""How far a long job is: a function that is told stage, steps done and steps in all."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""
    del stage, done, total


Count = Callable[[int], None]


def unheard(done: int) -> None:
    """Nobody asked how far it is."""
    del done
