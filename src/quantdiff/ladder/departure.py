"""Where two graphs part: the first operator that gives something else when it is fed the same, teacher-forced."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.ladder.matching import ACTIVATION, RECODES, computing
from quantdiff.ladder.real_graph import Setting, is_delay
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.ops import CLAMPS, traits

FLOATS = 1e-5  # of the largest value: what another order of sums may do
FEW = 8  # samples


def departure(switches: Switches, rows: Batch) -> str:
    """In words; empty where every operator that has a partner gives the same.

    Each tensor of the file that has a partner is computed from those before it as the reference has them.
    """
    few = rows.part(slice(FEW))
    real, file = switches.reference.real, switches.file
    theirs = real.run(real_inputs(switches.lowering, few), switches.lowered_setting())
    inputs = real_inputs(switches.model, few)
    given = zip(file.graph.inputs, inputs, strict=True)
    known = {i: file.put(i, x, switches.rewritten) for i, x in given}
    for operator in computing(file):
        for tensor in operator.outputs:
            partner = switches.partners.get(tensor)
            if partner is None or partner not in theirs:
                continue
            want = theirs[partner]
            if is_delay(operator):
                known[tensor] = want
                continue
            got = file.run(inputs, _unrounded(switches, tensor), known, (tensor,))[tensor]
            if got[:1].size != want[:1].size:
                return f"{operator.op} {operator.index} gives {got.shape[1:]}, the reference {want.shape[1:]}"
            want, grid = want.reshape(len(want), *got.shape[1:]), switches.own.get(tensor)
            ends = (-np.inf, np.inf) if grid is None else grid.ends  # which do the work of a ReLU that is not there
            apart = float(np.abs(got.clip(*ends) - want.clip(*ends)).max(initial=0))
            if apart > FLOATS * float(np.abs(want).max(initial=0)) and tensor not in switches.ends:
                if (twice := _rounds_twice(switches, operator, partner)) is not None:
                    return twice
                layer = switches.layer_of(tensor).split(";")[0]
                first = f"{operator.op} {operator.index} ({layer}) is the first operator that gives something else"
                return f"{first}, by up to {apart:.4g}{_other_operators(switches, operator, partner)}"
            known[tensor] = want if grid is None else grid.bounded(want)
    return _other_end(switches)


def _rounds_twice(switches: Switches, operator: Operator, partner: int) -> str | None:
    """The words where the reference rounds between an operator and an activation that the file has made one."""
    reference, maker = switches.reference, switches.reference.real.graph.producer(partner)
    if maker is None or maker.op not in CLAMPS or reference.of(maker.inputs[0]) not in reference.grids:
        return None
    name = switches.layer_of(operator.outputs[0])
    return f"the converter fused {operator.op} and {maker.op} ({name}): the reference rounds twice there, the file once"


def _other_operators(switches: Switches, operator: Operator, partner: int) -> str:
    """What one graph has in front of an operator, or joined with it, that the other has not; empty for nothing."""
    real, graph = switches.reference.real.graph, switches.file.graph
    ours = [each for i in operator.inputs for each in _unpaired(graph, i, switches.partners)]
    theirs = _unpaired(real, partner, set(switches.partners.values()) - {partner})
    own = next((each for each in theirs if each.op == operator.op), None)
    theirs = [each for each in theirs if each is not own]
    if ours or theirs:
        return f": {_beside(real, theirs, graph, ours)} before it"
    activations = [str(each.options.get(ACTIVATION, "NONE")) for each in (own or operator, operator)]
    return "" if activations[0] == activations[1] else ": with {} in the reference, {} in the file".format(*activations)


def _other_end(switches: Switches) -> str:
    """What one graph has behind all that is alike, where an output is made of it."""
    real, graph = switches.reference.real.graph, switches.file.graph
    ours = [each for i in graph.outputs for each in _unpaired(graph, i, switches.partners)]
    theirs = [each for i in real.outputs for each in _unpaired(real, i, set(switches.partners.values()))]
    return f"at the end {_beside(real, theirs, graph, ours)}" if ours or theirs else ""


def _beside(real: Graph, theirs: Sequence[Operator], graph: Graph, ours: Sequence[Operator]) -> str:
    """The operators of both in words."""
    reference, file = (
        ", ".join(dict.fromkeys(_named(whole, each) for each in some[::-1])) or "nothing"
        for whole, some in ((real, theirs), (graph, ours))
    )
    return f"the reference has {reference}, the file {file}"


def _unpaired(graph: Graph, tensor: int, known: Container[int]) -> list[Operator]:
    """The operators that compute a tensor from known ones, the last first; without those that only restate."""
    waiting, found = [tensor], dict[int, Operator]()
    while waiting:
        tensor = waiting.pop(0)
        maker = graph.producer(tensor) if tensor >= 0 else None
        if tensor not in known and maker is not None and maker.index not in found:
            found[maker.index] = maker
            waiting += maker.inputs
    return [each for each in found.values() if each.op not in RECODES and not traits(each.op).keeps_order]


def _named(graph: Graph, operator: Operator) -> str:
    return f"{operator.op} {operator.index} ({graph.tensors[operator.outputs[0]].label.split(';')[0]})"


def _unrounded(switches: Switches, tensor: int) -> Setting:
    """The rewritten graph with one tensor before the reference's own grid: as its partner stands in its graph."""
    setting = switches.rewritten
    return replace(setting, own={i: grid for i, grid in setting.own.items() if i != tensor})
