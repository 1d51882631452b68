"""Stored kernels that are not what rounding makes of the reference's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.explain.exchange.weights import residues
from quantdiff.explain.explanation import WrongWeights
from quantdiff.explain.sides import Sides

ROUNDED = 1.0
"""Steps: half a one is rounding; a whole one is what another rounding, or a range a little off, may add."""


def wrong_weights(sides: Sides) -> Iterator[WrongWeights]:
    """Every kernel with a weight more than one step from the reference's."""
    for layer in sides.layers:
        pair = sides.alignment.find(layer.name, "kernel")
        if pair is None or layer.kernel is None or (steps := residues(sides, layer, pair)) is None:
            continue
        distance = np.abs(steps)
        count = int(np.count_nonzero(distance > ROUNDED))
        if count:
            worst = np.unravel_index(int(distance.argmax()), distance.shape)
            tensor = sides.graph.tensors[pair.tensor].name
            yield WrongWeights(layer.name, tensor, count, distance.size, float(distance.max()), tuple(map(int, worst)))
