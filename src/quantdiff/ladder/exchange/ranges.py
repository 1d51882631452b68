"""Activations: scale and zero point of the file instead of the ranges that training left, or where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantdiff.align.alignment import TensorPair
from quantdiff.graph import Tensor
from quantdiff.ladder.exchange.changes import Change, Exchange, assign, replace
from quantdiff.ladder.exchange.variables import variable_of
from quantdiff.layer import OUTPUT_RANGES, Layer, TrainedRange
from quantdiff.nudge import nudge_fake_quant
from quantdiff.parameters.sides import ModelPair
from quantdiff.quant import INTEGER_RANGE, Array, Grid, dequantize, quantize, real_range
from quantdiff.references.keras.frameworks import frameworks

BEFORE = "pre_activation"
SAME = 2.0**-10
"""Steps at either end of a range: a float32's rounding is a hundredth of it."""
COPIES = (
    "BATCH_TO_SPACE_ND", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "MIRROR_PAD",
    "PACK", "PAD", "PADV2", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH",
    "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK",
)  # fmt: skip


def exchange_ranges(sides: ModelPair, live: dict[str, Any], *, aware: bool) -> Exchange:
    """Every activation whose grid in the file is another than in the model, or that has none in the model.

    ``aware`` tells a quantization-aware model, in which what an operator copies is on a grid already.
    """
    changes: list[Change] = []
    grids: dict[str, Grid] = {}
    for pair in sides.alignment.pairs:
        if pair.role not in ("output", BEFORE) or (grid := grid_of_pair(sides, pair)) is None:
            continue
        layer = next(each for each in sides.layers if each.name == pair.layer)
        changes += _twice(sides, pair, live[layer.name], layer)
        trained = layer.range_of(*(OUTPUT_RANGES if pair.role == "output" else (BEFORE,)))
        if trained is not None:
            changes += _moved(live[layer.name], layer, trained, grid)
        elif pair.role == BEFORE:
            changes += _before(live[layer.name], layer, grid)
        elif not (aware and _is_copy(sides, pair)):
            grids[layer.name] = grid
    return Exchange(tuple(changes), grids)


def grid_of_pair(sides: ModelPair, pair: TensorPair) -> Grid | None:
    """The grid of the pair's tensor; None where it is no quantized activation."""
    tensor = sides.graph.tensors[pair.tensor]
    return Grid(tensor.quant, tensor.dtype, tensor.name) if _on_grid(tensor) and tensor.quant is not None else None


def put_on(x: Array, grid: Grid) -> Array:
    """``x`` rounded to the grid, in real units, float32."""
    return dequantize(quantize(x, grid.params, grid.dtype), grid.params)


def _on_grid(tensor: Tensor) -> bool:
    quant = tensor.quant
    return quant is not None and quant.axis is None and bool(quant.scale) and tensor.dtype in INTEGER_RANGE


def _moved(keras: Any, layer: Layer, trained: TrainedRange, grid: Grid) -> Iterator[Change]:
    """The variables set to the ends of the file's range, unless they mean the same."""
    ((low,), (high,)) = real_range(grid.params, grid.dtype, narrow=trained.narrow)
    nudged = nudge_fake_quant(np.array(trained.low), np.array(trained.high), bits=trained.bits, narrow=trained.narrow)
    step = grid.params.scale[0]
    ends = np.array([float(nudged.low[0]) - low, float(nudged.high[0]) - high])
    if np.abs(ends).max() < SAME * step:
        return
    for name, value in (("min", low), ("max", high)):
        variable = variable_of(keras, f"{trained.name}_{name}", f"{layer.name}_{name}")
        if variable is not None:
            yield assign(layer.name, variable, np.full(variable.shape, value))


def _before(keras: Any, layer: Layer, grid: Grid) -> Iterator[Change]:
    """In a float layer with an activation of its own operator: what goes into it is put on the grid."""
    activation = getattr(keras, "activation", None)
    if activation is None or layer.ranges:
        return
    tensor = frameworks().tf.convert_to_tensor
    yield replace(layer.name, keras, "activation", lambda x: activation(tensor(put_on(np.asarray(x), grid))))


def _twice(sides: ModelPair, pair: TensorPair, keras: Any, layer: Layer) -> Iterator[Change]:
    """The converter may round what a layer gives to its input's grid first: pooling cannot change the scale."""
    operator = None if pair.operator is None else sides.graph.operators[pair.operator]
    inner = getattr(keras, "layer", None)
    if operator is None or operator.op != "QUANTIZE" or inner is None:
        return
    first = sides.graph.tensors[operator.inputs[0]]
    makes = any(first.index in op.outputs for op in sides.graph.operators)
    if makes and _on_grid(first) and first.quant is not None:
        call, grid = inner.call, Grid(first.quant, first.dtype, first.name)
        tensor = frameworks().tf.convert_to_tensor

        def rounded(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            return tensor(put_on(np.asarray(call(inputs, *args, **kwargs)), grid))

        yield replace(layer.name, inner, "call", rounded)


def _is_copy(sides: ModelPair, pair: TensorPair) -> bool:
    if pair.operator is None:
        return True
    operator = sides.graph.operators[pair.operator]
    quant = sides.graph.tensors[pair.tensor].quant
    return operator.op in COPIES and any(sides.graph.tensors[i].quant == quant for i in operator.inputs if i >= 0)
