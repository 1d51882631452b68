"""A folder of images, with the preparation stated: ``resize=224x224 center-crop scale=1/127.5 shift=-1 order=RGB``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantdiff.errors import BadData, reason_of
from quantdiff.files import open_file
from quantdiff.lazy import require
from quantdiff.load.data import Batch
from quantdiff.load.sources.folders import batch_of, files_in
from quantdiff.load.sources.steps import number, with_steps
from quantdiff.quant import Array

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
PIXELS_AT_MOST = 2**14  # along an axis, of a picture that is resized
DEEP = ("I", "F")  # Pillow's modes of more than 8 bits, which it would cut to 255
ORDERS = {"RGB": "RGB", "BGR": "RGB", "gray": "L"}


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to a picture: resized and cropped, then ``value · scale + shift``."""

    text: str
    size: tuple[int, int] | None = None
    crop: bool = False
    scale: float = 1.0
    shift: float = 0.0
    order: str = "RGB"


def preparation(text: str) -> Preparation:
    """Read it as it is typed.

    Raises:
        BadData: a step that is none of these; says which there are.
    """
    known = "resize=WIDTHxHEIGHT, center-crop, scale=1/127.5, shift=-1, order=RGB|BGR|gray"
    return with_steps(Preparation(text), text, _with, "--images", known)


def _with(known: Preparation, key: str, value: str) -> Preparation:
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
    return bool(files_in(folder, SUFFIXES))


def from_images(folder: Path, how: Preparation) -> Batch:
    """The pictures of a folder in the order of their names; folders in it are classes, in the order of theirs.

    Raises:
        BadData: a file that is no picture, pictures of several sizes, or none.
        MissingExtra: Pillow is not installed.
    """
    files = files_in(folder, SUFFIXES)
    if not files:
        raise BadData(f"{folder}: no images in it ({', '.join(SUFFIXES)})")
    pictures = [_picture(file, how) for file in files]
    if len(sizes := {picture.shape for picture in pictures}) > 1:
        raise BadData(f"{folder}: pictures of {len(sizes)} sizes; say --images resize=WIDTHxHEIGHT")
    return batch_of(folder, files, pictures, how.text or "images as they are")


def _picture(file: Path, how: Preparation) -> Array:
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


def _fitted(image: Image, how: Preparation) -> Image:
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
