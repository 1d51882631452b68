"""Which array is for which input of both models: by names, and where one model has others, by what both compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from quantdiff.api.engines import Opened, OpenedPair, trace_first
from quantdiff.api.layouts import CLEARLY, PROBED, apart
from quantdiff.errors import BadData, QuantdiffError
from quantdiff.load.data import Batch, UnknownInputs, bind, bound_names, order_name, turn_into, wanted_names
from quantdiff.progress import silent
from quantdiff.run.input_range import data_warnings

MOST = 4
"""Inputs whose orders are all tried."""
NEAR = 0.2
"""Of the largest output: so far apart are two models at most whose inputs are the same."""


@dataclass(frozen=True, slots=True)
class Names:
    """Under which other names data are known too: other name → name in the data; and how a reader is told."""

    others: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()

    def of(self, batch: Batch) -> Batch:
        """The data under all names; samples are not copied."""
        return replace(batch, arrays={**batch.arrays, **{other: batch.arrays[name] for other, name in self.others}})


ITS_OWN = Names()
"""Both models know the data under the names that they have."""


def check_inputs(pair: OpenedPair, batch: Batch) -> tuple[Names, tuple[str, ...]]:
    """The names by which both models know the data, before anything runs, and what a reader must know of them.

    Raises:
        BadData: the names fit no input, and what the models compute does not tell; or shapes do not fit.
    """
    known, unknown = list[Opened](), list[Opened]()
    for each in (pair.reference, pair.candidate):
        engine = each.engines[0]
        try:
            bind(batch, engine.inputs, engine.name)
            known.append(each)
        except UnknownInputs as error:
            if len(batch.arrays) < len(engine.inputs):
                raise
            unknown.append(each)
            failed = error
    names = ITS_OWN
    if unknown:
        named = _named(known[0], unknown[0], batch) if known else None
        if named is None:
            wanted = "; ".join(
                f"{each.engines[0].name} takes {wanted_names(each.engines[0].inputs)}"
                for each in (pair.reference, pair.candidate)
            )
            arrays = ", ".join(batch.arrays)
            raise BadData(
                f"{batch.source}: arrays {arrays} do not say which input each of them is: {wanted}"
            ) from failed
        names = named
    names = replace(names, told=(*names.told, *_turned(pair.reference, names.of(batch))))
    file = pair.candidate.file
    return names, names.told if file is None else (*names.told, *data_warnings(file, names.of(batch)))


def _turned(opened: Opened, batch: Batch) -> Iterator[str]:
    """A word for each array that is another way round than the model takes it."""
    engine = opened.engines[0]
    for name, slot in zip(bound_names(batch, engine.inputs, engine.name), engine.inputs, strict=True):
        if order := turn_into(batch.arrays[name], slot):
            shape, wanted = batch.arrays[name].shape[1:], [batch.arrays[name].shape[1 + axis] for axis in order]
            yield (
                f"the data of {name!r} are {shape} a sample, {engine.name} takes {(*wanted,)}: "
                f"they are read as {order_name(order)}"
            )


def _named(known: Opened, other: Opened, batch: Batch) -> Names | None:
    """The other model's names too, in the order in which its outputs are those of the known one."""
    ours, theirs = known.engines[0].inputs, other.engines[0].inputs
    if not 1 < len(ours) == len(theirs) <= MOST:
        return None
    names, few = bound_names(batch, ours, known.engines[0].name), batch.part(slice(PROBED))
    arrays = [few.arrays[name] for name in names]
    far = dict[tuple[int, ...], float]()
    try:
        _, wanted, _ = trace_first(known, few, silent)
        for order in permutations(range(len(ours))):
            tried = Batch({theirs[k].name: arrays[at] for k, at in enumerate(order)}, None, batch.source)
            try:
                far[order] = apart(wanted, trace_first(other, tried, silent)[1])
            except BadData:  # a shape that does not fit
                continue
    except QuantdiffError:  # whoever asked runs them too, and says it
        return None
    if not far:
        return None
    best, first = min(far, key=lambda order: far[order]), tuple(range(len(ours)))
    if first in far and far[first] <= CLEARLY * far[best]:
        best = first
    rivals = [distance for order, distance in far.items() if order != best]
    largest = sum(float(np.abs(value.real).max(initial=0.0)) for value in wanted.outputs)
    if far[best] > NEAR * largest or (best != first and min(rivals) < CLEARLY * far[best]):
        return None
    others = tuple((theirs[k].name, names[at]) for k, at in enumerate(best))
    note = ", ".join(f"{ours[at].name} is {theirs[k].name}" for k, at in enumerate(best))
    return Names(others, (f"by what both models compute, input {note}",))
