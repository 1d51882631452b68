"""Packages of the extras, imported when they are needed; a missing one is named with its extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from quantdiff.errors import MissingExtra


def require(module: str, *, extra: str) -> Any:
    """Import ``module`` now; name the extra to install when it is absent.

    Raises:
        MissingExtra: the module, or one that it needs, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} is needed here: pip install 'quantdiff[{extra}]'") from error
