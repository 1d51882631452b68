"""Where two graphs part: the first operator that gives something else, fed with the reference's own values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantdiff.graph import Operator
from quantdiff.ladder.matching import computing
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.ops import CLAMPS

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
            got = file.run(inputs, _unrounded(switches, tensor), known, (tensor,))[tensor]
            if got[:1].size != want[:1].size:
                return f"{operator.op} {operator.index} gives {got.shape[1:]}, the reference {want.shape[1:]}"
            want = want.reshape(len(want), *got.shape[1:])
            apart = float(np.abs(got - want).max(initial=0))
            if apart > FLOATS * float(np.abs(want).max(initial=0)) and tensor not in switches.ends:
                if (twice := _rounds_twice(switches, operator, partner)) is not None:
                    return twice
                name = f"{operator.op} {operator.index} ({file.graph.tensors[tensor].label})"
                return f"{name} is the first operator that gives something else, by up to {apart:.4g}"
            grid = switches.own.get(tensor)
            known[tensor] = want if grid is None else grid.clipped(grid.rounded(want))
    return ""


def _rounds_twice(switches: Switches, operator: Operator, partner: int) -> str | None:
    """The words where the reference rounds between an operator and an activation that the file has made one."""
    reference, maker = switches.reference, switches.reference.real.graph.producer(partner)
    if maker is None or maker.op not in CLAMPS or reference.of(maker.inputs[0]) not in reference.grids:
        return None
    name = switches.layer_of(operator.outputs[0])
    return f"the converter fused {operator.op} and {maker.op} ({name}): the reference rounds twice there, the file once"


def _unrounded(switches: Switches, tensor: int) -> Setting:
    """The rewritten graph with one tensor before the reference's own grid: as its partner stands in its graph."""
    setting = switches.rewritten
    return replace(setting, own={i: grid for i, grid in setting.own.items() if i != tensor})
