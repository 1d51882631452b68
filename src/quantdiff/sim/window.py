"""Sliding windows over images: padding, stride and dilation, as views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from quantdiff.quant import Array
from quantdiff.sim.node import Node, sized


@dataclass(frozen=True, slots=True)
class Axis:
    """One image axis: ``size`` inputs, ``taps`` taps, and the padding in front."""

    size: int
    taps: int
    stride: int
    dilation: int
    before: int
    out: int

    @property
    def after(self) -> int:
        """Padding needed behind, so that the last window is whole."""
        last = (self.out - 1) * self.stride + (self.taps - 1) * self.dilation + 1
        return max(0, last - self.size - self.before)

    @property
    def used(self) -> int:
        """How many padded inputs the windows reach."""
        return (self.out - 1) * self.stride + (self.taps - 1) * self.dilation + 1


def axis_of(size: int, taps: int, stride: int, dilation: int, padding: str) -> Axis:
    """Output size and padding in front (``tflite/kernels/padding.h``, ``ComputePaddingHeightWidth``)."""
    if min(size, taps, stride, dilation) < 1:
        raise ValueError(f"size {size}, taps {taps}, stride {stride}, dilation {dilation}: each must be 1 or more")
    reach = (taps - 1) * dilation + 1
    out = -(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride)
    before = max(0, (out - 1) * stride + reach - size) // 2
    return Axis(size, taps, stride, dilation, before, out)


def axes_of(node: Node, shape: tuple[int, ...], taps: tuple[int, int]) -> tuple[Axis, Axis]:
    """Rows and columns of a convolution or a pool over an NHWC input of ``shape``."""
    padding = str(node.option("padding", "SAME"))
    rows, columns = (
        axis_of(
            shape[i + 1],
            taps[i],
            int(node.option(f"stride_{side}", 1)),
            int(node.option(f"dilation_{side}_factor", 1)),
            padding,
        )
        for i, side in enumerate("hw")
    )
    return rows, columns


def pad_image(x: Array, axes: tuple[Axis, Axis], value: float) -> Array:
    """``x`` with ``value`` around its two image axes. Shapes: (n, h, w, c) -> (n, h + …, w + …, c)."""
    rows, columns = axes
    _, height, width, channels = x.shape
    sized(
        (height + rows.before + rows.after, width + columns.before + columns.after, channels), height * width * channels
    )
    widths = ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0))
    return np.pad(x, widths, constant_values=value) if any(map(any, widths)) else x


def centred_image(x: Array, zero_point: int, axes: tuple[Axis, Axis]) -> Array:
    """``x - zero_point`` in float32, with zeros around it. Shapes: (n, h, w, c) -> (n, h + …, w + …, c)."""
    rows, columns = axes
    n, h, w, c = x.shape
    whole = h + rows.before + rows.after, w + columns.before + columns.after, c
    image = np.zeros((n, *sized(whole, h * w * c)), np.float32)
    inside = image[:, rows.before : rows.before + h, columns.before : columns.before + w]
    np.subtract(x, np.float32(zero_point), out=inside, casting="unsafe", dtype=np.float32)
    return image


def windows(x: Array, axes: tuple[Axis, Axis]) -> Array:
    """Every window of a padded image, as a view.

    Shapes: (n, h, w, c) -> (n, out_h, out_w, taps_h, taps_w, c).
    """
    rows, columns = axes
    n, h, w, c = x.strides
    shape = (x.shape[0], rows.out, columns.out, rows.taps, columns.taps, x.shape[3])
    strides = (n, h * rows.stride, w * columns.stride, h * rows.dilation, w * columns.dilation, c)
    return as_strided(x, shape, strides, writeable=False)
