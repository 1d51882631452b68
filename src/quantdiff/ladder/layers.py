"""Per layer: what arrives wrong and what is made there, on every tensor of the file that has a partner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantdiff.ladder.account import LayerAccount, Target
from quantdiff.ladder.explanation import CURVES, MECHANISMS, REAL, REFERENCE, REWRITTEN, ROUNDING, RUNTIME
from quantdiff.ladder.frontier import in_real_units, local_settings
from quantdiff.ladder.real_graph import Values
from quantdiff.ladder.rungs import RealRungs
from quantdiff.ladder.switches import Switches
from quantdiff.quant import Array
from quantdiff.run.inner_tensors import Reading

Layers = Sequence[tuple[str, int]]
"""Name in the reference, tensor of the file."""


def layers_of(switches: Switches) -> Layers:
    """Every tensor on a grid of its own that has a partner in the reference."""
    graph, real = switches.file.graph, switches.reference.real.graph
    return [
        (real.tensors[switches.partners[i]].label, i)
        for op in switches.file.operators
        for i in op.outputs
        if i in switches.partners and i in switches.file.grids and i not in switches.file.copies and graph.producer(i)
    ]


def add_layers(switches: Switches, sums: dict[int, LayerAccount], reading: Reading, real: RealRungs) -> None:
    """Each layer as it comes at every rung of real arithmetic, and fed with the runtime's own input."""
    place = {mechanism: k for k, mechanism in enumerate(MECHANISMS)}
    graph, grids = switches.file.graph, switches.file.grids
    given = {**dict(zip(graph.inputs, reading.inputs, strict=True)), **reading.values}
    recorded = in_real_units(switches, given, len(reading.inputs[0]))
    for name, tensor in layers_of(switches):
        operator = graph.producer(tensor)
        if operator is None or tensor not in reading.values or reading.values[tensor].dtype.kind not in "iu":
            continue
        account = sums.setdefault(tensor, LayerAccount(name, graph.tensors[tensor].label, operator.op, len(MECHANISMS)))
        target = Target(reading.values[tensor].reshape(-1))
        whole = {m: grids[tensor].integers(values[tensor]) for m, values in real.values.items() if tensor in values}
        whole[REFERENCE] = whole.get(REAL, whole[REWRITTEN])
        local = _local(switches, recorded, tensor)
        account.add(
            target,
            {place[m]: y for m, y in whole.items()} | {place[m]: whole[last_of(whole)] for m in (CURVES, ROUNDING)},
            {place[m]: y for m, y in local.items()},
        )


def last_of(whole: dict[str, Array]) -> str:
    """The lowest rung that there is."""
    return [m for m in MECHANISMS if m in whole][-1]


def _local(switches: Switches, recorded: Values, tensor: int) -> dict[str, Array]:
    """The layer's integers by rung, of the runtime's own input; the reference's arithmetic until something changes."""
    operator, grid = switches.file.graph.producer(tensor), switches.file.grids[tensor]
    graph, known = switches.file.graph, recorded.keys() | switches.file.constants.keys()
    if operator is None or any(i >= 0 and i not in known and not graph.tensors[i].is_variable for i in operator.inputs):
        return {}
    place = operator.outputs.index(tensor)
    shape = recorded[tensor].shape
    made = {
        mechanism or REWRITTEN: np.broadcast_to(
            grid.integers(switches.file.operate(operator, recorded, setting)[place]), shape
        )
        for mechanism, setting in local_settings(switches, operator)
    }
    found, last = dict[str, Array](), made[REWRITTEN]
    for mechanism in MECHANISMS[: MECHANISMS.index(RUNTIME)]:
        last = made.get(mechanism, last)
        found[mechanism] = last
    return found
