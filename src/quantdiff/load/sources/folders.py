"""Folders of images or of sounds, a file for each sample, with the preparation stated as it is typed.

Images: ``resize=224x224 center-crop scale=1/127.5 shift=-1 order=RGB``; recordings, as −1 … 1:
``mono length=16000 scale=32768 shift=0``. Folders in a folder are classes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import open_file
from quantdiff.lazy import require
from quantdiff.load.data import Batch, make_batch
from quantdiff.load.npz import UNPACKED, unpacked_at_most
from quantdiff.quant import Array

if TYPE_CHECKING:
    from PIL.Image import Image


def files_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Those with one of the endings, in the folder and in the folders in it, in the order of their names."""
    inside = [folder, *sorted(each for each in folder.iterdir() if each.is_dir())]
    return [file for each in inside for file in sorted(each.iterdir()) if file.suffix.lower() in suffixes]


def batch_of(folder: Path, files: Sequence[Path], samples: Sequence[Array], how: str) -> Batch:
    """One sample from each file; its label is the number of its class, where every file has one."""
    arrays: dict[str, Array] = {"x": np.stack(samples)}
    if all(file.parent != folder for file in files):
        classes = sorted({file.parent.name for file in files})
        arrays["y"] = np.array([classes.index(file.parent.name) for file in files])
    return make_batch(arrays, f"{folder} ({how})")


T = TypeVar("T")


def with_steps(begun: T, text: str, step: Callable[[T, str, str], T], option: str, known: str) -> T:
    """What all steps of a text make of ``begun``; ``step`` takes it with the key and the value of one.

    Raises:
        BadData: a step that is none; says which are ``known``.
    """
    for each in text.split():
        key, _, value = each.partition("=")
        try:
            begun = step(begun, key, value)
        except (ValueError, ZeroDivisionError, KeyError) as error:
            raise BadData(f"{option}: {each[:40]!r} is no step; there are {known}") from error
    return begun


def number(text: str) -> float:
    """``-1``, ``1/127.5``.

    Raises:
        ValueError, ZeroDivisionError: it is none, or not finite.
    """
    above, _, below = text.partition("/")
    found = float(above) / float(below or 1)
    if not math.isfinite(found):
        raise ValueError(text)
    return found


PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
PIXELS_AT_MOST = 2**14  # along an axis, of a picture that is resized
DEEP = ("I", "F")  # Pillow's modes of more than 8 bits, which it would cut to 255
ORDERS = {"RGB": "RGB", "BGR": "RGB", "gray": "L"}


@dataclass(frozen=True, slots=True)
class PicturePreparation:
    """What is done to a picture: resized and cropped, then ``value · scale + shift``."""

    text: str
    size: tuple[int, int] | None = None
    crop: bool = False
    scale: float = 1.0
    shift: float = 0.0
    order: str = "RGB"


def preparation(text: str) -> PicturePreparation:
    """Read it as it is typed.

    Raises:
        BadData: a step that is none of these; says which there are.
    """
    known = "resize=WIDTHxHEIGHT, center-crop, scale=1/127.5, shift=-1, order=RGB|BGR|gray"
    return with_steps(PicturePreparation(text), text, _with, "--images", known)


def _with(known: PicturePreparation, key: str, value: str) -> PicturePreparation:
    match key:
        case "resize":
            width, height = (int(n) for n in value.split("x"))
            if not 1 <= min(width, height) <= max(width, height) <= PIXELS_AT_MOST:
                raise ValueError(value)
            return replace(known, size=(width, height))
        case "center-crop" if not value:
            return replace(known, crop=True)
        case "scale":
            return replace(known, scale=number(value))
        case "shift":
            return replace(known, shift=number(value))
        case "order" if value in ORDERS:
            return replace(known, order=value)
    raise KeyError(key)


def holds_images(folder: Path) -> bool:
    """Whether a folder, or a folder in it, holds pictures."""
    return bool(files_in(folder, PICTURES))


def from_images(folder: Path, how: PicturePreparation) -> Batch:
    """The pictures of a folder in the order of their names; folders in it are classes, in the order of theirs.

    Raises:
        BadData: a file that is no picture, pictures of several sizes, or none.
        MissingExtra: Pillow is not installed.
    """
    files = files_in(folder, PICTURES)
    if not files:
        raise BadData(f"{folder}: no images in it ({', '.join(PICTURES)})")
    pictures = [_picture(file, how) for file in files]
    if len(sizes := {picture.shape for picture in pictures}) > 1:
        raise BadData(f"{folder}: pictures of {len(sizes)} sizes; say --images resize=WIDTHxHEIGHT")
    return batch_of(folder, files, pictures, how.text or "images as they are")


def _picture(file: Path, how: PicturePreparation) -> Array:
    """Shape: (height, width, channels)."""
    pillow = require("PIL.Image", extra="images")
    try:
        with open_file(file) as stream, pillow.open(stream) as image:
            if image.mode.startswith(DEEP):
                raise BadData(f"{file}: its pixels have more than 8 bits; save it with 8, or give an .npy")
            pixels = np.asarray(_fitted(image.convert(ORDERS[how.order]), how), np.float32)
    except BadData:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file makes it raise
        unknown = type(error).__name__ == "UnidentifiedImageError"
        why = "of no kind that Pillow knows" if unknown else reason_of(error)
        raise BadData(f"{file}: not a picture that can be read ({why})") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels  # noqa: PLR2004 (gray)
    pixels = pixels[..., ::-1] if how.order == "BGR" else pixels
    return (pixels * np.float32(how.scale) + np.float32(how.shift)).astype(np.float32)


def _fitted(image: Image, how: PicturePreparation) -> Image:
    """Resized to the size; with ``crop`` its middle, so that nothing is stretched."""
    if how.size is None:
        return image
    width, height = how.size
    if not how.crop:
        return image.resize(how.size)
    ratio = max(width / image.width, height / image.height)
    larger = image.resize((max(width, round(image.width * ratio)), max(height, round(image.height * ratio))))
    left, top = (larger.width - width) // 2, (larger.height - height) // 2
    return larger.crop((left, top, left + width, top + height))


SOUNDS = (".wav", ".flac", ".ogg", ".aif", ".aiff")
BEGIN = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM")
"""How these begin: of anything else libsndfile tries whether it is MP3, and its decoder prints what it thinks of it."""
SAMPLES_AT_MOST = 2**28  # of one recording that is lengthened: 4.6 hours at 16,000 a second
BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True, slots=True)
class SoundPreparation:
    """What is done to a recording: one channel of all, cut or lengthened at the end, then ``value · scale + shift``."""

    text: str
    mono: bool = False
    length: int | None = None
    scale: float = 1.0
    shift: float = 0.0


def _sound_preparation(text: str) -> SoundPreparation:
    """Read it as it is typed.

    Raises:
        BadData: a step that is none of these; says which there are.
    """
    return with_steps(
        SoundPreparation(text), text, _sound_with, "--audio", "mono, length=SAMPLES, scale=32768, shift=-1"
    )


def _sound_with(known: SoundPreparation, key: str, value: str) -> SoundPreparation:
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
    return bool(files_in(folder, SOUNDS))


def from_recordings(folder: Path, steps: str = "") -> Batch:
    """Shape: (files, samples), or (files, samples, channels) of several channels; folders in it are classes.

    Raises:
        BadData: a file that is no recording, files of several lengths or rates, or none; steps that are none.
        MissingExtra: soundfile is not installed.
    """
    how, files = _sound_preparation(steps), files_in(folder, SOUNDS)
    if not files:
        raise BadData(f"{folder}: no recordings in it ({', '.join(SOUNDS)})")
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


def _sound(file: Path, how: SoundPreparation) -> tuple[Array, int]:
    """Values of shape (samples,) or (samples, channels), and how many there are a second."""
    soundfile = require("soundfile", extra="audio")
    try:
        with open_file(file) as opened, Stream(io.FileIO(opened.fileno(), closefd=False)) as stream:
            if stream.peek(4)[:4] not in BEGIN:
                raise BadData(f"{file}: not a recording that can be read (it begins as no {', '.join(SOUNDS)})")
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
