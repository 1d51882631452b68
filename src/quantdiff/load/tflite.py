"""A ``.tflite`` file → ``Model``, read from the flatbuffer itself: no interpreter, no TensorFlow.

The interpreter drops part of what the file holds (stored min and max have no place in its C structures);
here nothing is dropped, and the constants are views of the memory-mapped file.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.files import open_file, split_part
from quantdiff.graph import Graph, Metadata, Model, Operator, Signature, Tensor
from quantdiff.load.containers import MAGIC, NotThere, Section, _part_of, model_in, sections
from quantdiff.load.flatbuffer import Buffers, Damaged, Reader, Record, Span, enum
from quantdiff.load.npz import guard
from quantdiff.load.packed import blocks_of, sparsity_of, with_block_scales
from quantdiff.quant import Array, QuantParams

IDENTIFIER = b"TFL3"
OTHER_FILES = {
    b"version https://git-lfs": "a Git LFS pointer: run git lfs pull",
    b"PK\x03\x04": "a zip archive, as .keras files and task bundles are",
    b"\x89HDF": "an HDF5 file, as Keras' .h5 is",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
HALF, HALF_AT_MOST = re.compile(rb"(?:bf16)*fp16(?:fp16|bf16)*accfp16"), 1000
"""What a file says that lets floats be computed in 16 bits, their sums too; and the most bytes of it that are read."""
HOW_TO_GO_ON = "take a fresh copy of the file, or convert the model again"


def load_tflite(path: str | Path) -> Model:
    """The model in the file at ``path``; its constants stay in the file until they are read.

    Args:
        path: a ``.tflite`` file, a signature of one (``model.tflite#encode``), or a model of a container
            (``model.litertlm#prefill``); the file must stay as it is while the model is in use.

    Returns:
        Every subgraph with its tensors and operators; scales are real units per step, as stored (float32).

    Raises:
        BadModel: there is no such file, it is no TFLite model, or it is damaged.
    """
    path = Path(path)
    file, part = split_part(path)
    try:
        data, part = _model_of(_map(file), part)
        model = read_model(data, path)
        if part or len(data) != file.stat().st_size:
            model = _part_of(model, data, part)
        return replace(model, attached=_attached(file), called=names_beside(file))
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror or error}; check the path") from error
    except NotThere as error:
        raise BadModel(f"{file}: {error}") from error
    except Damaged as error:
        raise BadModel(f"{path}: {error}; {HOW_TO_GO_ON}") from error
    except struct.error as error:
        raise BadModel(f"{path}: a table reaches past the end of the file; {HOW_TO_GO_ON}") from error


def container_sections(path: Path) -> tuple[Section, ...]:
    """The sections of a ``.litertlm``; () of any other file, and of a part of one.

    Raises:
        BadModel: the container is damaged.
    """
    try:
        data = _map(path) if path.is_file() else memoryview(b"")
        return sections(data) if bytes(data[: len(MAGIC)]) == MAGIC else ()
    except (Damaged, struct.error, OSError) as error:
        raise BadModel(f"{path}: {error}; {HOW_TO_GO_ON}") from error


def read_model(data: memoryview, path: Path | None = None) -> Model:
    """The model in ``data``.

    Raises:
        Damaged, struct.error: the bytes are no whole TFLite model.
    """
    if bytes(data[4:8]) != IDENTIFIER:
        looks = next((what for start, what in OTHER_FILES.items() if bytes(data[: len(start)]) == start), "")
        raise Damaged(f"this is no TFLite model (bytes 4 to 7 are not TFL3{looks and f'; it is {looks}'})")
    reader = Reader(data)
    record = reader.root("Model")
    buffers = Buffers(reader, record["buffers"])
    codes = tuple(_op(reader.table("OperatorCode", at)) for at in record["operator_codes"])
    subgraphs = tuple(_graph(reader, buffers, codes, at) for at in record["subgraphs"])
    if not subgraphs:
        raise Damaged("it holds no subgraph")
    buffers.check()
    metadata = tuple(_metadata(reader, buffers, at) for at in record["metadata"])
    if any(map(_permits_half, metadata)):
        subgraphs = tuple(replace(graph, in_half=True) for graph in subgraphs)
    return Model(
        subgraphs=subgraphs,
        signatures=tuple(_signature(reader, subgraphs, at) for at in record["signature_defs"]),
        metadata=metadata,
        description=record["description"],
        version=record["version"],
        path=path,
    )


def _model_of(data: memoryview, part: str) -> tuple[memoryview, str]:
    """The bytes of the model, a part of a container, and what is meant in it."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        return data, part
    section, _, rest = part.partition("#")
    return model_in(data, section), rest


def _attached(path: Path) -> tuple[Metadata, ...]:
    """The members of a zip archive behind the flatbuffer; none where there is none, or a damaged one."""
    try:
        if not zipfile.is_zipfile(path):
            return ()
        with zipfile.ZipFile(path) as archive:
            return tuple(Metadata(entry.filename, entry.file_size) for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ()


def _map(path: Path) -> memoryview:
    with open_file(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise Damaged("the file is empty")
        guard()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _op(record: Mapping[str, Any]) -> tuple[str, int]:
    number = max(record["builtin_code"], record["deprecated_builtin_code"])
    name = enum("BuiltinOperator").get(number, f"BUILTIN_{number}")
    return (f"CUSTOM:{record['custom_code']}" if name == "CUSTOM" else name), record["version"]


def _graph(reader: Reader, buffers: Buffers, codes: tuple[tuple[str, int], ...], position: int) -> Graph:
    record = reader.table("SubGraph", position)
    tensors = tuple(read_tensor(reader, buffers, i, at) for i, at in enumerate(record["tensors"]))
    if any(tensor.blocks is not None for tensor in tensors):
        tensors = tuple(with_block_scales(tensor, tensors) for tensor in tensors)
    operators = tuple(_operator(reader, buffers, codes, i, at) for i, at in enumerate(record["operators"]))
    graph = Graph(record["name"], tensors, operators, record["inputs"], record["outputs"])
    _check_indices(graph)
    return graph


def _check_indices(graph: Graph) -> None:
    lists = [("the subgraph", graph.inputs, graph.outputs)]
    lists += [(f"operator {op.index} {op.op!r}", op.inputs, op.outputs) for op in graph.operators]
    for who, inputs, outputs in lists:
        used = inputs + outputs
        if used and not -1 <= min(used) <= max(used) < len(graph.tensors):
            raise Damaged(f"{who} names a tensor that does not exist")


def _operator(
    reader: Reader, buffers: Buffers, codes: tuple[tuple[str, int], ...], index: int, position: int
) -> Operator:
    record = reader.table("Operator", position)
    if not record["opcode_index"] < len(codes):
        raise Damaged(f"operator {index} has no operator code {record['opcode_index']}")
    op, version = codes[record["opcode_index"]]
    span = buffers.outside(record["large_custom_options_offset"], record["large_custom_options_size"])
    span = span or record["custom_options"]
    return Operator(
        index=index,
        op=op,
        inputs=record["inputs"],
        outputs=record["outputs"],
        version=version,
        options=_options(reader, buffers, record),
        intermediates=record["intermediates"],
        custom_options=buffers.view(span, "uint8", (span.size,)) if span.size else None,
    )


def _options(reader: Reader, buffers: Buffers, record: Mapping[str, Any]) -> dict[str, object]:
    for which in ("builtin_options", "builtin_options_2"):
        kind, position = record[f"{which}_type"], record[which]
        if position and kind != "NONE" and not kind.isdigit():
            options = reader.table(kind, position)
            spans = {name: value for name, value in options.items() if isinstance(value, Span)}
            return options | {name: buffers.view(span, "uint8", (span.size,)) for name, span in spans.items()}
    return {}


def _signature(reader: Reader, subgraphs: tuple[Graph, ...], position: int) -> Signature:
    record = reader.table("SignatureDef", position)
    if not record["subgraph_index"] < len(subgraphs):
        raise Damaged(f"signature {record['signature_key']!r} names a subgraph that does not exist")
    inputs, outputs = (_names(reader, record[side]) for side in ("inputs", "outputs"))
    return Signature(record["signature_key"], inputs, outputs, record["subgraph_index"])


def _names(reader: Reader, positions: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
    records = (reader.table("TensorMap", at) for at in positions)
    return tuple((record["name"], record["tensor_index"]) for record in records)


def _permits_half(entry: Metadata) -> bool:
    """As LiteRT reads it: ``tools/optimize/reduced_precision_metadata.h``."""
    said = b"" if entry.data is None else entry.data[:HALF_AT_MOST].tobytes()
    return entry.name == "reduced_precision_support" and HALF.fullmatch(said) is not None


def _metadata(reader: Reader, buffers: Buffers, position: int) -> Metadata:
    record = reader.table("Metadata", position)
    span = buffers.span(record["buffer"])
    return Metadata(record["name"], span.size, buffers.view(span, "uint8", (span.size,)))


ENDING = "_tensor_correspondence_report.json"
LARGEST = 2**26
"""Bytes of a report that is read."""
ROOT = "wa/"
"""What onnx2tf writes in place of a slash in front."""


def names_beside(path: Path) -> Mapping[str, str]:
    """By tensor the nodes of the ONNX model that it computes, joined by ``;``; empty without a report that can be read.

    ``net_full_integer_quant.tflite`` is told of by ``net_tensor_correspondence_report.json``.
    """
    report = next(filter(Path.is_file, _reports(path)), None)
    try:
        if report is None or report.stat().st_size > LARGEST:
            return {}
        found: dict[str, list[str]] = {}
        for record in json.loads(report.read_bytes())["records"]:
            name = str(record["onnx_op_name"] or record["onnx_output_name"])
            found.setdefault(str(record["resolved_tflite_tensor_name"]), []).append(_plain(name))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # a hint that cannot be read is none
        return {}
    return {tensor: ";".join(names) for tensor, names in found.items()}


def _reports(path: Path) -> Iterator[Path]:
    """The places where the report may lie: the file's name, and what stands before each of its underscores."""
    parts = path.stem.split("_")
    return (path.with_name("_".join(parts[:n]) + ENDING) for n in range(len(parts), 0, -1))


def _plain(name: str) -> str:
    return name.removeprefix(ROOT[:-1]) if name.startswith(ROOT) else name


UNQUANTIZED: Record = {
    "scale": (),
    "zero_point": (),
    "min": (),
    "max": (),
    "details": None,
    "quantized_dimension": 0,
}


def read_tensor(reader: Reader, buffers: Buffers, index: int, position: int) -> Tensor:
    """The tensor at ``position``.

    Raises:
        Damaged: with the tensor's index and name in front.
    """
    record = reader.table("Tensor", position)
    try:
        return _tensor(reader, buffers, index, record)
    except Damaged as error:
        raise Damaged(f"tensor {index} {record['name']!r}: {error}") from error


def _tensor(reader: Reader, buffers: Buffers, index: int, record: Record) -> Tensor:
    dtype, shape = record["type"].lower(), record["shape"]
    stored = reader.table("QuantizationParameters", at) if (at := record["quantization"]) else UNQUANTIZED
    sparsity = sparsity_of(reader, buffers, at) if (at := record["sparsity"]) else None
    span = buffers.span(record["buffer"])
    return Tensor(
        index=index,
        name=record["name"],
        shape=shape,
        dtype=dtype,
        quant=_quant(stored, shape),
        shape_signature=record["shape_signature"] or None,
        stored_zero_point=stored["zero_point"],
        stored_min=stored["min"],
        stored_max=stored["max"],
        is_variable=record["is_variable"],
        data=_data(buffers, span, record, dtype, sparse=sparsity is not None),
        stored_axis=stored["quantized_dimension"],
        buffer=record["buffer"],
        buffer_size=span.size,
        blocks=blocks_of(reader, stored) if stored["details"] else None,
        sparsity=sparsity,
    )


def _data(buffers: Buffers, span: Span, record: Record, dtype: str, *, sparse: bool) -> Array | None:
    empty = 0 in record["shape"] and record["buffer"] > 0
    if not span.size and not empty:
        return None
    return buffers.view(span, dtype, record["shape"], sparse=sparse)


def _quant(stored: Record, shape: tuple[int, ...]) -> QuantParams | None:
    scale, zero_point = stored["scale"], stored["zero_point"]
    if not scale:
        return None
    if zero_point and len(zero_point) != len(scale):
        raise Damaged(f"{len(scale)} scales but {len(zero_point)} zero points")
    return QuantParams(scale, zero_point or _zeros(len(scale)), _axis(stored, shape))


@lru_cache(maxsize=64)
def _zeros(count: int) -> tuple[int, ...]:
    return (0,) * count


def _axis(stored: Record, shape: tuple[int, ...]) -> int | None:
    """The axis that the scales run along; a file may say 3 for a bias, which has only axis 0."""
    axis, count = stored["quantized_dimension"], len(stored["scale"])
    if count == 1:
        return None
    if len(shape) == 1:
        axis = 0
    if not 0 <= axis < len(shape) or shape[axis] != count:
        raise Damaged(f"{count} scales along axis {axis} do not fit shape {list(shape)}")
    return int(axis)
