"""The file itself with other ranges and biases: what needs no new conversion."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.ladder.advice.choices import Choice, copies_of
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import Array


def mended(content: bytes, switches: Switches, choices: Sequence[Choice]) -> bytes:
    """The file with the ranges, biases and kernels of some choices; every bias stays on the grid its operator expects.

    A range moves scale and zero point of a tensor and of those that only copy it. Operators take both from the file;
    the biases of those that read it are stored anew, since their step is that of the input times that of the weights.

    Raises:
        BadModel: the file cannot be written anew, or a bias does not fit into int32.
    """
    import flatbuffers  # noqa: PLC0415 (heavy, and only needed here)
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    grids = {i: grid for c in choices for tensor, grid in c.grids.items() for i in copies_of(switches, tensor)}
    corrected = {i: values for c in choices for i, values in c.constants.items()}
    scales = {i: scale for c in choices for i, scale in c.scales.items()}
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        tensors = model.subgraphs[0].tensors
        for tensor, grid in grids.items():
            _scaled(tensors[tensor], [grid.scale], [grid.zero_point])
        stored = [(i, scale, "<i1") for i, scale in scales.items()]
        stored += [(i, scale, "<i4") for i, scale in _biases(switches, grids, corrected, scales)]
        for tensor, scale, dtype in stored:
            codes = np.rint(corrected.get(tensor, switches.file.constants[tensor]) / scale)
            if np.abs(codes).max(initial=0) > np.iinfo(dtype).max:
                raise BadModel(f"bias {switches.file.graph.tensors[tensor].label}: beyond int32 with this range")
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(codes.astype(dtype).tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensors[tensor].buffer = len(model.buffers) - 1
            _scaled(tensors[tensor], scale.reshape(-1), [0] * scale.size)
        builder = flatbuffers.Builder(len(content))
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
    except (struct.error, TypeError, AttributeError, flatbuffers.builder.BuilderSizeError) as error:
        raise BadModel(f"the file cannot be written anew: {error}") from error


def _scaled(tensor: Any, scale: Any, zero_point: Any) -> None:
    tensor.quantization.scale = np.asarray(scale, np.float32)
    tensor.quantization.zeroPoint = np.asarray(zero_point, np.int64)
    tensor.quantization.min = tensor.quantization.max = None


def _biases(
    switches: Switches, grids: Mapping[int, Grid], corrected: Mapping[int, Array], scales: Mapping[int, Array]
) -> Iterator[tuple[int, Array]]:
    """Every bias that changes, and its scale, one for all or one for each channel."""
    graph = switches.file.graph
    for operator in graph.operators:
        known = traits(operator.op)
        if known.bias is None or known.weights is None or known.bias >= len(operator.inputs):
            continue
        x, bias, weights = (operator.inputs[place] for place in (known.x, known.bias, known.weights))
        if bias not in switches.biases or (x not in grids and bias not in corrected and weights not in scales):
            continue
        if len(graph.readers(bias)) > 1 and (x in grids or weights in scales):
            raise BadModel(f"bias {graph.tensors[bias].label}: several operators share it; its input keeps its range")
        step = grids[x].scale if x in grids else switches.file.grids[x].scale
        quant = graph.tensors[weights].quant
        assert quant is not None
        own = scales[weights].reshape(-1) if weights in scales else np.asarray(quant.scale, np.float32)
        yield bias, np.float32(step) * own.astype(np.float64)
