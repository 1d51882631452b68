"""A layer of a trained model as values: weights, what training left behind, who feeds it; no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.ops import traits
from quantdiff.quant import Array, Grid

KERNEL_RANGES = ("kernel", "depthwise_kernel")
OUTPUT_RANGES = ("post_activation", "output", "quantize_layer")


@dataclass(frozen=True, slots=True)
class TrainedRange:
    """One quantizer and the range it holds: one min and max per tensor, or per channel.

    ``name`` is what the variables are called without ``_min`` and ``_max``: ``kernel``, ``post_activation``,
    ``output``, ``quantize_layer``. ``quantizer`` is the class: ``MovingAverageQuantizer``, …. ``grid`` is what it made
    of its range, where it says so itself, as PyTorch's and ONNX's do; TFMOT's rules follow from the range alone.
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    quantizer: str
    bits: int = 8
    narrow: bool = False
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """What a batch normalization has learned: ``y = (x - mean) * factor + beta``, per channel."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    @property
    def factor(self) -> Array:
        """``gamma / sqrt(variance + epsilon)``, double."""
        factor: Array = self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + self.epsilon)
        return factor


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a trained model, whoever trained it.

    Attributes:
        name: its path, ``early/dense`` for a layer of a submodel: no two layers share one.
        kind: its class, in the words of its own framework; without the wrapper of quantization-aware training.
        inputs: the names of the layers that feed it.
        op: TFLite's word for what it computes, empty where there is no single one.
        activation: the activation inside the layer; ``linear`` for none.
        ranges: what quantizers learned.
        kernel: float weights in TFLite's axes: (units, depth); (out, height, width, in); depthwise (1, h, w, out).
        bias: float, one per output channel.
        norm: batch normalization.
        options: strides, padding and the like.
        inner: the sums of products inside it that give no value of their own: gates, projections of attention.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    activation: str = "linear"
    ranges: tuple[TrainedRange, ...] = ()
    kernel: Array | None = field(default=None, compare=False, repr=False)
    bias: Array | None = field(default=None, compare=False, repr=False)
    norm: BatchNorm | None = field(default=None, compare=False, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    op: str = ""
    inner: tuple[Layer, ...] = field(default=(), compare=False, repr=False)

    @property
    def plain(self) -> str:
        """The path that the layer had before ``quantize_model``."""
        head, _, last = self.name.rpartition("/")
        return f"{head}/{last.removeprefix('quant_')}".removeprefix("/")

    @property
    def channel_axis(self) -> int:
        """The axis of the kernel that runs along the output channels."""
        return traits(self.op).channel_axis

    def range_of(self, *names: str) -> TrainedRange | None:
        """The first range called one of ``names``."""
        return next((r for r in self.ranges if r.name in names), None)


def along_channels(layer: Layer, values: Array) -> Array:
    """One value per output channel, shaped to broadcast over the layer's kernel."""
    assert layer.kernel is not None
    shape = [1] * layer.kernel.ndim
    shape[layer.channel_axis] = -1
    return values.reshape(shape)
