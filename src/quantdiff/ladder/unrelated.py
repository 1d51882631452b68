"""Whether two graphs are one model at all, and which stored weights are not the reference's rounded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.graph import Tensor
from quantdiff.ladder.findings import WrongWeights
from quantdiff.ladder.matching import Match, stored
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import Array

ROUNDED = 1.0
"""Steps: half a one is rounding; a whole one is what another rounding, or a range a little off, may add."""
RELATED, ALIKE = 0.5, 0.5
"""Share of the kernels that must be the reference's, and the correlation from which one is."""


def check_related(switches: Switches) -> None:
    """Refuse two models that are not made from each other.

    Raises:
        NotComparable: fewer than half of the file's kernels are the reference's.
    """
    kernels = [switches.matches[i] for i in _kernels(switches)]
    found = sum(_alike(switches, match) for match in kernels)
    if kernels and found < RELATED * len(kernels):
        raise NotComparable(
            f"these are not the same model: {found} of the {len(kernels)} kernels of the .tflite are the reference's; "
            "give the model that it was converted from"
        )


def _kernels(switches: Switches) -> list[int]:
    placed = ((op, traits(op.op).weights) for op in switches.file.operators)
    tensors = (op.inputs[place] for op, place in placed if place is not None and place < len(op.inputs))
    kernels = [i for i in tensors if i in switches.matches]
    data = {i: stored(switches.file, i).data for i in kernels}
    once = {i if data[i] is None else id(data[i]): i for i in kernels}  # however often a loop is written out
    return list(once.values())


def _alike(switches: Switches, match: Match) -> bool:
    if match.value is None:
        return False
    mine, own = switches.file.constants[match.tensor].ravel(), match.value.ravel()
    if match.steps <= ROUNDED or not mine.any():
        return True
    return float(np.dot(mine, own)) > ALIKE * float(np.linalg.norm(mine) * np.linalg.norm(own))


def wrong_weights(switches: Switches) -> Iterator[WrongWeights]:
    """Every kernel with a weight more than one step from the reference's."""
    graph = switches.file.graph
    for tensor in _kernels(switches):
        match = switches.matches[tensor]
        if match.value is None or match.steps <= ROUNDED:
            continue
        steps = distance(stored(switches.file, tensor), switches.file.constants[tensor], match.value)
        count = int(np.count_nonzero(steps > ROUNDED))
        if count and match.other is not None:
            worst = np.unravel_index(int(steps.argmax()), steps.shape)
            name = switches.reference.real.graph.tensors[match.other].label
            place = tuple(map(int, worst))
            yield WrongWeights(name, graph.tensors[tensor].label, count, steps.size, float(steps.max()), place)


def distance(tensor: Tensor, value: Array, other: Array) -> Array:
    """In steps of the tensor's grid; of floats in 2**-10 of the largest. Shape as the values."""
    apart = np.abs(value - other)
    if tensor.quant is None or not tensor.quant.scale:
        return np.asarray(apart / (np.abs(value).max() * 2.0**-10 + 1e-30))
    return np.asarray(apart / tensor.quant.along(value.ndim)[0].astype(np.float64))
