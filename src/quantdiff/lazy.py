"""What is imported when it is needed: public names, modules of a folder, packages of extras, the page of a result."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from quantdiff.errors import MissingExtra

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name, registered by the modules of the package ``folder`` when they are imported."""

    def __init__(self, folder: str) -> None:
        self.folder, self._entries, self._loaded = folder, dict[str, T](), False

    def add(self, name: str, entry: T) -> None:
        """Register an entry.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"two entries of {self.folder} are called {name}")
        self._entries[name] = entry

    def load(self) -> Mapping[str, T]:
        """Every entry in the order of the names, after importing the whole folder once."""
        if not self._loaded:
            for module in iter_modules(import_module(self.folder).__path__):
                import_module(f"{self.folder}.{module.name}")
            self._entries, self._loaded = dict(sorted(self._entries.items())), True
        return self._entries


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


def require(module: str, *, extra: str) -> Any:
    """Import ``module`` now; name the extra to install when it is absent.

    Raises:
        MissingExtra: the module, or one that it needs, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} is needed here: pip install 'quantdiff[{extra}]'") from error


class Shown:
    """A value that Jupyter shows as a page; how it looks is the business of ``report.notebook``.

    That room lies above all values, so it is looked up by name, when a notebook asks and not before.
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(import_module("quantdiff.report.notebook.results").html_of(self))
