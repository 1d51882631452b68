"""The error to expect, before any runtime is run: exactly, from its simulator, and in closed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.ladder.account import Question, Target
from quantdiff.ladder.closed_form import expected_flips, free_share
from quantdiff.ladder.explanation import Explanation
from quantdiff.ladder.layers import layers_of
from quantdiff.ladder.noise import expected_shares
from quantdiff.ladder.rungs import lowered_values, real_inputs
from quantdiff.ladder.set_up import Ladder, set_up
from quantdiff.ladder.slices import by_run
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Trace
from quantdiff.run.inner_tensors import Reading, read_at_once, readable_tensors, simulate_tensors
from quantdiff.sim.device import Rules

CODES = 256
NOISY, SET_UP_ON = 16, 64
"""Samples whose variances are followed, and those that tell which output is which."""


@dataclass(frozen=True, slots=True)
class ExpectedLayer:
    """Shares of a layer's elements that will differ: by the simulator, and in closed form (None: none is known).

    ``codes`` counts the reference's 8-bit integers. Shape (channels, 256); None for wider ones.
    """

    layer: str
    tensor: str
    exactly: float
    closed_form: float | None = None
    codes: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The same for the outputs, of which there are ``count``, and layer by layer."""

    reference: str
    runtime: str
    count: int
    exactly: float
    closed_form: float | None
    layers: tuple[ExpectedLayer, ...]

    def beside(self, explanation: Explanation) -> Explanation:
        """An explanation with what was expected beside what was measured."""
        shares = {each.tensor: each for each in self.layers}
        layers = tuple(
            replace(layer, expected_exactly=each.exactly, expected=each.closed_form)
            if (each := shares.get(layer.tensor))
            else layer
            for layer in explanation.layers
        )
        return replace(explanation, expected_exactly=self.exactly, expected=self.closed_form, layers=layers)


Tell = Callable[[Prediction], None]


def unheard(expected: Prediction) -> None:
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

    def __add__(self, other: Tally) -> Tally:
        codes = [each.codes for each in (self, other) if each.codes is not None]
        return Tally(
            self.count + other.count, self.differing + other.differing, sum(codes[1:], codes[0]) if codes else None
        )


def predict(question: Question, runtime: Rules) -> Prediction | None:
    """What will differ between the two models on a runtime, which need not be installed.

    None where the simulator lacks an operator, or for no data.

    Raises:
        BadData: the data do not fit a model's inputs.
        NotComparable: the outputs of the two do not fit each other.
    """
    begun = set_up_prediction(question, runtime) if len(question.batch) else None
    found = None if begun is None else foreseen(begun, question.batch)
    return None if begun is None or found is None else predicted(begun, found)


@dataclass(frozen=True, slots=True)
class Begun:
    """What the first samples tell, and the share of each tensor that noise will make differ."""

    ladder: Ladder
    runtime: Rules
    noise: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What is added up of some samples: of the outputs, and layer by layer."""

    outputs: Tally
    layers: Mapping[int, Tally]

    def __add__(self, other: Foreseen) -> Foreseen:
        layers = {i: tally + other.layers[i] for i, tally in self.layers.items()}
        return Foreseen(self.outputs + other.outputs, layers)


def set_up_prediction(question: Question, runtime: Rules) -> Begun | None:
    """By the first samples; None where the simulator lacks an operator. Raises as ``predict``."""
    tensors = readable_tensors(question.model.main, runtime)
    first = question.batch.part(slice(min(SET_UP_ON, read_at_once(question.model, tensors))))
    try:
        with closing(simulate_tensors(question.model, tensors, first, runtime)) as readings:
            reading = next(readings)
            ladder = set_up(question, reading, question.trace(reading.rows))
            return Begun(ladder, runtime, _noise(ladder, reading))
    except UnsupportedOp:
        return None


def foreseen(begun: Begun, batch: Batch) -> Foreseen | None:
    """What the simulator gives for some samples; None where it lacks an operator. Raises as ``predict``."""
    question, outputs, layers = begun.ladder.question, Tally(), dict[int, Tally]()
    tensors = readable_tensors(question.model.main, begun.runtime)
    try:
        with closing(simulate_tensors(question.model, tensors, batch, begun.runtime)) as readings:
            for reading in readings:
                _add(begun.ladder, reading, question.trace(reading.rows), outputs, layers)
    except UnsupportedOp:
        return None
    return Foreseen(outputs, layers)


def predicted(begun: Begun, found: Foreseen) -> Prediction:
    """The prediction of all that was added up."""
    return _value(begun.ladder, begun.runtime, found.outputs, found.layers, begun.noise)


def _noise(ladder: Ladder, reading: Reading) -> dict[int, float]:
    """By tensor the share that will differ, of the first samples, where the reference rounds nothing itself."""
    found = ladder.switches
    if found is None or found.own:
        return {}
    inputs = real_inputs(ladder.question.model, reading.rows.part(slice(NOISY)))
    return expected_shares(found, inputs)


def _add(ladder: Ladder, reading: Reading, own: Trace, outputs: Tally, layers: dict[int, Tally]) -> None:
    targets = ladder.grids.targets(reading.outputs)
    flat = [by_run(value.real, len(reading.inputs[0])) for value in own.outputs]
    for target, ours in zip(targets, ladder.grids.of_reference(flat), strict=True):
        outputs.count += target.values.size
        outputs.differing += int(np.count_nonzero(Target(ours.reshape(-1), target.tolerance).wrong(target.values)))
    if ladder.switches is None:
        return
    tensors = [i for _, i in layers_of(ladder.switches) if i in reading.values]
    for tensor, values in lowered_values(ladder.switches, reading.rows, tensors).items():
        stored = reading.values[tensor]
        if stored.dtype.kind in "iu":
            ours = ladder.switches.file.grids[tensor].integers(values).astype(stored.dtype)
            layers.setdefault(tensor, Tally()).add(ours, stored)


def _value(
    ladder: Ladder, runtime: Rules, outputs: Tally, layers: Mapping[int, Tally], noise: Mapping[int, float]
) -> Prediction:
    """The shares, with those of the closed form: by rare flips where the reference rounds too, else by ``noise``."""
    found = ladder.switches
    closed = dict(noise)
    names: dict[int, str] = {}
    if found is not None:
        names = {i: name for name, i in layers_of(found)}
        graph = found.file.graph
        inside = {
            i: free_share(graph, graph.producer(i), i, tally.codes)
            for i, tally in layers.items()
            if tally.codes is not None
        }
        flips = expected_flips(found, runtime, inside) if found.own else {}
        closed |= {i: flips[i].share for i in layers if i in flips}
    ends = () if found is None else found.ends
    last = [closed[i] for i in ends if i is not None and i in closed]
    return Prediction(
        ladder.question.kind,
        runtime.value,
        outputs.count,
        outputs.differing / outputs.count,
        last[0] if len(last) == len(ends) == 1 else None,
        tuple(
            ExpectedLayer(
                names[i], ladder.question.model.main.tensors[i].label, t.differing / t.count, closed.get(i), t.codes
            )
            for i, t in layers.items()
        ),
    )


def _codes(integers: Array) -> Array:
    """How often each integer, channel by channel. Shapes: (…, channels) -> (channels, 256)."""
    channels = integers.shape[-1] if integers.ndim > 1 else 1
    codes = integers.reshape(-1, channels).astype(np.int64) - np.iinfo(integers.dtype).min
    counts = np.bincount((codes + CODES * np.arange(channels)).ravel(), minlength=CODES * channels)
    return counts.reshape(channels, CODES)
