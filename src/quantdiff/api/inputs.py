"""Which array is for which input of both models: by names, and where one model has others, by what both compute."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np

from quantdiff.api.engines import Opened, OpenedPair, trace_first
from quantdiff.api.layouts import CLEARLY, PROBED, apart
from quantdiff.errors import BadData, QuantdiffError
from quantdiff.load.data import Batch, UnknownInputs, bind, wanted_names
from quantdiff.progress import silent
from quantdiff.run.input_range import data_warnings

MOST = 4
"""Inputs whose orders are all tried."""
NEAR = 0.2
"""Of the largest output: so far apart are two models at most whose inputs are the same."""


def check_inputs(pair: OpenedPair, batch: Batch) -> tuple[Batch, tuple[str, ...]]:
    """The data under names that both models know, before anything runs, and what a reader must know of them.

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
    told: tuple[str, ...] = ()
    if unknown:
        named = _named(known[0], unknown[0], batch) if known else None
        if named is None:
            names = "; ".join(
                f"{each.engines[0].name} takes {wanted_names(each.engines[0].inputs)}"
                for each in (pair.reference, pair.candidate)
            )
            arrays = ", ".join(batch.arrays)
            raise BadData(
                f"{batch.source}: arrays {arrays} do not say which input each of them is: {names}"
            ) from failed
        batch, told = named
    return batch, told if pair.candidate.file is None else (*told, *data_warnings(pair.candidate.file, batch))


def _named(known: Opened, other: Opened, batch: Batch) -> tuple[Batch, tuple[str, ...]] | None:
    """The data under the other model's names too, in the order in which its outputs are those of the known one."""
    ours, theirs = known.engines[0].inputs, other.engines[0].inputs
    if not 1 < len(ours) == len(theirs) <= MOST:
        return None
    arrays, few = bind(batch, ours, known.engines[0].name), batch.part(slice(PROBED))
    far = dict[tuple[int, ...], float]()
    try:
        _, wanted, _ = trace_first(known, few, silent)
        for order in permutations(range(len(ours))):
            tried = Batch({theirs[k].name: arrays[at][:PROBED] for k, at in enumerate(order)}, None, batch.source)
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
    names = {theirs[k].name: arrays[at] for k, at in enumerate(best)}
    note = ", ".join(f"{ours[at].name} is {theirs[k].name}" for k, at in enumerate(best))
    return replace(batch, arrays={**batch.arrays, **names}), (f"by what both models compute, input {note}",)
