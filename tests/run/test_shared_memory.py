"""Memory that two processes share has no name, is there before it is used, and is mapped once."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest

from quantdiff.errors import RuntimeFailed
from quantdiff.quant import Array
from quantdiff.run.conversation import Parcel, Received, unpacked
from quantdiff.run.process import Beside as Channel


@pytest.fixture(params=["memfd", "file", "file, written"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """As Linux has it; as a system without nameless memory; and one, macOS, that cannot reserve either."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param != "memfd":
        monkeypatch.delattr(os, "memfd_create")
    if request.param == "file, written":
        monkeypatch.delattr(os, "posix_fallocate")
    return str(request.param)


@pytest.mark.usefixtures("kind")
def test_arrays_arrive_in_the_same_memory(tmp_path: Path) -> None:
    ours, theirs = map(Channel, socket.socketpair())
    parcel, received = Parcel(), Received()
    arrays: list[Array] = [
        np.arange(300_000, dtype=np.int16).reshape(3, -1),
        np.zeros((0, 4)),
        np.array([[1.5, np.nan]]),
    ]
    for again in (arrays, [array[::-1] for array in arrays]):
        ours.send({"pieces": parcel.pack(again)}, [block.descriptor for block in parcel.blocks])
        message, descriptors = theirs.receive()
        blocks = received.take(descriptors)
        assert all(
            np.array_equal(*pair, equal_nan=pair[0].dtype.kind == "f")
            for pair in zip(unpacked(message["pieces"], blocks), again, strict=True)
        )
        assert len(blocks) == 1
        assert len(received._known) == 1  # the memory of the message before
    assert not [*tmp_path.iterdir()]
    piece = unpacked(message["pieces"], blocks)[0]
    assert parcel.pack([piece[1:]])[0][1] == piece[:1].nbytes  # what lies in a block already is not copied
    assert parcel.blocks == blocks
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.close()


def test_memory_that_is_not_there_is_an_error_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RuntimeFailed, match=r"^no room for 4,032 bytes of arrays \(No space left on device\); use"):
        Parcel().pack([np.zeros(1001, np.float32)])


def test_a_child_that_is_slow_is_waited_for_as_long_as_said() -> None:
    ours, theirs = map(Channel, socket.socketpair())
    with pytest.raises(TimeoutError):
        ours.receive(0.01)
    theirs.send({"late": True})
    assert ours.receive(1)[0] == {"late": True}
    ours.close()
    theirs.close()
