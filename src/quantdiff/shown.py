"""Results that show themselves in a notebook."""

from __future__ import annotations

from importlib import import_module


class Shown:
    """A value that Jupyter shows as a page; how it looks is the business of ``report.notebook``.

    That room lies above all values, so it is looked up by name, when a notebook asks and not before.
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(import_module("quantdiff.report.notebook.results").html_of(self))
