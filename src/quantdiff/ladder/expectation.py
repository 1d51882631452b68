"""The error to expect, before any runtime is run: exactly, from its simulator, and in closed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.ladder.account import Target
from quantdiff.ladder.expected import expected_flips, free_share
from quantdiff.ladder.ladder import Ladder, Question, set_up
from quantdiff.parameters.sides import ModelPair
from quantdiff.quant import Array
from quantdiff.run.inner_tensors import Reading, readable_tensors, simulate_tensors
from quantdiff.sim.runtime import Runtime

CODES = 256


@dataclass(frozen=True, slots=True)
class ExpectedLayer:
    """Shares of a layer's elements that will differ: by the simulator, and in closed form (None: none is known).

    ``codes`` counts the reference's 8-bit integers. Shape (channels, 256); None for wider ones.
    """

    layer: str
    exactly: float
    closed_form: float | None = None
    codes: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Expectation:
    """The same for the outputs, of which there are ``count``, and layer by layer."""

    reference: str
    runtime: str
    count: int
    exactly: float
    closed_form: float | None
    layers: tuple[ExpectedLayer, ...]


Tell = Callable[[Expectation], None]


def unheard(expected: Expectation) -> None:
    """Tell nobody."""
    del expected


@dataclass(slots=True)
class Tally:
    """What is added up of one layer while the data pass by."""

    count: int = 0
    differing: int = 0
    codes: Array | None = None

    def add(self, reference: Array, simulated: Array) -> None:
        """Integers of both, of one slice. Shapes: (samples, …, channels)."""
        self.count += reference.size
        self.differing += int(np.count_nonzero(simulated.reshape(reference.shape) != reference))
        if reference.dtype.itemsize == 1:
            counts = _codes(reference)
            self.codes = counts if self.codes is None else self.codes + counts


def expect(question: Question, sides: ModelPair, runtime: Runtime) -> Expectation | None:
    """What will differ between the two models on a runtime, which need not be installed.

    None where the simulator lacks an operator, or for no data.

    Raises:
        BadData: the data do not fit a model's inputs.
        NotComparable: the outputs of the two do not fit each other.
    """
    model = question.model
    ladder: Ladder | None = None
    outputs, layers = Tally(), dict[str, Tally]()
    try:
        with closing(
            simulate_tensors(model, readable_tensors(model.main, runtime), question.batch, runtime)
        ) as readings:
            for reading in readings:
                ladder = ladder or set_up(question, sides, reading, runtime)
                _add(ladder, reading, outputs, layers)
    except UnsupportedOp:
        return None
    return None if ladder is None else _value(ladder, outputs, layers)


def _add(ladder: Ladder, reading: Reading, outputs: Tally, layers: dict[str, Tally]) -> None:
    run = ladder.end.run(reading.rows, frozenset())
    targets = ladder.ends.targets(reading.outputs)
    for target, own in zip(targets, ladder.ends.of_reference(run.outputs), strict=True):
        outputs.count += target.values.size
        outputs.differing += int(np.count_nonzero(Target(own.reshape(-1), target.tolerance).wrong(target.values)))
    for name, pair in ladder.pairs.items():
        layers.setdefault(name, Tally()).add(run.layers[name], reading.values[pair.tensor])


def _value(ladder: Ladder, outputs: Tally, layers: Mapping[str, Tally]) -> Expectation:
    """The shares, with those of the closed form where the reference is quantization-aware."""
    graph, pairs = ladder.model.main, ladder.pairs
    counted = ((pairs[name], tally.codes) for name, tally in layers.items())
    inside = {p.tensor: free_share(graph, p.operator, p.tensor, codes) for p, codes in counted if codes is not None}
    flips = expected_flips(ladder, inside) if ladder.end.keras.kind == "qat" else {}
    closed = {name: flips[pairs[name].tensor].share if pairs[name].tensor in flips else None for name in layers}
    ends = {grid.tensor for grid in ladder.ends.grids if grid is not None}
    last = [
        share for name, share in closed.items() if graph.tensors[pairs[name].tensor].name in ends and share is not None
    ]
    return Expectation(
        ladder.end.keras.kind,
        ladder.runtime.value,
        outputs.count,
        outputs.differing / outputs.count,
        last[0] if len(last) == len(ladder.ends.grids) == 1 else None,
        tuple(ExpectedLayer(name, t.differing / t.count, closed[name], t.codes) for name, t in layers.items()),
    )


def _codes(integers: Array) -> Array:
    """How often each integer, channel by channel. Shapes: (…, channels) -> (channels, 256)."""
    channels = integers.shape[-1] if integers.ndim > 1 else 1
    codes = integers.reshape(-1, channels).astype(np.int64) - np.iinfo(integers.dtype).min
    counts = np.bincount((codes + CODES * np.arange(channels)).ravel(), minlength=CODES * channels)
    return counts.reshape(channels, CODES)
