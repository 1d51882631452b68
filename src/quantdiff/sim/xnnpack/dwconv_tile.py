"""The taps that XNNPACK's depthwise kernels have too many: their weight is 0, what they read is a neighbour's.

Kernels exist for a few numbers of taps (``src/configs/dwconv-config.c``); a window with fewer takes the next larger
one. It finds its values through a list of pointers, column by column and window by window, in which neighbours share
what they both see (``src/operators/convolution-nhwc.c``, ``reshape_dwconv``; ``src/indirection.c``,
``xnn_indirection_init_dwconv2d``), and simply reads on. A value times 0 is a zero of its sign, or NaN.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.window import Axis

TILES = (3, 4, 9, 25)


def unused_taps(image: Array, axes: tuple[Axis, Axis]) -> Iterator[Array]:
    """What each tap too many reads. Shapes: padded image (n, h, w, c) -> (n, out_h, out_w, c), one a tap."""
    rows, columns = axes
    taps = rows.taps * columns.taps
    step = rows.taps * (min(columns.stride, columns.taps) if columns.dilation == 1 else columns.taps)
    line = taps + (columns.out - 1) * step
    places = _places(axes, line, step)
    starts = np.arange(rows.out)[:, None] * line + np.arange(columns.out) * step
    for tap in range(taps, next(tile for tile in TILES if tile >= taps)):
        y, x = places[:, np.minimum(starts + tap, places.shape[1] - 1)]
        yield image[:, y, x]


def _places(axes: tuple[Axis, Axis], line: int, step: int) -> Array:
    """Where each pointer of the list points: row and column of the padded image. Shape: (2, pointers)."""
    rows, columns = axes
    places = np.zeros((2, rows.out * line), np.intp)
    out_y, out_x, i, j = np.ogrid[: rows.out, : columns.out, : rows.taps, : columns.taps]
    index = out_y * line + out_x * step + j * rows.taps + i
    y, x = out_y * rows.stride + i * rows.dilation, out_x * columns.stride + j * columns.dilation
    places[:, index] = np.stack(np.broadcast_arrays(y, x))
    return places
