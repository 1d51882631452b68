"""Advice that was tried: the change that removes a leading mechanism, made on a copy and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.account import Target
from quantdiff.ladder.explanation import BIAS, CURVES, RANGES, ROUNDING, WEIGHTS, Advice, Explanation, LayerLadder
from quantdiff.ladder.ladder import Ladder
from quantdiff.ladder.recalibration import converted_like, recalibrated
from quantdiff.ladder.reference_end import Passes
from quantdiff.ladder.targets import ends_of_file
from quantdiff.load.data import Batch
from quantdiff.quant import Array
from quantdiff.references.keras.run import call_keras
from quantdiff.run.tflite import inputs_of
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.graph.resources import keeps_resources
from quantdiff.sim.graph.simulator import simulate, simulate_by
from quantdiff.sim.runtime import Runtime

WORTH = 0.05
"""Share of the differing outputs that a mechanism must explain before its cure is tried."""
IN_THE_REFERENCE = {
    BIAS: "biases of the reference on the int32 grid",
    RANGES: "the file's activation ranges in the reference",
    WEIGHTS: "the file's weights in the reference",
}
AT_ONCE = 1000  # samples
SIMULATED = "tried in the simulator"

Trial = Callable[[Passes], list[Array] | None]


def advise(ladder: Ladder, explanation: Explanation, batch: Batch, unsettled: Sequence[str] = ()) -> tuple[Advice, ...]:
    """What helps against the mechanisms that lead, the best first; nothing where no change helps.

    The data are gone over once more only where a change has to be run. ``unsettled`` names layers whose trained range
    is far wider than their values: then new ranges are tried too.
    """
    leading = [r.mechanism for r in explanation.rungs if r.resolved > WORTH * explanation.differing]
    found = [
        Advice(mechanism, IN_THE_REFERENCE[mechanism], explanation.differing, rung.alone)
        for mechanism in leading
        if mechanism in IN_THE_REFERENCE and (rung := explanation.find(mechanism)) and rung.alone is not None
    ]
    trials = {} if explanation.unsupported or not leading else _trials(ladder, explanation, leading)
    found += _tried(ladder, explanation, trials, batch) if trials else []
    if ladder.end.keras.kind == "qat" and leading and (unsettled or RANGES in leading):
        found += _new_ranges(ladder, explanation, batch, unsettled)
    return tuple(sorted((each for each in found if each.after < each.before), key=lambda each: each.after))


def _trials(ladder: Ladder, explanation: Explanation, leading: list[str]) -> dict[tuple[str, str], Trial]:
    """What to run, by mechanism and change: other runtimes where rounding leads, the worst layer in float."""
    trials: dict[tuple[str, str], Trial] = {}
    rounded = [m for m in leading if m in (ROUNDING, CURVES)]
    for other in Runtime if rounded else ():
        if other is not ladder.runtime:
            trials[rounded[0], f"runtime {other.value}"] = partial(_on_runtime, ladder, other)
    layers = [layer for layer in explanation.layers if layer.local and layer.local[0]]
    if layers and not keeps_resources(ladder.model.main):
        worst = max(layers, key=lambda layer: layer.local[0] / layer.count)
        trials[leading[0], f"{worst.layer} in float, but for its output"] = partial(_in_float, ladder, worst)
    return trials


def _tried(
    ladder: Ladder, explanation: Explanation, trials: Mapping[tuple[str, str], Trial], batch: Batch
) -> list[Advice]:
    after: dict[tuple[str, str], int] = dict.fromkeys(trials, 0)
    ends = ladder.ends
    for passes in _slices(ladder, batch):
        own = ends.of_reference(passes.run(()).outputs)
        targets = [Target(y.ravel(), None if g else ends.tolerance) for y, g in zip(own, ends.grids, strict=True)]
        for key in list(after):
            outputs = trials[key](passes)
            if outputs is None:
                del after[key]
                continue
            after[key] += sum(int(np.count_nonzero(t.wrong(y))) for t, y in zip(targets, outputs, strict=True))
    return [Advice(m, change, explanation.differing, n, SIMULATED) for (m, change), n in after.items()]


def _new_ranges(ladder: Ladder, explanation: Explanation, batch: Batch, unsettled: Sequence[str]) -> list[Advice]:
    """Both sides made anew with the ranges of this data: the copy in Keras, its file in the simulator."""
    copy = recalibrated(ladder.end.keras, batch)
    model = converted_like(copy.model, ladder.model)
    if model is None or len(model.main.outputs) != len(ladder.model.main.outputs):
        return []
    ends, after = ends_of_file(model.main, ladder.ends.order, ladder.ends.tolerance), 0
    for passes in _slices(ladder, batch):
        own = ends.of_reference(call_keras(copy, passes.rows))
        chain = simulate(model.main, inputs_of(model, passes.rows), ladder.runtime)
        if chain.missing:
            return []
        targets = [Target(y.ravel(), None if g else ends.tolerance) for y, g in zip(own, ends.grids, strict=True)]
        outputs = ends.of_file(model.main, chain.values)
        after += sum(int(np.count_nonzero(t.wrong(y))) for t, y in zip(targets, outputs, strict=True))
    named = f"; ranges of {', '.join(unsettled[:3])} had not settled" if unsettled else ""
    change = "activation ranges of this data (all values), file converted anew"
    return [Advice(RANGES, change, explanation.differing, after, f"{SIMULATED}{named}")]


def _slices(ladder: Ladder, batch: Batch) -> Iterator[Passes]:
    for start in range(0, len(batch), AT_ONCE):
        arrays = {name: array[start : start + AT_ONCE] for name, array in batch.arrays.items()}
        yield Passes(ladder.end, replace(batch, arrays=arrays, labels=None))


def _on_runtime(ladder: Ladder, other: Runtime, passes: Passes) -> list[Array] | None:
    """The file's outputs on another runtime, installed or not; None where the simulator lacks an operator of it."""
    model = ladder.model
    chain = simulate(model.main, inputs_of(model, passes.rows), other, model.subgraphs)
    return None if chain.missing else ladder.ends.of_file(model.main, chain.values)


def _in_float(ladder: Ladder, layer: LayerLadder, passes: Passes) -> list[Array] | None:
    """The file's outputs with one layer computed as the reference does, from the integers that reach it."""
    graph, tensor = ladder.model.main, ladder.pairs[layer.layer].tensor
    inputs = inputs_of(ladder.model, passes.rows)
    plain = simulate(graph, inputs, ladder.runtime)
    if plain.missing:
        return None
    forced = Passes(ladder.end, passes.rows, ladder.force(plain.values)).run(())
    own = forced.layers[layer.layer].reshape(plain.values[tensor].shape)

    def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        if tensor in operator.outputs:
            return (own,)
        return run_operator(graph, operator, values, ladder.runtime)

    return ladder.ends.of_file(graph, simulate_by(operate, graph, inputs, ladder.runtime).values)
