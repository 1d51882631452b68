"""A folder of WAV files: whole numbers as −1 … 1, which is what most models of sound take."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import open_file
from quantdiff.load.data import Batch
from quantdiff.load.sources.folders import batch_of, files_in
from quantdiff.quant import Array

SUFFIXES = (".wav",)
WIDTHS = {1: "u1", 2: "<i2", 4: "<i4"}


def holds_recordings(folder: Path) -> bool:
    """Whether a folder, or a folder in it, holds WAV files."""
    return bool(files_in(folder, SUFFIXES))


def from_recordings(folder: Path) -> Batch:
    """Shape: (files, samples), or (files, samples, channels) of several channels; folders in it are classes.

    Raises:
        BadData: a file that is no WAV of plain integers, or files of several lengths or rates.
    """
    files = files_in(folder, SUFFIXES)
    sounds, rates = zip(*map(_sound, files), strict=True)
    if len(set(rates)) > 1:
        raise BadData(f"{folder}: recordings of {min(rates)} … {max(rates)} samples a second; give all of one rate")
    if len(shapes := {sound.shape for sound in sounds}) > 1:
        raise BadData(f"{folder}: recordings of {len(shapes)} lengths; cut them to one")
    return batch_of(folder, files, sounds, "WAV, −1 … 1")


def _sound(file: Path) -> tuple[Array, int]:
    """Values, and how many there are a second."""
    try:
        with open_file(file) as stream, wave.open(stream) as recording:
            width, channels, rate = recording.getsampwidth(), recording.getnchannels(), recording.getframerate()
            data = recording.readframes(recording.getnframes())
        whole = len(data) - len(data) % (width * channels)
        values = np.frombuffer(data[:whole], np.dtype(WIDTHS[width])).astype(np.float32)
    except (OSError, wave.Error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise BadData(f"{file}: not a WAV file of 8, 16 or 32 bits ({reason_of(error)})") from error
    middle, half = (128, 128) if width == 1 else (0, 2 ** (8 * width - 1))
    sound: Array = (values - np.float32(middle)) / np.float32(half)
    return (sound.reshape(-1, channels) if channels > 1 else sound), rate
