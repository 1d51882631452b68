"""x."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """x."""
