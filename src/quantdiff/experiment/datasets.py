"""Digits to train on: ``mnist-small`` from this package, ``mnist`` from Keras' cache, or a file of that layout."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData, MissingExtra
from quantdiff.load.data import Batch
from quantdiff.load.npz import read_arrays
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet

KEYS = ("x_train", "y_train", "x_test", "y_test")
BRIGHTEST = 255


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training and test images, float32 in [0, 1], samples along axis 0, and their labels, int64."""

    name: str
    x_train: Array = field(compare=False, repr=False)
    y_train: Array = field(compare=False, repr=False)
    x_test: Array = field(compare=False, repr=False)
    y_test: Array = field(compare=False, repr=False)

    @property
    def test(self) -> Batch:
        """The test part, as ``diff`` takes it."""
        return Batch({"x": self.x_test}, self.y_test, self.name)


def default_name() -> str:
    """``mnist`` where the full set lies in Keras' cache, else ``mnist-small``."""
    return "mnist" if cache_path().is_file() else "mnist-small"


def cache_path() -> Path:
    """Where Keras keeps ``mnist.npz``."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"


def locate(name: str) -> Path:
    """The file of a data set: ``mnist-small``, ``mnist`` (downloaded by Keras if need be) or a path.

    Raises:
        BadData: no such file, or no network and no file in the cache; the message says where to put it.
    """
    if name == "mnist-small":
        return Path(__file__).parent / "mnist_small" / "mnist_small.npz"
    if name == "mnist":
        return cache_path() if cache_path().is_file() else _download()
    if not Path(name).is_file():
        raise BadData(f"{name}: no such data set; use mnist, mnist-small, or an .npz with {', '.join(KEYS)}")
    return Path(name)


def load_dataset(name: str, *, digits: bool = True) -> Dataset:
    """Read a data set and scale bytes to [0, 1]; ``digits`` asks for what the models of the zoo take.

    Raises:
        BadData: not found, damaged, arrays missing, empty, of unequal length, or with NaN.
    """
    path = locate(name)
    arrays = read_arrays(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise BadData(f"{path}: lacks {', '.join(missing)}; a data set to train on has {', '.join(KEYS)}")
    for part in ("train", "test"):
        _check_part(arrays[f"x_{part}"], arrays[f"y_{part}"], f"{path}, {part}")
        if digits:
            _check_digits(arrays[f"x_{part}"], arrays[f"y_{part}"], f"{path}, {part}")
    return Dataset(
        name,
        _scaled(arrays["x_train"]),
        arrays["y_train"].astype(np.int64),
        _scaled(arrays["x_test"]),
        arrays["y_test"].astype(np.int64),
    )


def _scaled(images: Array) -> Array:
    """Pixels in [0, 1]: bytes are divided by 255, floats are taken as scaled already."""
    return images.astype(np.float32) / np.float32(BRIGHTEST) if images.dtype == np.uint8 else images.astype(np.float32)


def _check_part(images: Array, labels: Array, where: str) -> None:
    if images.size == 0:
        raise BadData(f"{where}: no images; there is nothing to train on or to compare")
    if images.dtype.kind not in "fu":
        raise BadData(f"{where}: images of type {images.dtype}; give bytes, or floats as the model takes them")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise BadData(f"{where}: labels of shape {labels.shape} for {len(images)} images; give one integer an image")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise BadData(f"{where}: images hold NaN or infinity; clean the data first")
    if labels.min() < 0:
        raise BadData(f"{where}: labels from {labels.min()}; classes are counted from 0")


def _check_digits(images: Array, labels: Array, where: str) -> None:
    if images.shape[1:] != (28, 28):
        raise BadData(f"{where}: images of shape {images.shape[1:]} and type {images.dtype}; the models take 28×28")
    if labels.max() > 9:  # noqa: PLR2004 (ten digits)
        raise BadData(f"{where}: labels from {labels.min()} to {labels.max()}; the models tell the digits 0 to 9")


def _download() -> Path:
    try:
        keras = frameworks().keras
        with quiet(), redirect_stdout(sys.stderr):  # Keras draws its bar on standard output
            keras.datasets.mnist.load_data()
    except MissingExtra:
        raise
    except Exception as error:
        raise BadData(
            f"mnist: not in {cache_path()}, and it could not be downloaded; put mnist.npz there, "
            "or use --data mnist-small"
        ) from error
    return cache_path()
