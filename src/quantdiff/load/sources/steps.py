"""How samples are prepared, as it is typed: ``resize=224x224 center-crop scale=1/127.5 shift=-1``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from quantdiff.errors import BadData

T = TypeVar("T")


def with_steps(begun: T, text: str, step: Callable[[T, str, str], T], option: str, known: str) -> T:
    """What all steps of a text make of ``begun``; ``step`` takes it with the key and the value of one.

    Raises:
        BadData: a step that is none; says which are ``known``.
    """
    for each in text.split():
        key, _, value = each.partition("=")
        try:
            begun = step(begun, key, value)
        except (ValueError, ZeroDivisionError, KeyError) as error:
            raise BadData(f"{option}: {each[:40]!r} is no step; there are {known}") from error
    return begun


def number(text: str) -> float:
    """``-1``, ``1/127.5``.

    Raises:
        ValueError, ZeroDivisionError: it is none, or not finite.
    """
    above, _, below = text.partition("/")
    found = float(above) / float(below or 1)
    if not math.isfinite(found):
        raise ValueError(text)
    return found
