"""Folders of one file for each sample; folders in them are classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quantdiff.load.data import Batch, make_batch
from quantdiff.quant import Array


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
