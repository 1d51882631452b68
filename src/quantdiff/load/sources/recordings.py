"""A folder of recordings as −1 … 1, with the preparation stated: ``mono length=16000 scale=32768 shift=0``."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import open_file
from quantdiff.lazy import require
from quantdiff.load.data import Batch
from quantdiff.load.npz import UNPACKED, unpacked_at_most
from quantdiff.load.sources.folders import batch_of, files_in
from quantdiff.load.sources.steps import number, with_steps
from quantdiff.quant import Array

SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff")
BEGIN = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM")
"""How these begin: of anything else libsndfile tries whether it is MP3, and its decoder prints what it thinks of it."""
SAMPLES_AT_MOST = 2**28  # of one recording that is lengthened: 4.6 hours at 16,000 a second
BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to a recording: one channel of all, cut or lengthened at the end, then ``value · scale + shift``."""

    text: str
    mono: bool = False
    length: int | None = None
    scale: float = 1.0
    shift: float = 0.0


def preparation(text: str) -> Preparation:
    """Read it as it is typed.

    Raises:
        BadData: a step that is none of these; says which there are.
    """
    return with_steps(Preparation(text), text, _with, "--audio", "mono, length=SAMPLES, scale=32768, shift=-1")


def _with(known: Preparation, key: str, value: str) -> Preparation:
    match key:
        case "mono" if not value:
            return replace(known, mono=True)
        case "length" if 1 <= int(value) <= SAMPLES_AT_MOST:
            return replace(known, length=int(value))
        case "scale":
            return replace(known, scale=number(value))
        case "shift":
            return replace(known, shift=number(value))
    raise KeyError(key)


def holds_recordings(folder: Path) -> bool:
    """Whether a folder, or a folder in it, holds recordings."""
    return bool(files_in(folder, SUFFIXES))


def from_recordings(folder: Path, steps: str = "") -> Batch:
    """Shape: (files, samples), or (files, samples, channels) of several channels; folders in it are classes.

    Raises:
        BadData: a file that is no recording, files of several lengths or rates, or none; steps that are none.
        MissingExtra: soundfile is not installed.
    """
    how, files = preparation(steps), files_in(folder, SUFFIXES)
    if not files:
        raise BadData(f"{folder}: no recordings in it ({', '.join(SUFFIXES)})")
    sounds, rates = zip(*(_sound(file, how) for file in files), strict=True)
    if len(set(rates)) > 1:
        raise BadData(f"{folder}: recordings of {min(rates)} … {max(rates)} samples a second; give all of one rate")
    if len(shapes := {sound.shape for sound in sounds}) > 1:
        raise BadData(f"{folder}: recordings of {len(shapes)} shapes; say --audio length=SAMPLES, or mono")
    return batch_of(folder, files, sounds, f"{rates[0]} samples a second, {how.text or '−1 … 1'}")


class Stream(io.BufferedReader):
    """A file that is asked by foreign code, which would print an error of ours and go on."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As ``BufferedReader``; before the beginning is the beginning."""
        return super().seek(max(offset, 0) if whence == io.SEEK_SET else offset, whence)


def _sound(file: Path, how: Preparation) -> tuple[Array, int]:
    """Values of shape (samples,) or (samples, channels), and how many there are a second."""
    soundfile = require("soundfile", extra="audio")
    try:
        with open_file(file) as opened, Stream(io.FileIO(opened.fileno(), closefd=False)) as stream:
            if stream.peek(4)[:4] not in BEGIN:
                raise BadData(f"{file}: not a recording that can be read (it begins as no {', '.join(SUFFIXES)})")
            with soundfile.SoundFile(stream) as recording:
                values, rate = _read(recording, file), recording.samplerate
    except BadData:
        raise
    except Exception as error:  # soundfile raises whatever a damaged file makes it raise
        raise BadData(f"{file}: not a recording that can be read ({reason_of(error)})") from error
    values = values.mean(axis=1, keepdims=True) if how.mono else values
    values = values if how.length is None else _of_length(values, how.length)
    with np.errstate(all="ignore"):  # what is not finite gets a line of its own
        values = (values * np.float32(how.scale) + np.float32(how.shift)).astype(np.float32)
    return (values if values.shape[1] > 1 else values[:, 0]), rate


def _read(recording: Any, file: Path) -> Array:
    """Whole numbers over their half, shape (samples, channels); a file may claim to hold more than there is."""
    if (size := recording.frames * recording.channels * BYTES) > unpacked_at_most():
        raise BadData(f"{file}: says that it takes {size:,} bytes; cut it, or set {UNPACKED} to as many bytes")
    values: Array = recording.read(dtype="float32", always_2d=True)
    return values


def _of_length(values: Array, length: int) -> Array:
    """Its beginning, or with silence behind it."""
    return np.pad(values[:length], ((0, max(0, length - len(values))), (0, 0)))
