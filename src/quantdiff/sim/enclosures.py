"""Where a runtime's last bits cannot be known: an interval that holds its result whatever the order of its roundings.

An interval is proven from the real result and the number of roundings on the way, each a relative error of at most
2**-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and what XNNPACK flushes to zero. One
that is too wide to tell a wrong weight from a right one proves nothing and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import NoKernel

UNIT = 2.0**-24
"""The largest relative error of one rounding to float32."""
LOST = float(np.finfo(np.float32).tiny)
"""What one operation loses at most where results below the smallest normal float become zeros."""
WIDEST = 64.0
"""Units in the last place that the median interval may be wide."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """The least and the largest value that a runtime can give, and the width in units in the last place.

    Shapes: all three as the output. ``width`` counts units of the largest sum on the way, or of the result itself.
    """

    low: Array
    high: Array
    width: Array

    def outside(self, y: Array) -> int:
        """How many elements of ``y`` lie outside, as NaN does outside NaN. Shape as the output."""
        inside = (y >= self.low) & (y <= self.high)
        return int(np.count_nonzero(~(inside | (np.isnan(y) & np.isnan(self.low)))))


Enclose = Callable[..., Enclosure]
ENCLOSURES: dict[str, Enclose] = {}


def enclosure(*ops: str) -> Callable[[Enclose], Enclose]:
    """Register a function ``(node, *inputs, runtime) -> Enclosure`` beside the kernel of the ops named."""

    def register(function: Enclose) -> Enclose:
        ENCLOSURES.update(dict.fromkeys(ops, function))
        return function

    return register


@np.errstate(all="ignore")
def around(real: Array, error: Array, largest: Array) -> Enclosure:
    """The float32 values within ``error`` of ``real``, both in float64; ``largest`` is the largest sum on the way."""
    error = np.where(np.isfinite(real), error, 0)
    low = np.nextafter((real - error).astype(np.float32), np.float32(-np.inf))
    high = np.nextafter((real + error).astype(np.float32), np.float32(np.inf))
    unit = np.spacing(np.maximum(np.abs(largest), LOST).astype(np.float32)).astype(np.float64)
    return Enclosure(low, high, (high.astype(np.float64) - low) / unit)


def joined(parts: Sequence[Enclosure]) -> Enclosure:
    """The intervals of all samples. Shapes: (samples, *shape of the output).

    Raises:
        NoKernel: they are too wide to prove anything.
    """
    found = Enclosure(*(np.stack([getattr(part, name) for part in parts]) for name in ("low", "high", "width")))
    if not np.nanmedian(found.width) <= WIDEST:
        raise NoKernel(f"intervals of {np.nanmedian(found.width):.0f} units in the last place prove nothing")
    return found


def of_sum(terms: Array, axes: tuple[int, ...], scale: float, steps: int) -> Enclosure:
    """The sum over axes times ``scale``; a term goes through ``steps`` roundings at most. Shape: the other axes.

    In any order these are as many as there are terms, less one, and those that are no additions.
    """
    wide = terms.astype(np.float64)
    relative = steps * UNIT / (1 - steps * UNIT)
    reach = np.abs(wide).sum(axis=axes)
    one_sided = np.maximum(wide.clip(min=0).sum(axis=axes), -wide.clip(max=0).sum(axis=axes))
    error = (relative * reach + (steps + 1) * LOST) * scale
    return around(wide.sum(axis=axes) * scale, error, one_sided * scale)


def of_value(real: Array, roundings: float) -> Enclosure:
    """A value that so many roundings lead to. Shape as ``real``, float64."""
    return around(real, np.abs(real) * roundings * UNIT + LOST, real)
