"""Arrays that stay in their file."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from quantdiff.errors import BadData
from quantdiff.load import npz
from quantdiff.load.data import load_batch
from quantdiff.load.npz import blocks, release


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "LARGE", 1000)


def base(array: object) -> object:
    while isinstance(array, np.ndarray):
        array = array.base
    return array


@pytest.mark.usefixtures("small")
def test_stored_members_are_mapped_and_equal(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((50, 7, 3)), np.arange(50)
    np.savez(tmp_path / "d.npz", allow_pickle=False, y=y, x=x)
    batch = load_batch(tmp_path / "d.npz")
    assert isinstance(base(batch.arrays["x"]), mmap.mmap)
    assert np.array_equal(batch.arrays["x"], x)
    assert batch.labels is not None
    assert np.array_equal(batch.labels, y)
    release(batch.arrays.values())
    assert np.array_equal(batch.arrays["x"][10:20], x[10:20])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("fortran", [False, True])
def test_what_cannot_be_mapped_is_read(tmp_path: Path, fortran: bool) -> None:
    x = np.random.default_rng(0).random((50, 7))
    if fortran:
        np.savez(tmp_path / "d.npz", allow_pickle=False, x=np.asfortranarray(x))
    else:
        np.savez_compressed(tmp_path / "d.npz", allow_pickle=False, x=x)
    array = load_batch(tmp_path / "d.npz").arrays["x"]
    assert not isinstance(base(array), mmap.mmap)
    assert np.array_equal(array, x)


@pytest.mark.usefixtures("small")
def test_a_damaged_member_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, allow_pickle=False, x=np.random.default_rng(0).random((50, 70)))
    damaged = bytearray(path.read_bytes())
    damaged[2000] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(BadData, match="not a readable"):
        load_batch(path)


@pytest.mark.usefixtures("small")
def test_nan_is_found_in_any_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "AT_ONCE", 70)
    x = np.zeros((50, 7), np.float32)
    x[33, 2] = np.nan
    np.savez(tmp_path / "d.npz", allow_pickle=False, x=x)
    with pytest.raises(BadData, match=r"first in sample 33 at \(2\)"):
        load_batch(tmp_path / "d.npz")


def test_blocks_cover_everything_once() -> None:
    x = np.arange(2 * npz.AT_ONCE + 5)
    assert np.array_equal(np.concatenate([part for _, part in blocks(x)]), x)
    assert [start for start, _ in blocks(x)] == [0, npz.AT_ONCE, 2 * npz.AT_ONCE]
