"""The reader of tables, on flatbuffers that no schema writer would make."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import flatbuffers
import pytest

from quantdiff.errors import BadModel
from quantdiff.load.flatbuffer import Damaged, Reader
from quantdiff.load.tflite import load_tflite


def shared(tensors: int, channels: int, name: int) -> bytes:
    """A model with so many tensors that are all the same table, quantization and name."""
    builder = flatbuffers.Builder(1 << 16)
    text = builder.CreateString("x" * name)
    builder.StartVector(4, channels, 4)
    for _ in range(channels):
        builder.PrependFloat32(0.5)
    scales = builder.EndVector()
    builder.StartVector(4, 1, 4)
    builder.PrependInt32(channels)
    shape = builder.EndVector()
    quant = table(builder, 7, {0: scales, 1: scales, 2: scales})
    tensor = table(builder, 11, {0: shape, 3: text, 4: quant})
    tensor_list = tables(builder, [tensor] * tensors)
    graph = tables(builder, [table(builder, 6, {0: tensor_list})])
    buffers = tables(builder, [table(builder, 3, {})])
    builder.Finish(table(builder, 10, {2: graph, 4: buffers}), file_identifier=b"TFL3")
    return bytes(builder.Output())


def table(builder: Any, slots: int, fields: dict[int, int]) -> int:
    builder.StartObject(slots)
    for slot, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    end: int = builder.EndObject()
    return end


def tables(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    end: int = builder.EndVector()
    return end


def read(data: bytes, folder: Path) -> int:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return len(load_tflite(path).main.tensors)


def test_a_few_may_share(tmp_path: Path) -> None:
    assert read(shared(3, 40, 40), tmp_path) == 3


@pytest.mark.parametrize(("tensors", "channels", "name"), [(100_000, 1, 1), (20_000, 40_000, 1), (9_000, 1, 90_000)])
def test_sharing_is_bounded(tensors: int, channels: int, name: int, tmp_path: Path) -> None:
    """A small file that asks for gigabytes of numbers, names or tensors is refused at once."""
    data, start = shared(tensors, channels, name), time.perf_counter()
    with pytest.raises(BadModel, match=r"over and over|more than it can hold"):
        read(data, tmp_path)
    assert time.perf_counter() - start < 2


def words(*numbers: int) -> memoryview:
    return memoryview(struct.pack(f"<{len(numbers)}i", *numbers))


BROKEN = [
    (words(4, 100), "list of fields outside"),  # the vtable before the file
    (words(4, -100), "list of fields outside"),  # the vtable behind it
    (words(4, -4, 0x0004_0002), "broken list of fields"),  # a vtable of 2 bytes
    (words(4, -4, 0x000C_0008, 0x0005_0004), "overlap"),  # slots at 4 and 5, both 4 bytes long
    (words(4, -4, 0x0008_0006, 0x0000_0004), "outside the file"),  # a name that points back
]


@pytest.mark.parametrize(("data", "why"), BROKEN)
def test_broken_tables(data: memoryview, why: str) -> None:
    with pytest.raises(Damaged, match=why):
        Reader(data).root("Metadata")


def test_a_field_behind_the_end() -> None:
    with pytest.raises(struct.error):
        Reader(words(4, -4, 0x0008_0008, 0x0030_0010)).root("Metadata")


def test_list_of_tables_that_points_at_itself(tmp_path: Path) -> None:
    """A zero in a list would make a table of the list, and of any weights that are zero a thousand tensors."""
    data, refusals = shared(1, 1, 1), []
    for at in range(0, len(data), 4):
        try:
            read(data[:at] + bytes(4) + data[at + 4 :], tmp_path)
        except BadModel as error:
            refusals.append(str(error))
    assert sum("points at itself" in refusal for refusal in refusals) == 3  # tensors, subgraphs, buffers
