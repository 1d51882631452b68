"""Cures for the operators that matter, predicted on the graph: what would become of the outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantdiff.graph import Model, Operator
from quantdiff.ladder.attribution import Attribution, named
from quantdiff.ladder.findings import Advice, Quality
from quantdiff.ladder.frontier import Move, beside
from quantdiff.ladder.mechanisms import BIAS, CLIPPING, INPUT, KERNEL, RANGES, STEPS, WEIGHTS
from quantdiff.ladder.real_graph import Grid, Setting
from quantdiff.ladder.rungs import in_slices, output_on_grid, real_inputs
from quantdiff.ladder.switches import SWITCHES, Switches
from quantdiff.ladder.targets import OutputGrids
from quantdiff.load.data import Batch
from quantdiff.quant import Array
from quantdiff.run.tflite import inputs_of
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

WIDEST_BYTE = 255

MOST, WORTH = 5, 0.05
"""Items that are tried, and the share from which one is."""
BETTER_DB, LESS = 0.02, 0.995
"""What counts as better: in dB of stored outputs, as a part of the error before the output's grid."""
INT16 = 32767


@dataclass(frozen=True, slots=True)
class Trial:
    """The samples on which cures are predicted: the reference's outputs in the file's order, (samples, elements).

    ``bare`` are those of its graph without its own output grids.
    """

    switches: Switches
    grids: OutputGrids
    rows: Batch
    reference: Sequence[Array]
    bare: Sequence[Array]
    runtime: Rules | None

    @property
    def filed(self) -> Setting:
        """The file as it is."""
        return self.switches.setting(frozenset(SWITCHES))

    def quality(self, setting: Setting) -> Quality:
        """Of the outputs under a setting, each on its own grid."""
        file = self.switches.file
        values = in_slices(file, real_inputs(self.switches.model, self.rows), setting, file.graph.outputs)
        stored = [output_on_grid(self.switches, k, values[i], self.grids) for k, i in enumerate(file.graph.outputs)]
        count, units = len(self.reference[0]), self.grids.units
        error = beside([values[i] for i in file.graph.outputs], units, count) - beside(self.bare, units, count)
        return replace(self.of_stored(stored), rms_steps=math.sqrt(float(np.square(error).mean())))

    def of_stored(self, stored: Sequence[Array]) -> Quality:
        """Of outputs as integers of their grids, floats where there is none."""
        differing, count = 0, len(self.reference[0])
        real = []
        ours = self.grids.of_reference([self.reference[self.grids.order.index(k)] for k in range(len(stored))])
        for mine, own, grid in zip(stored, ours, self.grids.grids, strict=True):
            flat = mine.reshape(own.shape)
            if grid is None:
                differing += int(np.count_nonzero(np.abs(flat - own) > self.grids.tolerance))
                real.append(flat.astype(np.float64))
            else:
                differing += int(np.count_nonzero(flat != own))
                scale, zero_point = float(np.float32(grid.params.scale[0])), grid.params.zero_point[0]
                real.append((flat.astype(np.float64) - zero_point) * scale)
        ones = (1.0,) * len(real)
        theirs, mine = beside(self.reference, ones, count), beside(real, ones, count)
        noise, signal = float(np.square(mine - theirs).sum()), float(np.square(theirs).sum())
        sqnr = math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal else -math.inf
        decides = len(real) == 1 and theirs.shape[1] > 1
        same = float((mine.argmax(axis=1) == theirs.argmax(axis=1)).mean()) if decides else None
        return Quality(differing, sqnr, same)


def cures(trial: Trial, attribution: Attribution) -> tuple[Advice, ...]:
    """What helps against the items with the largest shares, the best first; and what would be worse, said so."""
    power = sum(attribution.whole)
    if not power:
        return ()
    shares = {move: sum(each.with_whole) / power for move, each in attribution.sums.items() if move.tensor >= 0}
    leading = sorted((m for m in shares if shares[m] >= WORTH), key=lambda m: -shares[m])[:MOST]
    now, found = trial.quality(trial.filed), dict[str, Advice]()
    for move in leading:
        for change, then in _tried(trial, attribution, move):
            found.setdefault(change, _advice(trial, move, change, now, then))
        if move.mechanism == KERNEL:
            found |= {advice.change: advice for advice in _elsewhere(trial)}
    better = [advice for advice in found.values() if _helps(advice)]
    worst = min(shares, key=lambda m: shares[m], default=None)
    told = []
    if worst is not None and shares[worst] <= -WORTH and (setting := _without(trial, worst)) is not None:
        then = trial.quality(setting)
        if (then.rms_steps or 0.0) > (now.rms_steps or 0.0):
            name = f"{_name(trial, worst)} in float"
            note = "its error cancels that of others: this makes it worse"
            told.append(replace(_advice(trial, worst, name, now, then), note=note))
    return (*sorted(better, key=_left), *told)


def _helps(advice: Advice) -> bool:
    if advice.now is None or advice.then is None:
        return False
    if advice.now.rms_steps is None or advice.then.rms_steps is None:
        return advice.then.sqnr_db > advice.now.sqnr_db + BETTER_DB
    return advice.then.rms_steps < advice.now.rms_steps * LESS


def _left(advice: Advice) -> float:
    """What is left of the error, by which cures are sorted; those on other runtimes come last."""
    return math.inf if advice.then is None or advice.then.rms_steps is None else advice.then.rms_steps


def _advice(trial: Trial, move: Move, change: str, now: Quality, then: Quality) -> Advice:
    return Advice(move.mechanism, change, now.differing, then.differing, "", len(trial.rows), now, then)


def _tried(trial: Trial, attribution: Attribution, move: Move) -> Iterator[tuple[str, Quality]]:
    name = _name(trial, move)
    setting = _without(trial, move)
    if setting is None:
        return
    words = {WEIGHTS: "kernel in float", BIAS: "biases on the int32 grid already in the reference"}
    yield f"{name}: {words.get(move.mechanism, 'its output in float')}", trial.quality(setting)
    if move.mechanism in (CLIPPING, STEPS, RANGES, INPUT):
        met = attribution.met.get(move.tensor)
        held = trial.switches.file.grids[move.tensor]
        yield f"{name}: its output in int16", trial.quality(_on(trial, move.tensor, wide(met or held.ends)))
        if met is not None and move.mechanism != STEPS:
            yield f"{name}: range from this data", trial.quality(_on(trial, move.tensor, from_data(met, held)))
    maker = trial.switches.file.graph.producer(move.tensor)
    if move.mechanism == WEIGHTS and maker is not None and (finer := per_channel(trial.switches, maker)):
        yield f"{name}: a scale per channel", trial.quality(replace(trial.filed, constants=finer))


def _without(trial: Trial, move: Move) -> Setting | None:
    """The file with one item taken back."""
    filed, found = trial.filed, trial.switches
    if move.mechanism in (WEIGHTS, BIAS):
        operator = found.file.graph.producer(move.tensor)
        tensors = operator.inputs if operator is not None else ()
        own = {i: m.value for i in tensors if (m := found.matches.get(i)) is not None and m.value is not None}
        return replace(filed, constants={i: v for i, v in own.items() if found.mechanism(i) == move.mechanism})
    if move.mechanism in (CLIPPING, STEPS, RANGES, INPUT):
        own_grid = {i: g for i, g in found.own.items() if i == move.tensor}
        off = {move.tensor}
        return replace(filed, own=own_grid, clipped=filed.clipped - off, rounded=filed.rounded - off)
    return None


def _on(trial: Trial, tensor: int, grid: Grid) -> Setting:
    return replace(trial.filed, grids={tensor: grid})


def wide(ends: tuple[float, float]) -> Grid:
    """A symmetric grid of 16 bits that holds both ends."""
    scale = max(abs(end) for end in ends) / INT16 or 1.0
    return Grid(scale, 0, -INT16 - 1, INT16)


def from_data(met: tuple[float, float], held: Grid) -> Grid:
    """A grid with as many integers as the file's, from the smallest to the largest value met, 0 on it.

    Kernels of int16 take no other zero point than 0.
    """
    low, high = min(met[0], 0.0), max(met[1], 0.0)
    if held.high > WIDEST_BYTE:
        return replace(held, scale=max(-low, high) / held.high or 1.0, zero_point=0)
    scale = (high - low) / (held.high - held.low) or 1.0
    zero_point = round(held.low - low / scale)
    return Grid(scale, int(np.clip(zero_point, held.low, held.high)), held.low, held.high, held.single)


def per_channel(found: Switches, operator: Operator) -> dict[int, Array]:
    """A kernel with a scale for each output channel, where it has one for all of them."""
    for tensor in operator.inputs:
        match, quant = found.matches.get(tensor), found.file.graph.tensors[tensor].quant if tensor >= 0 else None
        if match is None or match.value is None or tensor in found.biases or quant is None or len(quant.scale) != 1:
            continue
        value = match.value
        axis = value.ndim - 1 if operator.op == "DEPTHWISE_CONV_2D" else 0
        others = tuple(k for k in range(value.ndim) if k != axis)
        scale = np.maximum(np.abs(value).max(axis=others, keepdims=True) / 127, 1e-30)
        return {tensor: np.rint(value / scale) * scale}
    return {}


def _elsewhere(trial: Trial) -> Iterator[Advice]:
    """The file on other runtimes, all in the simulator."""
    model: Model = trial.switches.model
    found = {}
    on = trial.runtime if isinstance(trial.runtime, Runtime) else Runtime.REFERENCE
    for each in on.neighbours:
        chain = simulate(model.main, inputs_of(model, trial.rows), each, model.subgraphs)
        if not chain.missing:
            found[each] = trial.of_stored(trial.grids.of_file(model.main, chain.values))
    now = found.pop(on, None) if on is trial.runtime else None
    if now is None:
        return
    for other, then in found.items():
        change = f"runtime {other.value}"
        yield Advice(KERNEL, change, now.differing, then.differing, "", len(trial.rows), now, then)


def _name(trial: Trial, move: Move) -> str:
    operator, op, layer, tensor, _ = named(trial.switches, move)
    name = (layer or tensor).partition(";")[0]
    return f"{op} {operator} ({name})" if operator is not None else f"the input ({name})"
