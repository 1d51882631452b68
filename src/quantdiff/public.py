"""Public names, imported when they are first used: the imports that a type checker reads are the one list of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

NAME = re.compile(r"^    from (\S+) import (\w+) as \2$", re.M)


def public_names(package: str) -> tuple[Callable[[str], Any], list[str]]:
    """``__getattr__`` and ``__all__`` of a package that imports its public names for type checkers only.

    A name is public where its import says so, as in a stub: ``from home import name as name``, a line for each.
    """
    spec: Any = sys.modules[package].__spec__
    source: bytes = spec.loader.get_data(spec.origin)  # of a file, or of a file in a zip archive
    homes = {name: home for home, name in NAME.findall(source.decode())}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return find, sorted(homes)
