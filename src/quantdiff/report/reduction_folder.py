"""The folder of a reduced model: the files, what goes in, and the line that shows it."""

from __future__ import annotations

from pathlib import Path

from quantdiff.report.folder import save_batch, staged
from quantdiff.search.fault import INPUTS
from quantdiff.search.reduction import Reduction

LINE = "reproduce.txt"


def write_reduction(found: Reduction, out: Path) -> None:
    """All files together, or none.

    Raises:
        CannotWrite: the folder cannot be written.
    """
    part = found.left
    with staged(out) as folder:
        for name, content in part.models.items():
            (folder / name).write_bytes(content)
        save_batch(folder / INPUTS, part.batch)
        (folder / LINE).write_text(found.line(out) + "\n", encoding="utf-8")
