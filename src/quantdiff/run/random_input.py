"""Seeded random input over the whole range of each of a model's inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from quantdiff.errors import BadData
from quantdiff.graph import Graph, Model, Tensor
from quantdiff.load.data import Batch, Slot
from quantdiff.ops import INTO_INTEGERS
from quantdiff.quant import INTEGER_RANGE, Array, dequantize, is_float

SAMPLES, SEED, FEW = 64, 0, 16
SAMPLES_AT_MOST, IMAGE = 10**6, 3  # axes, that of samples among them
MADE_UP = ("random", "smooth")
CALLED = re.compile(rf"({'|'.join(MADE_UP)}) (\(\d+ samples, seed \d+\))")
"""What ``made_up`` calls its batches; a file of such a name is a file."""
COARSE = 8
"""Pixels of a smooth image between two values that are drawn."""
LARGEST = 1e30  # scale: beyond it float32 does not hold the range
DRAWN_AT_MOST = 2**27  # numbers of one sample
ELEMENTS_AT_MOST = 2**25
"""Inputs and activations of all samples together, so that a large model is verified on fewer."""


def samples_for(graph: Graph, wanted: int = SAMPLES, elements: int = ELEMENTS_AT_MOST) -> int:
    """How many samples keep the inputs and activations of a run within so many elements."""
    made = sum(math.prod(graph.tensors[i].shape) for operator in graph.operators for i in operator.outputs)
    made += sum(math.prod(graph.tensors[i].shape) for i in graph.inputs)
    return max(1, min(wanted, elements // max(1, made)))


def random_inputs(graph: Graph, samples: int, seed: int = SEED) -> list[Array]:
    """One array per input. Shapes: (samples, *shape of the input).

    Raises:
        BadData: an input of a size that no data can have, or that nobody would draw.
    """
    for tensor in (graph.tensors[i] for i in graph.inputs):
        _check_drawn(tensor)
    rng = np.random.default_rng(seed)
    return [_random(graph, graph.tensors[i], samples, rng) for i in graph.inputs]


def made_up(name: str, model: Model) -> Batch:
    """``random[:N[:SEED]]`` over the whole range of each input, or ``smooth[:N[:SEED]]``, as images are.

    Raises:
        BadData: numbers that count nothing, or an input whose shape the file leaves open.
    """
    kind, *numbers = name.split(":")
    try:
        samples, seed = (*map(int, numbers), *(SAMPLES, SEED)[len(numbers) :])
        if not 0 < samples <= SAMPLES_AT_MOST or seed < 0:
            raise ValueError(name)
    except ValueError as error:
        most = f"whole numbers, at most {SAMPLES_AT_MOST:,} samples"
        raise BadData(f"{name}: say {kind}, {kind}:SAMPLES or {kind}:SAMPLES:SEED, in {most}") from error
    graph, rng = model.main, np.random.default_rng(seed)
    stored = zip(graph.inputs, random_inputs(graph, samples, seed), strict=True)
    arrays = [_real(graph.tensors[i], _samples(x)) for i, x in stored]
    if kind == "smooth":
        arrays = [_smooth(x, rng) for x in arrays]
    names = ["x"] if len(arrays) == 1 else [str(i) for i, _ in enumerate(arrays)]
    return Batch(dict(zip(names, arrays, strict=True)), None, f"{kind} ({samples} samples, seed {seed})")


def _smooth(x: Array, rng: np.random.Generator) -> Array:
    """As many images over the same range; what is no image, or counts, stays as it is. Shape: (samples, h, w, …)."""
    if x.ndim < IMAGE or x.dtype.kind != "f":
        return x
    sizes = [max(2, n // COARSE + 1) for n in x.shape[1:3]]
    coarse = rng.uniform(float(x.min()), float(x.max()), (len(x), *sizes, *x.shape[3:]))
    down, right = (_between(n, m) for n, m in zip(x.shape[1:3], sizes, strict=True))
    return np.asarray(np.einsum("ya,xb,nab...->nyx...", down, right, coarse, optimize=True), x.dtype)


def _between(fine: int, coarse: int) -> Array:
    """Weights that interpolate linearly. Shape: (fine, coarse)."""
    places = np.linspace(0, coarse - 1, fine)
    return np.stack([np.interp(places, np.arange(coarse), row) for row in np.eye(coarse)], axis=1)


def _check_drawn(tensor: Tensor) -> None:
    try:
        known = np.dtype(tensor.dtype).kind in "fiubc"
    except TypeError:  # of LiteRT alone, or of a damaged file
        known = False
    if not known or min(tensor.shape, default=0) < 0 or math.prod(tensor.shape) > DRAWN_AT_MOST:
        kind = f"{tensor.dtype}{list(tensor.shape)}"
        raise BadData(f"input {tensor.name!r} is {kind}: no random values are drawn for it; give --data")


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
    named = {slot.name: _samples(array) for slot, array in zip(slots, real, strict=True)}
    return Batch(named, None, "seeded random input")


def _samples(x: Array) -> Array:
    """The samples in place of an axis of 1; an input that takes none, or several at once, keeps its shape whole."""
    return x[:, 0] if x.shape[1:2] == (1,) else x


def _real(tensor: Tensor, array: Array) -> Array:
    return dequantize(array, tensor.quant) if tensor.quant is not None and array.dtype.kind in "iu" else array


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
    readers = [op for op in graph.operators if op.op == INTO_INTEGERS and op.inputs[:1] == (tensor.index,)]
    grids = [grid for op in readers for i in op.outputs[:1] if (grid := graph.tensors[i].grid) is not None]
    if not grids or not 0 < grids[0].params.scale[0] < LARGEST:
        return rng.normal(size=shape)
    low, high = ((q - grids[0].params.zero_point[0]) * grids[0].params.scale[0] for q in INTEGER_RANGE[grids[0].dtype])
    return rng.uniform(low - 0.05 * (high - low), high + 0.05 * (high - low), shape)
