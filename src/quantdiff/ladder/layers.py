"""Per layer: what arrives wrong and what is made there, on every tensor of the file that has a partner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from quantdiff.graph import Operator, Tensor
from quantdiff.ladder.account import LayerAccount, Target
from quantdiff.ladder.frontier import by_sample, in_real_units
from quantdiff.ladder.mechanisms import (
    BIAS,
    CURVES,
    INPUT,
    MECHANISMS,
    RANGES,
    REAL,
    REFERENCE,
    REWRITTEN,
    ROUNDING,
    RUNTIME,
    WEIGHTS,
)
from quantdiff.ladder.real_graph import Setting, Values
from quantdiff.ladder.real_operator import PRODUCTS, Sums
from quantdiff.ladder.rungs import RealRungs
from quantdiff.ladder.slices import side_by_side
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import Array, same_bits
from quantdiff.run.inner_tensors import Reading
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import run_operator
from quantdiff.sim.node import NoKernel, fitting, node_of
from quantdiff.sim.real.registry import real_of
from quantdiff.sim.real.sums import exact_sums

Layers = Sequence[tuple[str, int]]
"""Name in the reference, tensor of the file."""
BIAS_AT = 2
BYTES = ("int8", "uint8")
ABOVE = MECHANISMS[: MECHANISMS.index(RUNTIME)]


def layers_of(switches: Switches) -> Layers:
    """Every tensor on a grid of its own that has a partner: of the alignment, where there is one."""
    graph, known = switches.file.graph, switches.names or switches.partners
    return [
        (switches.layer_of(i), i)
        for op in switches.file.operators
        for i in op.outputs
        if i in known and i in switches.file.grids and i not in switches.file.copies and graph.producer(i)
    ]


def add_layers(
    on: tuple[Switches, Rules | None],
    sums: dict[int, LayerAccount],
    reading: Reading,
    rungs: tuple[RealRungs, Mapping[str, Values]],
) -> None:
    """Each layer at every rung, of real arithmetic and of the simulator: as it comes, and of the runtime's input."""
    switches, graph = on[0], on[0].file.graph
    given, runs = {**dict(zip(graph.inputs, reading.inputs, strict=True)), **reading.values}, len(reading.inputs[0])
    shaped = {i: by_sample(switches, i, values, runs) for i, values in given.items()}
    stored = {i: values for i, values in shaped.items() if values is not None}
    known: list[tuple[int, Operator]] = []
    for name, tensor in layers_of(switches):
        operator = graph.producer(tensor)
        if operator is not None and tensor in stored and stored[tensor].dtype.kind in "iu":
            account = LayerAccount(name, graph.tensors[tensor].label, operator.op, len(MECHANISMS))
            sums.setdefault(tensor, account)
            known.append((tensor, operator))
    settings = switches.rungs()
    side_by_side(lambda each: _add_layer(on, sums[each[0]], each, stored, (*rungs, settings)), known)


def _add_layer(
    on: tuple[Switches, Rules | None],
    account: LayerAccount,
    layer: tuple[int, Operator],
    stored: Values,
    rungs: tuple[RealRungs, Mapping[str, Values], Sequence[tuple[str, Setting]]],
) -> None:
    """One layer; ``stored`` are the runtime's tensors."""
    (tensor, operator), (real, simulated, settings) = layer, rungs
    place = {mechanism: k for k, mechanism in enumerate(MECHANISMS)}
    grid, kind = on[0].file.grids[tensor], stored[tensor].dtype
    held = {m: values[tensor] for m, values in real.values.items() if tensor in values}
    each = {id(values): values for values in held.values()}
    integers = {key: y if y.dtype.kind in "iu" else grid.integers(y, kind) for key, y in each.items()}
    whole = {m: integers[id(values)] for m, values in held.items()}
    whole[REFERENCE] = whole.get(REAL, whole[REWRITTEN])
    whole |= {m: values[tensor] for m, values in simulated.items() if tensor in values}
    local = _local((on[0], settings), stored, tensor, operator)
    local |= _simulated(on, operator, stored, simulated.get(ROUNDING, {})) if local else {}
    target = Target(stored[tensor].reshape(-1))
    account.add(
        target, {place[m]: y for m, y in _filled(whole).items()}, {place[m]: y for m, y in _filled(local).items()}
    )


def _filled(found: Mapping[str, Array]) -> dict[str, Array]:
    """Every rung above the runtime's; one that changes nothing, or is not there, stands where the one above it does."""
    if not found:
        return {}
    filled, last = dict[str, Array](), found.get(REFERENCE, found[REWRITTEN])
    for mechanism in ABOVE:
        last = found.get(mechanism, last)
        filled[mechanism] = last
    return filled


def _local(
    on: tuple[Switches, Sequence[tuple[str, Setting]]], stored: Values, tensor: int, operator: Operator
) -> dict[str, Array]:
    """The layer's integers at the rungs that exchange something of it, of the runtime's own input.

    A rung that only bounds or rounds to the file's grid gives the same integers as the one above it.
    """
    (switches, settings), file = on, on[0].file
    graph, grid, (runs, *_) = file.graph, file.grids[tensor], (shape := stored[tensor].shape)
    fed = in_real_units(switches, {i: stored[i] for i in operator.inputs if i in stored}, runs)
    known = fed.keys() | file.constants.keys()
    if any(i >= 0 and i not in known and not graph.tensors[i].is_variable for i in operator.inputs):
        return {}
    place, found, computed = operator.outputs.index(tensor), dict[str, Array](), list[Array]()
    exchanged, sums = _exchanged(switches, operator, tensor), _exact(switches, operator, stored)
    for mechanism, setting in settings:
        if mechanism in exchanged:
            if mechanism in (REWRITTEN, WEIGHTS, BIAS):  # all others act on what was computed
                computed = file.computed(operator, fed, setting.constants, sums)
            left = grid.integers(file.left(operator, computed, setting)[place], stored[tensor].dtype)
            found[mechanism] = left if left.shape == shape else np.broadcast_to(left, shape)
    return found


def _exact(switches: Switches, operator: Operator, stored: Values) -> Sums:
    """The sums of stored weights on stored values, where both are integers: exact, and sooner had than in double."""
    file, tensors = switches.file, switches.file.graph.tensors
    if operator.op not in PRODUCTS or len(operator.inputs) <= BIAS_AT:
        return {}
    x, w = operator.inputs[:BIAS_AT]
    if x not in stored or x not in file.grids or not _in_bytes(tensors[w], traits(operator.op).channel_axis):
        return {}
    values, weights = stored[x], tensors[w].data
    assert weights is not None
    with suppress(NoKernel), fitting():  # a zero point for each channel; a damaged file
        rows = -1 if operator.op == "FULLY_CONNECTED" else values.shape[1]
        held = exact_sums(node_of(file.graph, operator), values.reshape(-1, *values.shape[2:]), weights)
        return {id(file.constants[w]): replace(held, shape=(len(values), rows, *held.shape[1:]))}
    return {}


def _in_bytes(weights: Tensor, channel_axis: int) -> bool:
    """Whether the file holds them as they are, with a scale for all or for each channel of the output."""
    plain = weights.sparsity is None and weights.blocks is None and weights.is_constant
    quant = weights.quant
    return plain and weights.dtype in BYTES and quant is not None and quant.axis in (None, channel_axis)


def _exchanged(switches: Switches, operator: Operator, tensor: int) -> set[str]:
    """The rungs at which a layer changes, and the one before them all."""
    found = {REWRITTEN, *(switches.mechanism(i) for i in operator.inputs if i in switches.matches)}
    if tensor in switches.inputs:
        return found | {INPUT}
    return found | ({RANGES} if tensor in switches.own else set())


def _simulated(
    on: tuple[Switches, Rules | None], operator: Operator, stored: Values, chain: Values
) -> dict[str, Array]:
    """The same as the runtime computes it; nothing where the simulator lacks the operator.

    Where its ``chain`` arrives with the runtime's own tensors, it has computed just that.
    """
    (switches, runtime), graph = on, on[0].file.graph
    if runtime is None:
        return {}
    fed = [i for i in operator.inputs if i in stored]
    try:
        if operator.outputs[0] in chain and all(i in chain and same_bits(chain[i], stored[i]) for i in fed):
            y = chain[operator.outputs[0]]
        else:
            (y, *_) = run_operator(graph, operator, stored, runtime)
    except (NoKernel, KeyError):
        return {}
    real = real_of(node_of(switches.file.graph, operator))
    curves = {CURVES: y} if real is None or real.curve else {}
    return {**curves, ROUNDING: y}
