"""A finished page: a notebook shows it, ``save`` writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from quantdiff.report.folder import written


@dataclass(frozen=True, slots=True)
class Page:
    """One HTML document that holds all it needs."""

    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its styles and those of the notebook leave each other alone."""
        style = "width:100%;height:80vh;border:0"
        return (
            f'<iframe title="quantdiff" sandbox="allow-scripts" style="{style}" srcdoc="{escape(self.html)}"></iframe>'
        )

    def save(self, path: str | Path) -> None:
        """Write the page; it is there as a whole or not at all. A link is followed.

        Raises:
            CannotWrite: ``path`` is a folder or a device, or the system refuses.
        """
        with written(Path(path)) as file:
            file.write_text(self.html, encoding="utf-8", newline="\n")
