"""The containers of Keras files, zip and HDF5: no entry leads out of the file or unpacks to far more than it holds."""

from __future__ import annotations

import json
import stat
import zipfile
from io import BytesIO
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.lazy import require

WEIGHTS = "model.weights"
LARGE, RATIO = 1 << 26, 100
"""What unpacks to more than so many bytes may be at most so many times what the file keeps of it."""


def read_zip(path: Path) -> tuple[Any, str]:
    """The configuration of a ``.keras`` file, decoded, and the major version of the Keras that wrote it.

    What the model was compiled with is left out, for it is not made again.

    Raises:
        BadModel: an entry leads out of the file, unpacks to far more than it holds, or holds pickled weights.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len({PurePosixPath(name.replace("\\", "/")) for name in names}) < len(names):
            raise BadModel(f"{path}: has two entries of one name; save it again")
        for entry in archive.infolist():
            _check_place(entry, path)
        kept, whole = path.stat().st_size, sum(entry.file_size for entry in archive.infolist())
        if whole > max(LARGE, RATIO * kept):
            raise BadModel(f"{path}: unpacks from {kept:,} bytes to {whole:,}; save it again")
        if f"{WEIGHTS}.npz" in names:
            raise BadModel(f"{path}: keeps its weights in {WEIGHTS}.npz, pickled; save it again with today's Keras")
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        config = json.loads(archive.read("config.json"))
        if f"{WEIGHTS}.h5" in names:
            weights = BytesIO(archive.read(f"{WEIGHTS}.h5"))
            with require("h5py", extra="keras").File(weights, "r") as file:
                check_hdf5(file, path)
                _check_names(file, path)
    return {k: v for k, v in config.items() if k != "compile_config"}, version.split(".")[0]


def _check_names(file: Any, path: Path) -> None:
    """An early Keras 3 on Windows put backslashes between the names of layers, and no Keras finds these elsewhere."""
    if any("\\" in name for name in file):
        raise BadModel(
            f"{path}: its weights are stored under names with backslashes, as an early Keras 3 on Windows wrote them, "
            "and Keras finds none of them; load it there with that Keras and save it as .h5, or with a newer Keras"
        )


def read_hdf5(path: Path) -> tuple[Any, str]:
    """The same of an ``.h5`` file.

    Raises:
        BadModel: as ``check_hdf5``.
    """
    with require("h5py", extra="keras").File(path, "r") as file:
        check_hdf5(file, path)
        config = file.attrs["model_config"]
        text = config.decode("utf-8") if hasattr(config, "decode") else config
        return json.loads(text), str(file.attrs.get("keras_version", "2")).split(".")[0]


def _check_place(entry: zipfile.ZipInfo, path: Path) -> None:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in entry.filename or stat.S_ISLNK(entry.external_attr >> 16):
        raise BadModel(f"{path}: its entry {entry.filename!r} leads out of the file; save it again")


def check_hdf5(file: Any, path: Path) -> None:
    """Refuse what makes HDF5 read other files, or far more than this one holds.

    Raises:
        BadModel: names the object.
    """
    h5py = require("h5py", extra="keras")
    waiting, seen = [file["/"]], set()
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise BadModel(f"{path}: {group.name}/{name} is a link, maybe to another file; save it again")
            item = group[name]
            if isinstance(item, h5py.Dataset):
                _check_dataset(item, path)
            elif isinstance(item, h5py.Group) and (address := h5py.h5o.get_info(item.id).addr) not in seen:
                seen.add(address)
                waiting.append(item)


def _check_dataset(item: Any, path: Path) -> None:
    if item.external or item.is_virtual:
        raise BadModel(f"{path}: {item.name} takes its values from other files; save it again")
    kept = item.id.get_storage_size()
    # A chunk is unpacked as a whole, for a single value of it.
    whole = max(item.nbytes, prod(item.chunks or ()) * item.dtype.itemsize)
    if whole > max(LARGE, RATIO * kept):
        raise BadModel(f"{path}: {item.name} unpacks from {kept:,} bytes to {whole:,}; save it again")
