"""Which sample of the data is which run of a device: by values, where its runs stand in another order or are fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quantdiff.graph import Graph, Model
from quantdiff.quant import Array
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

CLEAR = 0.5
"""How much nearer than the next one a sample must be to be the one."""
LOOKED_AT, AT_MOST = 8, 4096
"""Samples that show whether the order is that of the data, and samples among which a place is looked for."""
COLUMNS = 512
"""Elements of a tensor that tell samples apart."""


def places_of(model: Model, inputs: Sequence[Array], recorded: Mapping[int, Array]) -> list[int] | None:
    """The sample of the data for each run of the dump; None where that is not clear, or they stand in its order.

    Shapes: each input (samples, *shape), each tensor of the dump (runs, *shape).
    """
    count, runs = len(inputs[0]), len(next(iter(recorded.values())))
    if runs > count or count > AT_MOST:
        return None
    if runs == count:
        few = min(count, LOOKED_AT)
        nearest, _ = _nearest({i: a[:few] for i, a in recorded.items()}, _given(model, [a[:few] for a in inputs]))
        if nearest is None or np.mean(nearest == np.arange(few)) > CLEAR:
            return None
    nearest, clear = _nearest(recorded, _given(model, inputs))
    return nearest.tolist() if nearest is not None and clear and len({*nearest.tolist()}) == runs else None


def _given(model: Model, inputs: Sequence[Array]) -> dict[int, Array]:
    """What the file gives for the data by some rules; which ones makes little difference."""
    graph: Graph = model.main
    found = simulate(graph, list(inputs), Runtime.REFERENCE, model.subgraphs).values
    return {**found, **dict(zip(graph.inputs, inputs, strict=True))}


def _nearest(recorded: Mapping[int, Array], given: Mapping[int, Array]) -> tuple[Array | None, bool]:
    """The nearest sample of each run, and whether each is much nearer than the next one."""
    shared = [i for i, array in recorded.items() if i in given and given[i].shape[1:] == array.shape[1:]]
    if not shared:
        return None, False
    ours, theirs = (np.concatenate([_columns(held[i], given[i]) for i in shared], axis=1) for held in (recorded, given))
    apart = np.stack([np.abs(theirs - row).mean(axis=1) for row in ours])
    if apart.shape[1] == 1:
        return np.zeros(len(ours), np.int64), True
    first, second = np.partition(apart, 1, axis=1)[:, :2].T
    return apart.argmin(axis=1), bool((first <= CLEAR * second).all() and (second > 0).all())


def _columns(array: Array, given: Array) -> Array:
    """Some elements of each sample, in units of their spread. Shape: (samples, columns)."""
    flat, wide = array.reshape(len(array), -1), given.reshape(len(given), -1)
    step = max(1, flat.shape[1] // COLUMNS)
    spread = float(wide[:, ::step].astype(np.float64).std()) or 1.0
    return np.nan_to_num(flat[:, ::step].astype(np.float64)) / spread
