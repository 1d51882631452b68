"""A layer of a trained model as values: weights, what training left behind, who feeds it; no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.quant import Array

KERNEL_RANGES = ("kernel", "depthwise_kernel")
OUTPUT_RANGES = ("post_activation", "output", "quantize_layer")


@dataclass(frozen=True, slots=True)
class TrainedRange:
    """One quantizer of TFMOT and the range it holds: one min and max per tensor, or per channel.

    ``name`` is what the variables are called without ``_min`` and ``_max``: ``kernel``, ``post_activation``,
    ``output``, ``quantize_layer``. ``quantizer`` is the class: ``MovingAverageQuantizer``, ….
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    quantizer: str
    bits: int = 8
    narrow: bool = False


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
    """One layer, TFMOT's wrapper taken off: ``kind`` is the class inside, ``name`` the wrapper's name.

    ``inputs`` are the names of the layers that feed it. ``kernel`` and ``bias`` are the float variables.
    ``options`` are strides, padding and the like, as Keras has them.
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

    @property
    def plain(self) -> str:
        """The name that the layer had before ``quantize_model``."""
        return self.name.removeprefix("quant_")

    def range_of(self, *names: str) -> TrainedRange | None:
        """The first range called one of ``names``."""
        return next((r for r in self.ranges if r.name in names), None)
