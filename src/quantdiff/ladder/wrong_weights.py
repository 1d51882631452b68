"""Stored kernels that are not what rounding makes of the reference's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.ladder.exchange.weights import residues
from quantdiff.ladder.explanation import WrongWeights
from quantdiff.parameters.sides import ModelPair

ROUNDED = 1.0
"""Steps: half a one is rounding; a whole one is what another rounding, or a range a little off, may add."""


RELATED = 0.5
"""Share of the kernels that must be found in the file."""


def check_related(sides: ModelPair) -> None:
    """Refuse two models that are not made from each other.

    Raises:
        NotComparable: fewer than half of the reference's kernels are in the file.
    """
    kernels = [layer.name for layer in sides.layers if layer.kernel is not None]
    pairs = [sides.alignment.find(name, "kernel") for name in kernels]
    found = sum(pair is not None and bool(pair.confirmed) for pair in pairs)
    if kernels and found < RELATED * len(kernels):
        raise NotComparable(
            f"these are not the same model: {found} of the {len(kernels)} kernels of the reference are in the .tflite; "
            "give the model that it was converted from"
        )


def wrong_weights(sides: ModelPair) -> Iterator[WrongWeights]:
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
