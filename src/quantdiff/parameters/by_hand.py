"""A layer computed once more in NumPy, in double, from its weights and its input: no framework, no runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from quantdiff.quant import Array

CLAMPS = {"linear": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, slots=True)
class Linear:
    """What a dense or convolution layer needs, with kernel and bias as Keras orders them.

    ``kind`` is ``Dense``, ``Conv2D`` or ``DepthwiseConv2D``; ``clamp`` is the fused activation.
    """

    kind: str
    kernel: Array = field(compare=False)
    bias: Array | None = field(default=None, compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    clamp: tuple[float, float] = CLAMPS["linear"]


def by_hand(layer: Linear, x: Array) -> Array:
    """The output of ``layer`` for ``x``, samples along axis 0."""
    x = x.astype(np.float64)
    y = x @ layer.kernel if layer.kind == "Dense" else _convolve(layer, x)
    if layer.bias is not None:
        y = y + layer.bias
    clamped: Array = np.clip(y, *layer.clamp)
    return clamped


def _convolve(layer: Linear, x: Array) -> Array:
    """(n, h, w, c) and a kernel (kh, kw, c, out) → (n, h', w', out); depthwise (kh, kw, c, m) → c·m channels."""
    kernel, (sh, sw), (dh, dw) = layer.kernel, layer.options["strides"], layer.options["dilation_rate"]
    spans = [(n - 1) * d + 1 for n, d in zip(kernel.shape, (dh, dw), strict=False)]
    if str(layer.options["padding"]).lower() == "same":
        pads = [_same(n, span, s) for n, span, s in zip(x.shape[1:], spans, (sh, sw), strict=False)]
        x = np.pad(x, ((0, 0), *pads, (0, 0)))
    windows = sliding_window_view(x, spans, axis=(1, 2))[:, ::sh, ::sw, :, ::dh, ::dw]
    if layer.kind == "DepthwiseConv2D":
        y = np.einsum("nhwcij,ijcm->nhwcm", windows, kernel)
        return np.asarray(y.reshape(*y.shape[:3], -1))
    y = np.tensordot(windows, kernel, axes=([4, 5, 3], [0, 1, 2]))
    return np.asarray(y)


def _same(size: int, span: int, stride: int) -> tuple[int, int]:
    """Padding before and after, as TensorFlow's SAME has it."""
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2
