"""Data by their name: array files, functions, tables, folders of images or sounds, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quantdiff.errors import BadData, QuantdiffError
from quantdiff.files import is_tflite
from quantdiff.load.data import Batch, Slot, find_shards, load_batch
from quantdiff.load.sources.generated import from_function
from quantdiff.load.sources.images import from_images, holds_images, preparation
from quantdiff.load.sources.recordings import from_recordings, holds_recordings
from quantdiff.load.sources.tables import from_csv
from quantdiff.load.tflite import load_tflite
from quantdiff.own_code import python_function
from quantdiff.run.random_input import MADE_UP, made_up
from quantdiff.run.tflite import slots_of

Data = str | Path | Batch


def load_data(data: Data, candidate: Any = None, images: str | None = None) -> Batch:
    """A data set by its name.

    Args:
        data: an ``.npz``, ``.npy`` or ``.csv`` file, ``FILE.py:function``, a folder of images or WAV files,
            ``random[:N[:SEED]]`` or ``smooth[:N[:SEED]]``; a ``Batch`` is taken as it is.
        candidate: the ``.tflite`` whose inputs say what shape data have that a function, a table or chance gives.
        images: how pictures are prepared: ``resize=224x224 center-crop scale=1/127.5 shift=-1 order=RGB``.

    Returns:
        Samples along axis 0, in the reference's float units, with labels where they are known.

    Raises:
        BadData: they cannot be read or made.
    """
    if isinstance(data, Batch):
        return data
    name, path = str(data), Path(data)
    if images is not None and not path.is_dir():
        raise BadData(f"{name}: --images is for a folder of images")
    if name.split(":", maxsplit=1)[0] in MADE_UP and not path.exists():
        return made_up(name, _model(candidate, name))
    if python_function(name) is not None:
        return from_function(name, _slots(candidate))
    if path.suffix == ".py":
        raise BadData(f"{name}: a Python file; say which function gives the data: {name}:FUNCTION")
    if path.suffix.lower() == ".csv":
        return from_csv(path, _slots(candidate))
    if path.is_dir():
        return _of_folder(path, images)
    return load_batch(path)


def _of_folder(path: Path, images: str | None) -> Batch:
    if images is not None or holds_images(path):
        return from_images(path, preparation(images or ""))
    if holds_recordings(path):
        return from_recordings(path)
    shards = find_shards([path])
    if len(shards) > 1:
        raise BadData(f"{path}: a data set in {len(shards)} parts, which only diff takes; give one of the files")
    return load_batch(shards[0])


def holds_parts(path: Path) -> bool:
    """Whether a folder holds a data set in parts rather than images or sounds."""
    return path.is_dir() and not holds_images(path) and not holds_recordings(path)


def _model(candidate: Any, name: str) -> Any:
    if isinstance(candidate, str | Path) and is_tflite(Path(candidate)):
        return load_tflite(Path(candidate))
    raise BadData(f"{name}: made-up data take their shapes from a .tflite candidate; give data of your own")


def _slots(candidate: Any) -> Sequence[Slot]:
    """What the candidate takes; () where that is not known before it is opened."""
    try:
        return slots_of(_model(candidate, ""))
    except QuantdiffError:
        return ()
