"""Data sets that make one together, each read where and when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from quantdiff.errors import BadData
from quantdiff.files import python_function
from quantdiff.load.data import SUFFIXES, Batch, count_samples, load_batch
from quantdiff.load.npz import is_dump
from quantdiff.run.inputs import Data, find_shards, holds_parts, load_data


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


FIRST = 64
"""Samples that tell which value is which, whoever works on which part."""


@dataclass(frozen=True, slots=True)
class Part:
    """The samples from ``start`` to ``stop`` of a source; ``first`` and ``total`` count those of all data."""

    source: Source | Batch
    start: int
    stop: int
    first: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self) -> Batch:
        """The samples; raises ``BadData``."""
        if isinstance(self.source, Source):
            return self.source.rows(self.start, self.stop)
        return self.source.labelled_part(slice(self.start, self.stop))

    def sent(self) -> Part:
        """The same without samples of others, to be read in another folder."""
        if isinstance(self.source, Source):
            return replace(self, source=self.source.anywhere())
        return Part(self.read(), 0, len(self), self.first, self.total)


Sources = Sequence[Source | Batch]


def count_of(data: Sources) -> int:
    """How many samples there are."""
    return sum(map(_length, data))


def _length(source: Source | Batch) -> int:
    return source.count() if isinstance(source, Source) else len(source)


def first_of(data: Sources, count: int = FIRST) -> Batch:
    """The first samples; raises as ``samples_of``."""
    return samples_of(data, 0, count)


def samples_of(data: Sources, start: int, stop: int) -> Batch:
    """Some of the samples, across sources; without labels where they come from several.

    Raises:
        BadData: they cannot be read, or sources hold arrays of other names or shapes.
    """
    found = [part.read() for part in _spans(data, start, stop)]
    if not found:
        raise BadData("no samples; nothing can be compared")
    return found[0] if len(found) == 1 else _joined(found)


def _joined(parts: Sequence[Batch]) -> Batch:
    first = {name: array.shape[1:] for name, array in parts[0].arrays.items()}
    for part in parts:
        if {name: array.shape[1:] for name, array in part.arrays.items()} != first:
            raise BadData(f"{part.source}: other arrays, or shapes, than in {parts[0].source}; they make no data set")
    arrays: Mapping[str, Any] = {name: np.concatenate([part.arrays[name] for part in parts]) for name in first}
    return Batch(arrays, None, parts[0].source)


def _spans(data: Sources, start: int, stop: int) -> Iterator[Part]:
    """Of each source the samples between two numbers that count all data."""
    first = 0
    for source in data:
        if first >= stop:
            return
        count = _length(source)
        begin, end = max(0, start - first), min(count, stop - first)
        if begin < end:
            yield Part(source, begin, end, first + begin, stop)
        first += count


def cut(data: Sources, grain: int, at_most: int | None = None, first: int = 0) -> tuple[Part, ...]:
    """Sources from the sample ``first`` on, ``at_most`` so many in all, in parts of ``grain`` and what sources leave.

    Raises:
        BadData: there are no samples.
    """
    total = count_of(data) if at_most is None else min(at_most, count_of(data))
    if not total:
        raise BadData("no samples; nothing can be compared")
    return tuple(
        Part(span.source, start, min(start + grain, span.stop), span.first + start - span.start, total)
        for span in _spans(data, first, total)
        for start in range(span.start, span.stop, grain)
    )
