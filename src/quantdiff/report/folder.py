"""The folder of a run: complete or not there; nothing half-written remains."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.load.data import Batch

SUMMARY = "summary.csv"


class CannotWrite(QuantdiffError):
    """The output folder or file cannot be written; the message says why."""


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder to write to; its files move to ``out`` together, when the block ends without an error.

    Raises:
        CannotWrite: ``out`` is a file, or the system refuses.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out))
    except OSError as error:
        raise CannotWrite(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
    finished = False
    try:
        yield folder
        for file in sorted(folder.iterdir()):
            file.replace(out / file.name)
        finished = True
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not finished:
            for parent in made:
                parent.rmdir()


def save_batch(path: Path, batch: Batch) -> None:
    """Samples and labels as ``.npz``; not compressed, which would take longer than the comparison."""
    labels = {} if batch.labels is None else {"y": batch.labels}
    np.savez(path, allow_pickle=False, **dict(batch.arrays), **labels)


def add_to_summary(folder: Path, out: Path, header: str, rows: str) -> None:
    """``summary.csv`` in ``folder``: what ``out`` has of it so far, and the new rows.

    Raises:
        CannotWrite: the file there has other columns.
    """
    before = out / SUMMARY
    text = before.read_text() if before.is_file() else header
    if not text.startswith(header):
        raise CannotWrite(f"{before}: has other columns than this version writes; move it away or choose another --out")
    (folder / SUMMARY).write_text(text + rows)
