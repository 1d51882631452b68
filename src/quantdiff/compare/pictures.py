"""Samples as pictures, where the data look like images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.quant import Array

SMALLEST, LARGEST = 8, 96  # pixels a side: what is smaller is no image, what is larger is thinned out
CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels of 8 bits, row by row, channels last; ``channels`` is 1 (grey) or 3 (red, green, blue)."""

    height: int
    width: int
    channels: int
    pixels: bytes


def pictures_of(samples: Array, chosen: Sequence[int]) -> tuple[Picture, ...]:
    """The chosen samples as pictures, all on one scale from their smallest value to their largest; empty for no images.

    Shapes: (samples, height, width) or (samples, height, width, 1 or 3).
    """
    images = _as_images(samples)
    if images is None or not chosen:
        return ()
    every = max(1, -(-max(images.shape[1:3]) // LARGEST))
    shown = np.stack([np.asarray(images[i, ::every, ::every], np.float64) for i in chosen])
    low, high = float(shown.min()), float(shown.max())
    scaled = np.rint((shown - low) * (255 / (high - low)) if high > low else np.zeros_like(shown)).astype(np.uint8)
    height, width, channels = scaled.shape[1:]
    return tuple(Picture(height, width, channels, each.tobytes()) for each in scaled)


def _as_images(samples: Array) -> Array | None:
    """(samples, height, width, channels), or None."""
    images = samples[..., np.newaxis] if samples.ndim == 3 else samples  # noqa: PLR2004 (no axis of channels)
    if images.ndim != 4 or images.shape[3] not in CHANNELS or min(images.shape[1:3]) < SMALLEST:  # noqa: PLR2004
        return None
    return images
