"""Adding is one new file: each module of a folder registers itself, and no list is to be kept in step."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

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
