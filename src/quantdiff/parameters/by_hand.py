"""A layer computed once more in NumPy, in double, from its weights and its input: no framework, no runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from quantdiff.quant import Array

LINEAR = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
CLAMPS = {"linear": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, slots=True)
class Linear:
    """What a dense or convolution layer needs, the kernel in TFLite's axes; ``clamp`` is the fused activation."""

    op: str
    kernel: Array = field(compare=False)
    bias: Array | None = field(default=None, compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    clamp: tuple[float, float] = CLAMPS["linear"]


def by_hand(layer: Linear, x: Array) -> Array:
    """The output of ``layer`` for ``x``, samples along axis 0."""
    x = x.astype(np.float64)
    y = x @ layer.kernel.T if layer.op == "FULLY_CONNECTED" else _convolve(layer, x)
    if layer.bias is not None:
        y = y + layer.bias
    clamped: Array = np.clip(y, *layer.clamp)
    return clamped


def _convolve(layer: Linear, x: Array) -> Array:
    """(n, h, w, c) and a kernel (out, kh, kw, c) → (n, h', w', out); depthwise (1, kh, kw, c·m) → c·m channels."""
    kernel, (sh, sw), (dh, dw) = layer.kernel, layer.options["strides"], layer.options["dilation_rate"]
    spans = [(n - 1) * d + 1 for n, d in zip(kernel.shape[1:3], (dh, dw), strict=True)]
    if str(layer.options["padding"]).lower() == "same":
        pads = [_same(n, span, s) for n, span, s in zip(x.shape[1:], spans, (sh, sw), strict=False)]
        x = np.pad(x, ((0, 0), *pads, (0, 0)))
    windows = sliding_window_view(x, spans, axis=(1, 2))[:, ::sh, ::sw, :, ::dh, ::dw]
    if layer.op == "DEPTHWISE_CONV_2D":
        taps = kernel[0].reshape(*kernel.shape[1:3], x.shape[3], -1)
        y = np.einsum("nhwcij,ijcm->nhwcm", windows, taps)
        return np.asarray(y.reshape(*y.shape[:3], -1))
    y = np.tensordot(windows, kernel, axes=([4, 5, 3], [1, 2, 3]))
    return np.asarray(y)


def _same(size: int, span: int, stride: int) -> tuple[int, int]:
    """Padding before and after, as TensorFlow's SAME has it."""
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2
