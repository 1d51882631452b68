"""The folder of a run: complete or not there; nothing half-written remains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.load.data import Batch
from quantdiff.run.scratch import scratch

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
    finished = False
    try:
        with ExitStack() as stack:
            try:
                out.mkdir(parents=True, exist_ok=True)
                folder = stack.enter_context(scratch(".unfinished-", out))
            except OSError as error:
                raise CannotWrite(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
            yield folder
            for file in sorted(folder.iterdir()):
                file.replace(out / file.name)
            finished = True
    finally:
        for parent in () if finished else made:
            with suppress(OSError):  # another process has put something there
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
