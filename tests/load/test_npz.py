"""Archives that are damaged, or that promise more than they hold: ``BadData`` on one line, and soon."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from quantdiff.errors import BadData
from quantdiff.load.data import load_batch
from quantdiff.load.npz import UNPACKED
from quantdiff.quant import Array

MUTATIONS = 600


def npy(array: Array) -> bytes:
    data = io.BytesIO()
    np.lib.format.write_array(data, array, allow_pickle=False)
    return data.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


def said(shape: str, descr: str = "'<f4'") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def patched(path: Path, local: int, central: int, value: int) -> Path:
    """A field of 16 bits in both headers of the only member."""
    data = bytearray(archive(path, {"x.npy": npy(np.zeros((8, 4)))}).read_bytes())
    struct.pack_into("<H", data, data.find(b"PK\x03\x04") + local, value)
    struct.pack_into("<H", data, data.find(b"PK\x01\x02") + central, value)
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadData) as refused:
        load_batch(path)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "member",
    [
        b"hello",
        header("(" * 5000),
        header("-" * 8000 + "1"),
        header("1" + "+1j" * 3000),
        said("(18446744073709551616, 4)"),
        said("(4294967296, 4294967296)"),
        said("(1000000000000, 4)"),
        said("(-1, 4)"),
        said("'abc'"),
        said("(8, 4)", "'<q99'"),
        said("(8, 4)", "[('a','<f4',(1000000000000,))]"),
    ],
)
@pytest.mark.parametrize("form", ["npz", "npy"])
def test_headers_that_cannot_be(tmp_path: Path, member: bytes, form: str) -> None:
    path = tmp_path / f"d.{form}"
    if form == "npz":
        assert "x.npy" in refusal(archive(path, {"x.npy": member}))
    else:
        path.write_bytes(member)
        refusal(path)


@pytest.mark.parametrize(
    ("local", "central", "value"), [(6, 8, 1), (8, 10, 99), (8, 10, 9), (6, 8, 0x20), (4, 6, 0xFF), (6, 8, 0x41)]
)
def test_archives_that_zipfile_does_not_read(tmp_path: Path, local: int, central: int, value: int) -> None:
    assert "not a readable .npz" in refusal(patched(tmp_path / "d.npz", local, central, value))


def test_a_bomb_is_refused_by_its_sizes_until_the_user_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "d.npz", {"x.npy": npy(np.zeros((1000, 100)))}, zipfile.ZIP_DEFLATED)
    assert len(load_batch(path)) == 1000
    monkeypatch.setenv(UNPACKED, "800000")
    assert (
        f"takes 800,128 bytes when it is unpacked; save it by np.savez, which does not compress, or set {UNPACKED}"
        in (refusal(path))
    )
    monkeypatch.setenv(UNPACKED, "800128")
    assert len(load_batch(path)) == 1000
    monkeypatch.setenv(UNPACKED, "much")
    with pytest.raises(BadData, match=f"{UNPACKED}=much: give a number of bytes"):
        load_batch(path)
    monkeypatch.delenv(UNPACKED)
    data = path.read_bytes()  # a size that is only said counts as well: nothing is unpacked to find out
    at = data.find(b"PK\x01\x02")
    path.write_bytes(data[: at + 24] + struct.pack("<I", 2**32 - 2) + data[at + 28 :])
    assert "takes 4,294,967,294 bytes" in refusal(path)


def test_members_that_lie_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    archive(path, {"a.npy": npy(np.zeros((100, 100))), "b.npy": npy(np.zeros((100, 100)))})
    data = path.read_bytes()
    first, central = data.find(b"PK\x03\x04", 4), data.find(b"PK\x01\x02")
    path.write_bytes(data[:first] + data[central:])
    assert "lie over each other" in refusal(path)


def outcome(path: Path) -> str:
    """``read`` or ``refused``; whatever else is raised goes through."""
    try:
        load_batch(path)
    except BadData as error:
        return "refused" if "\n" not in str(error) else str(error)
    return "read"


@pytest.mark.filterwarnings("ignore::UserWarning")  # zipfile tells of members of one name
def test_random_damage(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((16, 4)).astype(np.float32)
    seeds = [
        archive(tmp_path / f"{method}.npz", {"x.npy": npy(x), "y.npy": npy(np.arange(16))}, method).read_bytes()
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ]
    seeds.append(npy(x))
    path = tmp_path / "mutant.npz"
    for seed in range(MUTATIONS):
        rng = random.Random(seed)
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if seed % 7 == 0 else data)
        assert outcome(path) in {"read", "refused"}, seed
