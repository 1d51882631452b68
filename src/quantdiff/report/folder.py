"""The folder of a run: complete or not there; nothing half-written remains."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.files import FILE, destination, read_file, scratch, what_is
from quantdiff.load.data import Batch
from quantdiff.search.fault import INPUTS
from quantdiff.search.reduction import Reduction

SUMMARY = "summary.csv"
SUMMARY_AT_MOST = 100_000_000  # bytes
NOT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EPIPE)
"""What the system refuses whatever is written."""


class CannotWrite(QuantdiffError):
    """The output folder or file cannot be written; the message says why."""


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder to write to; its files move to ``out`` together, when the block ends without an error.

    Raises:
        CannotWrite: ``out`` is a file, one of its files is to take the place of a link or a device, or the system
            refuses.
    """
    made: list[Path] = []
    finished = False
    try:
        with ExitStack() as stack:
            try:
                made += [each for each in (out, *out.parents) if not each.exists()]
                out.mkdir(parents=True, exist_ok=True)
                folder = stack.enter_context(scratch(".unfinished-", out))
            except (OSError, ValueError) as error:
                raise _cannot_write(out, error) from error
            try:
                yield folder
                files = sorted(folder.iterdir())
                for file in files:
                    _check_place(out / file.name)
                for file in files:
                    file.replace(out / file.name)
            except OSError as error:
                where = Path(error.filename2 or error.filename or out)
                if error.errno in NOT_OF_FILES or out not in (where, *where.parents):
                    raise
                inside = folder in where.parents
                raise _cannot_write(out / where.relative_to(folder) if inside else where, error) from error
            finished = True
    finally:
        for parent in () if finished else made:
            with suppress(OSError):  # somebody else has put something there
                parent.rmdir()


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file to write to; it stands at ``path`` when the block ends without an error, and not before.

    A link is followed.

    Raises:
        CannotWrite: ``path`` is a folder or a device, or the system refuses.
    """
    try:
        file = destination(path)
    except OSError as error:
        raise CannotWrite(f"{path}: {error.strerror}; it needs the name of a file") from error
    with staged(file.parent) as folder:
        yield folder / file.name


def _check_place(place: Path) -> None:
    """Refuse to put a file where something stands that is none; a link would be lost, and what it leads to kept."""
    if os.path.lexists(place) and (place.is_symlink() or what_is(place) != FILE):
        kind = "a link" if place.is_symlink() else what_is(place)
        raise CannotWrite(f"{place}: is {kind}, which is not replaced by a file; choose another --out")


def _cannot_write(path: object, error: Exception) -> CannotWrite:
    reason = getattr(error, "strerror", None) or reason_of(error)
    return CannotWrite(f"{path}: cannot be written ({reason}); choose another --out, or make room there")


def save_batch(path: Path | BinaryIO, batch: Batch) -> None:
    """Samples and labels as ``.npz``; not compressed, which would take longer than the comparison."""
    labels = {} if batch.labels is None else {"y": batch.labels}
    np.savez(path, allow_pickle=False, **dict(batch.arrays), **labels)


def add_to_summary(folder: Path, out: Path, header: str, rows: str) -> None:
    """``summary.csv`` in ``folder``: what ``out`` has of it so far, and the new rows.

    Raises:
        CannotWrite: the file there has other columns.
    """
    before = out / SUMMARY
    try:
        text = read_file(before, SUMMARY_AT_MOST).decode()
    except FileNotFoundError:
        text = header
    except (OSError, ValueError) as error:
        raise _cannot_write(before, error) from error
    if not text.startswith(header):
        raise CannotWrite(f"{before}: has other columns than this version writes; move it away or choose another --out")
    (folder / SUMMARY).write_text(text + rows, encoding="utf-8")


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
