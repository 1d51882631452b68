"""Seeded random input over the whole range of each of a model's inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from quantdiff.errors import BadData
from quantdiff.graph import Graph, Model, Tensor, is_float
from quantdiff.load.data import Batch, Slot
from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, dequantize

SAMPLES, SEED, FEW = 64, 0, 16
ELEMENTS_AT_MOST = 2**25
"""Activations of all samples together, so that a large model is verified on fewer."""


def samples_for(graph: Graph, wanted: int = SAMPLES) -> int:
    """How many samples keep the activations of a run within bounds."""
    made = sum(math.prod(graph.tensors[i].shape) for operator in graph.operators for i in operator.outputs)
    return max(1, min(wanted, ELEMENTS_AT_MOST // max(1, made)))


def random_inputs(graph: Graph, samples: int, seed: int = SEED) -> list[Array]:
    """One array per input. Shapes: (samples, *shape of the input).

    Raises:
        BadData: an input takes what is no number.
    """
    rng = np.random.default_rng(seed)
    return [_random(graph, graph.tensors[i], samples, rng) for i in graph.inputs]


def random_batch(model: Model, slots: Sequence[Slot], samples: int = FEW) -> Batch:
    """Seeded random input for two models, in real units, named as the one that takes ``slots`` names its inputs.

    Raises:
        BadData: the two take another number of inputs.
    """
    graph = model.main
    arrays = random_inputs(graph, samples)
    if len(slots) != len(arrays):
        raise BadData(f"one model has {len(slots)} inputs, the other {len(arrays)}; give --data with an array for each")
    real = [_real(graph.tensors[i], array) for i, array in zip(graph.inputs, arrays, strict=True)]
    named = {slot.name: array.reshape(len(array), *array.shape[2:]) for slot, array in zip(slots, real, strict=True)}
    return Batch(named, None, "seeded random input")


def _real(tensor: Tensor, array: Array) -> Array:
    return array if tensor.quant is None else dequantize(array, tensor.quant)


def _random(graph: Graph, tensor: Tensor, samples: int, rng: np.random.Generator) -> Array:
    shape = (samples, *tensor.shape)
    if tensor.dtype not in np.sctypeDict:
        kind = "text" if tensor.dtype == "string" else tensor.dtype
        raise BadData(f"input {tensor.label!r} takes {kind}, which cannot be fed: cut the model behind it")
    if tensor.dtype in ("int8", "uint8", "int16"):
        return rng.integers(*INTEGER_RANGE[tensor.dtype], shape, endpoint=True).astype(tensor.dtype)
    if is_float(tensor.dtype):
        return _random_floats(graph, tensor, shape, rng).astype(tensor.dtype)
    return rng.integers(0, 1, shape, endpoint=True).astype(tensor.dtype)


def _random_floats(graph: Graph, tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Floats a little beyond the range of the tensor that they are quantized to, else normal ones."""
    grids = [
        graph.tensors[op.outputs[0]]
        for op in graph.operators
        if op.op == "QUANTIZE" and op.inputs[0] == tensor.index and graph.tensors[op.outputs[0]].quant
    ]
    if not grids or not isinstance(grids[0].quant, QuantParams):
        return rng.normal(size=shape)
    low, high = ((q - grids[0].quant.zero_point[0]) * grids[0].quant.scale[0] for q in INTEGER_RANGE[grids[0].dtype])
    return rng.uniform(low - 0.05 * (high - low), high + 0.05 * (high - low), shape)
