"""Zip and HDF5 files that would lead out of themselves, or unpack to far more than they hold."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import h5py, rewrite_zip, write_plain

from quantdiff.errors import BadModel
from quantdiff.references.keras.model import load_keras

pytestmark = pytest.mark.keras
KERNEL = "kernel"
SECRET = 8 * 3 * 4


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    write_plain(folder)
    (folder / "secret").write_bytes(bytes(range(SECRET)))
    return folder


def external(group: Any, name: str, secret: Path) -> None:
    group.create_dataset(name, (8, 3), "float32", external=[(str(secret), 0, SECRET)])


def soft(group: Any, name: str, secret: Path) -> None:
    group[name] = h5py.SoftLink("/elsewhere")


def linked(group: Any, name: str, secret: Path) -> None:
    with h5py.File(secret.with_suffix(".h5"), "w") as other:
        other["kernel"] = np.ones((8, 3), np.float32)
    group[name] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "kernel")


def virtual(group: Any, name: str, secret: Path) -> None:
    linked(group, "other", secret)
    del group["other"]
    layout = h5py.VirtualLayout((8, 3), "float32")
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "kernel", (8, 3))
    group.create_virtual_dataset(name, layout)


def bomb(group: Any, name: str, secret: Path) -> None:
    group.create_dataset(name, (1 << 20, 1 << 20), "float32", chunks=(1 << 10, 1 << 10), compression="gzip")


def large_chunk(group: Any, name: str, secret: Path) -> None:
    """24 values in a chunk of which each of them unpacks 256 MB."""
    group.create_dataset(name, (8, 3), "float32", maxshape=(None, None), chunks=(1 << 13, 1 << 13), compression="gzip")


PLANTS = {
    "external storage": (external, "takes its values from other files"),
    "soft link": (soft, "is a link"),
    "external link": (linked, "is a link"),
    "virtual": (virtual, "takes its values from other files"),
    "bomb": (bomb, "unpacks from 0 bytes to 4,398,046,511,104"),
    "large chunk": (large_chunk, "unpacks from 0 bytes to 268,435,456"),
}


def replaced(file: Any, make: Callable[[Any, str, Path], None], secret: Path) -> None:
    """The first dataset of a file, made anew."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    group, _, name = found[0].rpartition("/")
    del file[found[0]]
    make(file[group], name, secret)


@pytest.mark.parametrize("plant", PLANTS)
def test_hdf5_stays_in_its_file(plain: Path, tmp_path: Path, plant: str) -> None:
    make, said = PLANTS[plant]
    shutil.copy(plain / "plain.h5", tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        replaced(file, make, plain / "secret")
    with pytest.raises(BadModel, match=rf"m.h5: .*{said}"):
        load_keras(tmp_path / "m.h5")


@pytest.mark.parametrize("name", ["plain_2.keras", "plain_3.keras"])
@pytest.mark.parametrize("plant", PLANTS)
def test_so_do_the_weights_within_a_zip(plain: Path, tmp_path: Path, name: str, plant: str) -> None:
    make, said = PLANTS[plant]

    def edited(content: bytes) -> bytes:
        held = io.BytesIO(content)
        with h5py.File(held, "r+") as file:
            replaced(file, make, plain / "secret")
        return held.getvalue()

    rewrite_zip(plain / name, tmp_path / "m.keras", {"model.weights.h5": edited})
    with pytest.raises(BadModel, match=rf"m.keras: .*{said}"):
        load_keras(tmp_path / "m.keras")


def test_backslashes_between_names_say_how_to_go_on(plain: Path, tmp_path: Path) -> None:
    """As an early Keras 3 on Windows wrote them."""

    def edited(content: bytes) -> bytes:
        held = io.BytesIO(content)
        with h5py.File(held, "r+") as file:
            name = next(iter(file["layers"]))
            file.move(f"layers/{name}", f"layers\\{name}")
        return held.getvalue()

    rewrite_zip(plain / "plain_3.keras", tmp_path / "m.keras", {"model.weights.h5": edited})
    with pytest.raises(
        BadModel, match=r"m\.keras: .* names with backslashes, .*; load it there with that Keras and save"
    ):
        load_keras(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("../escaped", "leads out of the file"),
        ("/tmp/escaped", "leads out of the file"),
        ("assets/..\\..\\escaped", "leads out of the file"),
        ("config.json", "two entries of one name"),
        ("./config.json", "two entries of one name"),
        ("config.json/", "two entries of one name"),
        ("model.weights.npz", "pickled"),
    ],
)
def test_entries_of_a_zip(plain: Path, tmp_path: Path, entry: str, said: str) -> None:
    path = tmp_path / "m.keras"
    shutil.copy(plain / "plain_3.keras", path)
    with zipfile.ZipFile(path, "a") as file, pytest.warns() if entry == "config.json" else pytest.MonkeyPatch.context():
        file.writestr(entry, b"{}")
    with pytest.raises(BadModel, match=rf"m.keras: .*{said}"):
        load_keras(path)


def test_a_link_in_a_zip(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    shutil.copy(plain / "plain_3.keras", path)
    with zipfile.ZipFile(path, "a") as file:
        entry = zipfile.ZipInfo("assets/link")
        entry.external_attr = 0o120777 << 16
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(BadModel, match=r"leads out of the file"):
        load_keras(path)


def test_a_zip_bomb(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    shutil.copy(plain / "plain_2.keras", path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file, file.open("assets/big", "w") as entry:
        for _ in range(65):
            entry.write(bytes(1 << 20))
    with pytest.raises(BadModel, match=r"m.keras: unpacks from .* bytes to 68,"):
        load_keras(path)
