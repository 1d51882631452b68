"""A part of a file as a file of its own: everything that it uses is as it was, nothing else is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flatbuffers
import pytest
from float_pairs import dense, float_model
from small_models import hangs
from written_models import Op, Sub, T, write_model, write_tflite

from quantdiff.errors import NoSuchElement
from quantdiff.graph import Tensor
from quantdiff.load.extract import extract, part_of
from quantdiff.load.tflite import read_model
from quantdiff.load.written import unpacked
from quantdiff.quant import Array


def cut(data: bytes, *chosen: int) -> bytes:
    return extract(unpacked(data), part_of(read_model(memoryview(data)).main, chosen))


def plain(tensor: Tensor) -> tuple[Tensor, Array | None]:
    """All but the numbers of tensor and buffer."""
    return replace(tensor, index=0, buffer=0, blocks=None), tensor.data


def same(a: Tensor, b: Tensor) -> bool:
    (one, data), (other, values) = plain(a), plain(b)
    constants = data is values is None or (
        data is not None and values is not None and data.tobytes() == values.tobytes()
    )
    return one == other and constants and (a.blocks is None) == (b.blocks is None)


BLOCKS = write_tflite(
    [
        T("before", (1, 8), "float32"),
        T("zeros", (2,), "int32", data=[0, 0]),
        T("scales", (2,), "float16", data=[0.5, 0.25]),
        T("x", (1, 8), "float32"),
        T("w", (1, 8), "int4", raw=b"\x21\x43\x65\xf7",
          details=("BlockwiseQuantization", {"scales": 2, "zeroPoints": 1, "blockSize": 4})),
        T("y", (1, 1), "float32"),
    ],
    [Op("RELU", ["before"], ["x"]), Op("FULLY_CONNECTED", ["x", "w", None], ["y"])],
    ["before"],
    ["y"],
)  # fmt: skip


def test_what_a_part_uses_stays_and_the_rest_goes() -> None:
    data = float_model(dense())
    whole, part = (read_model(memoryview(each)).main for each in (data, cut(data, 1)))
    names = {tensor.name: tensor for tensor in whole.tensors}
    assert {t.name for t in part.tensors} == {"h1", "h2", "h2_w", "h2_b"}
    assert all(same(tensor, names[tensor.name]) for tensor in part.tensors)
    assert [part.tensors[i].name for i in (*part.inputs, *part.outputs)] == ["h1", "h2"]
    kept, before = part.operators[0], whole.operators[1]
    assert (kept.op, kept.version, str(kept.options)) == (before.op, before.version, str(before.options))
    assert len(cut(data, 1)) < len(data)


def test_weights_lie_as_kernels_read_them() -> None:
    data = cut(float_model(dense()), 0, 1)
    tensors = read_model(memoryview(bytearray(data))).main.tensors
    start = {t.data.__array_interface__["data"][0] for t in tensors if t.data is not None}
    first = min(start)
    assert {(at - first) % 16 for at in start} == {0}


def test_what_prepares_weights_comes_along() -> None:
    data = write_tflite(
        [
            T("x", (1, 4), "float32"),
            T("half", (4, 4), "float16", data=[[1, 0, 0, 0]] * 4),
            T("w", (4, 4), "float32"),
            T("m", (1, 4), "float32"),
            T("y", (1, 4), "float32"),
        ],
        [
            Op("DEQUANTIZE", ["half"], ["w"]),
            Op("FULLY_CONNECTED", ["x", "w", None], ["m"]),
            Op("RELU", ["m"], ["y"]),
        ],
        ["x"],
        ["y"],
    )
    part = part_of(read_model(memoryview(data)).main, [1])
    assert (part.operators, part.inputs, part.outputs) == ((0, 1), (0,), (3,))
    assert [op.op for op in read_model(memoryview(cut(data, 1))).main.operators] == ["DEQUANTIZE", "FULLY_CONNECTED"]


def test_bodies_of_loops_keep_their_places() -> None:
    loop = read_model(memoryview(cut(hangs(), 0)))
    options: Any = loop.main.operators[0].options
    names = [loop.subgraphs[options[key]].name for key in ("cond_subgraph_index", "body_subgraph_index")]
    before = read_model(memoryview(hangs()))
    assert names == [before.subgraphs[1].name, before.subgraphs[2].name]
    assert loop.subgraphs[1:] == before.subgraphs[1:]


def test_bodies_that_nobody_calls_go() -> None:
    x, y = T("x", (1, 4), "float32"), T("y", (1, 4), "float32")
    relu = Sub([x, y], [Op("RELU", ["x"], ["y"])], ["x"], ["y"], "other")
    model = read_model(memoryview(cut(write_model([Sub([x, y], [Op("TANH", ["x"], ["y"])], ["x"], ["y"]), relu]), 0)))
    assert [graph.name for graph in model.subgraphs] == ["main"]


def test_scales_of_blocks_are_found_again() -> None:
    part = read_model(memoryview(cut(BLOCKS, 1))).main
    blocks = next(t.blocks for t in part.tensors if t.name == "w")
    assert blocks is not None
    assert [part.tensors[i].name for i in (blocks.scales, blocks.zero_points)] == ["scales", "zeros"]
    assert "before" not in {tensor.name for tensor in part.tensors}


def test_what_lies_behind_the_flatbuffer_comes_inside() -> None:
    data = float_model(dense())
    whole = unpacked(data)
    kernel = next(buffer for buffer in whole.buffers if buffer.data is not None)
    moved = bytes(kernel.data)
    kernel.data, kernel.offset, kernel.size = None, 4096, len(moved)
    outside = _packed_as_it_is(whole).ljust(4096, b"\0") + moved
    assert cut(outside, 0, 1, 2) == cut(data, 0, 1, 2)


def _packed_as_it_is(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("chosen", [(), (3,), (-1,)])
def test_operators_that_are_not_there(chosen: tuple[int, ...]) -> None:
    with pytest.raises(NoSuchElement, match="operators 0 to 2"):
        part_of(read_model(memoryview(float_model(dense()))).main, chosen)
