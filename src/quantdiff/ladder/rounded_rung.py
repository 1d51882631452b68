"""The rung ``activation_rounding`` by integers: nothing of the reference is left there, and all lies on grids.

The simulator's chain of real functions has the same values up to the first function that a runtime approximates, as
exact sums of bytes. What stands behind is real arithmetic as at the other rungs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial

import numpy as np

from quantdiff.graph import Operator, keeps_resources
from quantdiff.ladder.real_graph import RealGraph, Setting
from quantdiff.ladder.rungs import in_slices, stored
from quantdiff.ladder.switches import Switches
from quantdiff.quant import Array
from quantdiff.sim.node import node_of, real_of


def rounded_rung(
    switches: Switches, inputs: Sequence[Array], chain: Mapping[int, Array], tensors: Iterable[int]
) -> dict[int, Array]:
    """Outputs, real, and ``tensors`` as integers; ``chain`` holds the simulator's integers, of real functions."""
    file, (_, setting) = switches.file, switches.rungs()[-1]
    alike = frozenset(as_in_chain(switches, setting) & chain.keys())
    singles = [i for i in alike if file.grids[i].single]
    own = file.run(inputs, setting, want=singles) if singles else {}
    if not singles or not all(np.array_equal(own[i], _real(file, i, chain[i])) for i in singles):
        alike = frozenset()
    tensors = tuple(tensors)
    wanted = {*file.graph.outputs, *tensors} - alike
    needed = file.needed(wanted, alike)
    read = {i for op in file.operators if op.index in needed for i in op.inputs} & alike
    known = {i: _real(file, i, chain[i]) for i in read}
    found = in_slices(file, inputs, setting, wanted, known, leave=partial(stored, file))
    outputs = {i: _real(file, i, chain[i]) for i in alike.intersection(file.graph.outputs)}
    return found | {i: chain[i] for i in tensors if i in alike} | outputs


def as_in_chain(switches: Switches, setting: Setting) -> AbstractSet[int]:
    """Tensors on a grid at which real arithmetic under a setting is that of real functions on stored integers."""
    file, graph = switches.file, switches.model.main
    if keeps_resources(graph) or file.origin or setting.constants or setting.own:  # then the chain is the runtime's
        return frozenset()
    known = {i for i in graph.inputs if i in setting.rounded or i not in file.grids}
    for operator in file.operators:
        fed = all(i < 0 or i in known or i in file.constants for i in operator.inputs)
        bounded = all(i in setting.rounded & setting.clipped or i in file.copies for i in operator.outputs)
        if fed and bounded and _same_operator(switches, operator) and _exact(file, operator):
            known.update(operator.outputs)
    return frozenset(known & file.grids.keys())


def _same_operator(switches: Switches, operator: Operator) -> bool:
    """Whether the file has it as it stands: real arithmetic writes loops out, and gives biases the unit of the sums."""
    ours, file = switches.file.graph.tensors, switches.model.main
    if operator.index >= len(file.operators) or file.operators[operator.index] != operator:
        return False
    return all(ours[i] == file.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0)


def _exact(file: RealGraph, operator: Operator) -> bool:
    """Whether the chain takes the real function, or moves integers from a grid to the same."""
    real = real_of(node_of(file.graph, operator))
    return all(i in file.copies for i in operator.outputs) if real is None else not real.curve


def _real(file: RealGraph, tensor: int, integers: Array) -> Array:
    grid = file.grids[tensor]
    return np.asarray((integers.astype(np.float64) - grid.zero_point) * grid.scale)
