"""Data by their name: array files, functions, tables, folders of images or sounds, or made up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from quantdiff.errors import BadData, QuantdiffError
from quantdiff.files import is_tflite, python_function
from quantdiff.load.data import SUFFIXES, Batch, Slot, count_samples, load_batch
from quantdiff.load.dumps.forms import is_dump
from quantdiff.load.sources.generated import from_function
from quantdiff.load.sources.images import from_images, holds_images, preparation
from quantdiff.load.sources.recordings import from_recordings, holds_recordings
from quantdiff.load.sources.tables import from_csv
from quantdiff.load.tflite import load_tflite
from quantdiff.run.as_data import of_dump
from quantdiff.run.random_input import MADE_UP, made_up
from quantdiff.run.tflite import slots_of

Data = str | Path | Batch


@dataclass(frozen=True, slots=True)
class Source:
    """Data by their name, as ``load_data`` takes them, which are read where and when they are needed.

    Attributes:
        name: an array file, or what else ``load_data`` knows.
        candidate: the ``.tflite`` whose inputs say what shape data have that a function, a table or chance gives.
        images: how pictures are prepared.
        audio: how recordings are prepared.
        asked: names what they are asked for: data that are made are made once for it in a process.
    """

    name: str
    candidate: str = ""
    images: str | None = None
    audio: str | None = None
    asked: str = ""

    def count(self) -> int:
        """How many samples there are; raises as ``load_data``."""
        return count_samples(Path(self.name)) if self.is_array_file else len(_whole(self))

    def rows(self, start: int, stop: int) -> Batch:
        """Some of the samples, with labels; of an array file no others are read.

        Raises:
            BadData: as ``load_data``; or there are not as many.
        """
        if self.is_array_file:
            return load_batch(Path(self.name), slice(start, stop))
        whole = _whole(self)
        if len(whole) < stop:
            raise BadData(f"{self.name}: gives {len(whole)} samples here, and gave at least {stop} before")
        return whole.labelled_part(slice(start, stop))

    def anywhere(self) -> Source:
        """The same, to be read in another folder."""
        return replace(self, name=anywhere(self.name), candidate=anywhere(self.candidate) if self.candidate else "")

    @property
    def is_array_file(self) -> bool:
        """Whether samples can be read apart from each other."""
        path = Path(self.name)
        if self.images is not None or self.audio is not None:
            return False
        return path.suffix.lower() in SUFFIXES and not is_dump(path)


@lru_cache(maxsize=1)
def _whole(source: Source) -> Batch:
    return load_data(source.name, source.candidate or None, source.images, source.audio)


@dataclass(frozen=True, slots=True)
class InParts:
    """Data sets that make one together, read part by part as they are needed, and who works on the parts.

    Attributes:
        data: each a name as ``load_data`` takes it, a folder of array files, or a ``Batch``.
        on: any executor, whose workers read models and data under the same names; None: this process.
        candidate: the ``.tflite`` whose inputs say what shape data have that a function, a table or chance gives.
        images: how pictures are prepared.
        audio: how recordings are prepared.
        asked: as in ``Source``; no two are the same.
    """

    data: Sequence[Data]
    on: Executor | None = None
    candidate: Any = None
    images: str | None = None
    audio: str | None = None
    asked: str = field(default_factory=lambda: uuid4().hex)

    @property
    def sources(self) -> tuple[Source | Batch, ...]:
        """The data sets that make one together, each by its name, those in a folder of array files one by one.

        Raises:
            BadData: a folder without data files.
        """
        found = list[Source | Batch]()
        for each in self.data:
            if isinstance(each, Batch):
                found.append(each)
                continue
            parts = find_shards([Path(each)]) if holds_parts(Path(each), self.images, self.audio) else [each]
            candidate = str(self.candidate or "")
            found += [Source(str(part), candidate, self.images, self.audio, self.asked) for part in parts]
        return tuple(found)

    @property
    def named(self) -> str:
        """The data by their names, as they were asked for."""
        return ", ".join(each.source if isinstance(each, Batch) else str(each) for each in self.data)


def anywhere(name: str) -> str:
    """A name of a file, or ``FILE.py:function``, that means the same in another folder."""
    function = python_function(name)
    if function is not None:
        return f"{function[0].resolve()}:{function[1]}"
    return str(Path(name).resolve()) if Path(name).exists() else name


def load_data(data: Data, candidate: Any = None, images: str | None = None, audio: str | None = None) -> Batch:
    """A data set by its name.

    Args:
        data: an ``.npz`` (a recording of a device, too), ``.npy`` or ``.csv`` file, ``FILE.py:function``, a folder of
            images or sounds, ``random[:N[:SEED]]`` or ``smooth[:N[:SEED]]``; a ``Batch`` is taken as it is.
        candidate: the ``.tflite`` whose inputs say what shape data have that a function, a table or chance gives.
        images: how pictures are prepared: ``resize=224x224 center-crop scale=1/127.5 shift=-1 order=RGB``.
        audio: how recordings are prepared: ``mono length=16000 scale=32768 shift=0``.

    Returns:
        Samples along axis 0, in the reference's float units, with labels where they are known.

    Raises:
        BadData: they cannot be read or made.
    """
    if isinstance(data, Batch):
        return data
    name, path = str(data), Path(data)
    _check_prepared(path, images, audio)
    if made_up_kind(name):
        return made_up(name, _model(candidate, name))
    if python_function(name) is not None:
        return from_function(name, _slots(candidate))
    if path.suffix == ".py":
        raise BadData(f"{name}: a Python file; say which function gives the data: {name}:FUNCTION")
    return _of_folder(path, images, audio) if path.is_dir() else _of_file(path, candidate)


def _of_file(path: Path, candidate: Any) -> Batch:
    if path.suffix.lower() == ".csv":
        return from_csv(path, _slots(candidate))
    if is_dump(path):
        return of_dump(path, _model(candidate, str(path)))
    return load_batch(path)


def made_up_kind(name: str) -> str:
    """``random`` or ``smooth`` where a name asks for such data; nothing for what is there."""
    kind = name.partition(":")[0]
    return kind if kind in MADE_UP and not Path(name).exists() else ""


def _check_prepared(path: Path, images: str | None, audio: str | None) -> None:
    """Whether what is prepared lies in a folder, and is one of the two."""
    if images is not None and audio is not None:
        raise BadData(f"{path}: --images and --audio; a folder holds one of them")
    if not path.is_dir() and images is not None:
        raise BadData(f"{path}: --images is for a folder of images")
    if not path.is_dir() and audio is not None:
        raise BadData(f"{path}: --audio is for a folder of recordings")


def _of_folder(path: Path, images: str | None, audio: str | None) -> Batch:
    if images is not None or (audio is None and holds_images(path)):
        return from_images(path, preparation(images or ""))
    if audio is not None or holds_recordings(path):
        return from_recordings(path, audio or "")
    shards = find_shards([path])
    if len(shards) > 1:
        raise BadData(f"{path}: a data set in {len(shards)} parts, which this command does not take; give one file")
    return load_batch(shards[0])


def holds_parts(path: Path, images: str | None = None, audio: str | None = None) -> bool:
    """Whether a folder holds a data set in parts rather than images or sounds, which are prepared."""
    prepared = images is not None or audio is not None
    return not prepared and path.is_dir() and not holds_images(path) and not holds_recordings(path)


def _model(candidate: Any, name: str) -> Any:
    if isinstance(candidate, str | Path) and is_tflite(Path(candidate)):
        return load_tflite(Path(candidate))
    raise BadData(
        f"{name}: made-up data and recordings take their shapes from a .tflite candidate; give data of your own"
    )


def _slots(candidate: Any) -> Sequence[Slot]:
    """What the candidate takes; () where that is not known before it is opened."""
    try:
        return slots_of(_model(candidate, ""))
    except QuantdiffError:
        return ()


def find_shards(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The data files of a data set in parts: those named, and those in a folder, in the order of their names.

    Raises:
        BadData: a folder without data files.
    """
    shards: list[Path] = []
    for path in paths:
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
        if not found:
            raise BadData(f"{path}: a folder without .npz, .npy, picture or sound files; put the data there")
        shards += found
    return tuple(shards)
