"""Make a model take inner tensors as inputs: every operator then runs on values given from outside.

Unlike ``rewrite``, which appends to the file, this reads it into LiteRT's own objects and writes it anew.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from copy import copy
from typing import Any

from quantdiff.errors import BadModel


def with_inputs(model: bytes, tensors: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The model with a copy of each of ``tensors`` as a further input of its main subgraph, after those it has.

    Whatever reads one of ``tensors`` reads its copy instead. ``outputs`` become the outputs.

    Raises:
        BadModel: the bytes are no TFLite model that can be written anew.
    """
    import flatbuffers  # noqa: PLC0415 (heavy, and only needed here)
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    try:
        whole = schema.ModelT.InitFromPackedBuf(model, 0)
        _exchange(whole.subgraphs[0], tensors, outputs)
        builder = flatbuffers.Builder(len(model))
        builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
    except (struct.error, TypeError, AttributeError, flatbuffers.builder.BuilderSizeError) as error:
        raise BadModel(f"the model cannot be written with other inputs: {error}") from error


def _exchange(graph: Any, tensors: Sequence[int], outputs: Sequence[int]) -> None:
    copies = {}
    for index in tensors:
        tensor = copy(graph.tensors[index])
        tensor.name, tensor.buffer, tensor.isVariable = b"given/" + bytes(tensor.name or b""), 0, False
        copies[index] = len(graph.tensors)
        graph.tensors.append(tensor)
    for operator in graph.operators:
        if operator.inputs is not None:
            operator.inputs = [copies.get(int(i), int(i)) for i in operator.inputs]
    graph.inputs = [*map(int, graph.inputs), *copies.values()]
    graph.outputs = list(outputs)
