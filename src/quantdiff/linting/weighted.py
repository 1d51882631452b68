"""Operators that multiply by stored weights and add a bias: convolutions and dense layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from quantdiff.graph import Tensor
from quantdiff.linting.registry import Location
from quantdiff.linting.wiring import Wiring, is_quantized, scale, scales
from quantdiff.ops import traits
from quantdiff.quant import Array
from quantdiff.sim.node import Node

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Weighted:
    """``y = x · weights + bias`` with stored, quantized weights."""

    node: Node
    place: Location
    x: Tensor | None
    weights: Tensor
    bias: Tensor | None
    y: Tensor
    axis: int
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, find: Callable[[Weighted], T]) -> T:
        """What ``find`` says of the weights, looked for once: many operators may share them."""
        key = find, self.weights.index, self.axis
        if key not in self.known:
            self.known[key] = find(self)
        found: T = self.known[key]
        return found

    @property
    def per_channel(self) -> bool:
        """True when each output channel has a scale of its own."""
        return self.weights.quant is not None and self.weights.quant.axis is not None

    @property
    def multiplier(self) -> Array | None:
        """``s_x · s_w / s_y``, one for all channels or one each; None where a scale is missing or makes no sense."""
        s_x, s_w, s_y = scale(self.x), scales(self.weights), scale(self.y)
        return None if s_x is None or s_w is None or s_y is None else s_x * s_w / s_y

    @property
    def product_scale(self) -> Array | None:
        """``s_x · s_w``, rounded to float32 as ``GetQuantizedConvolutionMultipler`` does, where the bias is added."""
        s_x, s_w = scale(self.x), scales(self.weights)
        if s_x is None or s_w is None:
            return None
        with np.errstate(over="ignore", under="ignore"):  # a file may hold any scale
            return (np.float32(s_x) * s_w.astype(np.float32)).astype(np.float64)

    def rows(self) -> Array | None:
        """The stored integers, one row per output channel; None where the file packs or leaves out some."""
        data, shape = self.weights.data, self.weights.shape
        if data is None or data.shape != shape or self.axis >= data.ndim or not data.size:
            return None
        return np.moveaxis(data, self.axis, 0).reshape(shape[self.axis], -1)

    def zero_points(self) -> Array:
        """The weights' zero points: one, or one per channel as a column."""
        return np.asarray(self.weights.quant.zero_point if self.weights.quant else (0,), np.int64).reshape(-1, 1)

    def ends(self) -> tuple[Array, Array] | None:
        """Smallest and largest integer of each channel, counted from the zero point."""
        return self.once(_ends)

    def fits(self, rows: Array) -> bool:
        """True when there is one zero point, or one for each row."""
        return len(self.zero_points()) in (1, len(rows))

    def biases(self) -> Array | None:
        """The stored integer biases; None where there are none, or not one per channel."""
        if self.bias is None or self.bias.data is None or self.bias.dtype not in ("int32", "int64"):
            return None
        channels = self.weights.shape[self.axis] if self.axis < len(self.weights.shape) else -1
        return self.bias.data.reshape(-1) if self.bias.data.size == channels else None


def _ends(layer: Weighted) -> tuple[Array, Array] | None:
    rows = layer.rows()
    if rows is None or not layer.fits(rows):
        return None
    points = layer.zero_points()[:, 0]
    return rows.min(axis=1).astype(np.int64) - points, rows.max(axis=1).astype(np.int64) - points


def weighted(wiring: Wiring) -> Sequence[Weighted]:
    """The operators of a subgraph that have stored, quantized weights; looked for once, for all checks."""
    found: list[Weighted] | None = wiring.known.get(weighted)
    if found is None:
        found = wiring.known[weighted] = list(_weighted(wiring))
    return found


def _weighted(wiring: Wiring) -> Iterator[Weighted]:
    for node in wiring.nodes:
        known = traits(node.operator.op)
        weights = input_of(node, known.weights)
        if weights and weights.is_constant and is_quantized(weights) and node.outputs:
            x, bias = input_of(node, known.x), input_of(node, known.bias)
            place, y = wiring.operator(node), node.outputs[0]
            yield Weighted(node, place, x, weights, bias, y, known.channel_axis, wiring.known)


def input_of(node: Node, position: int | None) -> Tensor | None:
    """The input at ``position``; None where there is none, or the op has none."""
    return node.inputs[position] if position is not None and position < len(node.inputs) else None


def listed(channels: Array, total: int) -> str:
    """``2 of 64 channels (3, 17)``, the first few by index."""
    shown = ", ".join(map(str, channels[:4].tolist()))
    return f"{len(channels)} of {total} channels ({shown}{', …' if len(channels) > 4 else ''})"  # noqa: PLR2004
