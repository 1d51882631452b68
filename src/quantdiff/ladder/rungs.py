"""The rungs of real arithmetic for some samples: outputs, and tensors in between, as integers of the file's grids.

And the lower rungs: the file in the simulator, with exact sums and the runtime's curves, then with all its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from quantdiff.graph import Graph, Model, Operator, keeps_resources
from quantdiff.ladder.account import OutputGrids, on_grid
from quantdiff.ladder.mechanisms import BIAS, CLIPPING, CURVES, INPUT, RANGES, REAL, REWRITTEN, ROUNDING, STEPS, WEIGHTS
from quantdiff.ladder.real_graph import RealGraph, Setting, Values
from quantdiff.ladder.slices import side_by_side
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.quant import Array, same_bits
from quantdiff.run.inputs import bound_inputs
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import all_but_curves
from quantdiff.sim.graph.simulator import Missing, Simulation, run_stateless, simulate, simulate_by, simulate_ideal
from quantdiff.sim.node import NoKernel

STORED = {"int8": np.int8, "uint8": np.uint8, "int16": np.int16}
ELEMENTS_AT_ONCE = 2**24
"""Of all activations together, in double: the most that one pass of real arithmetic holds."""


@dataclass(frozen=True, slots=True)
class RealRungs:
    """By rung and tensor. Shapes: (samples, *shape of the tensor).

    Outputs are real, and all of the rungs ``real`` and ``rewritten``; other tensors below are integers of their grids.
    """

    values: Mapping[str, Mapping[int, Array]]

    def outputs(self, switches: Switches, grids: OutputGrids, mechanism: str) -> list[Array]:
        """The file's outputs at a rung, as integers of their grids where they have one."""
        found = self.values[mechanism]
        return [output_on_grid(switches, k, found[i], grids) for k, i in enumerate(switches.file.graph.outputs)]

    def as_given(self, switches: Switches, mechanism: str) -> list[Array]:
        """The outputs as the reference gives them: on its own grid, where it has one at its end."""
        pairs = zip(switches.file.graph.outputs, switches.ends, strict=True)
        found = [(self.values[mechanism][i], switches.own.get(-1 if end is None else end)) for i, end in pairs]
        return [y if own is None else own.bounded(y) for y, own in found]


def output_on_grid(switches: Switches, place: int, real: Array, grids: OutputGrids) -> Array:
    """One output's real values as the file's last operator would store them."""
    stored, end = grids.grids[place], switches.ends[place]
    if stored is None:
        return real
    if end is None:
        return on_grid(real, stored)
    return switches.file.grids[end].integers(real).astype(stored.dtype)


def real_rungs(switches: Switches, order: Sequence[int], rows: Batch, tensors: Iterable[int]) -> RealRungs:
    """Every rung from the lowered reference down to the file's clipping, for outputs and ``tensors`` of the file.

    ``order``: for each output of the file the place of the lowered reference's. Tensors without a partner there are
    left out of its rung.
    """
    file, inputs = switches.file, real_inputs(switches.model, rows)
    inner = [i for i in tensors if i not in file.graph.outputs]
    rungs, wanted = switches.rungs(), {*file.graph.outputs, *inner}
    exchanged = [(m, setting) for m, setting in rungs if m not in (REWRITTEN, STEPS) and changes(switches, m)]
    works: list[Callable[[], Sequence[Values]]] = [partial(_unexchanged, switches, order, rows, inner)]
    works += [partial(_one_rung, file, inputs, setting, wanted) for _, setting in exchanged]
    (real, rewritten), *others = side_by_side(lambda work: work(), works)
    made = {REWRITTEN: rewritten} | {m: values for (m, _), (values,) in zip(exchanged, others, strict=True)}
    found, last = {REAL: real}, REWRITTEN
    for mechanism, _ in rungs:
        last = mechanism if mechanism in made else last
        found[mechanism] = made[last]
    return RealRungs(found)


def with_rounding(rungs: RealRungs, values: Values | None) -> RealRungs:
    """The rungs with the one below them all, which has no values of its own where nothing is rounded."""
    return rungs if values is None else RealRungs({**rungs.values, STEPS: values})


def _one_rung(file: RealGraph, inputs: Sequence[Array], setting: Setting, wanted: AbstractSet[int]) -> list[Values]:
    return [in_slices(file, inputs, setting, wanted, leave=partial(stored, file))]


def stored(file: RealGraph, tensor: int, real: Array) -> Array:
    """An inner value as the file stores it: an eighth of the memory, while it still is in the cache."""
    if tensor in file.graph.outputs:
        return real
    return file.grids[tensor].integers(real, STORED.get(file.graph.tensors[tensor].dtype, np.int64))


def _as_it_is(tensor: int, real: Array) -> Array:
    del tensor
    return real


def _unexchanged(switches: Switches, order: Sequence[int], rows: Batch, inner: Sequence[int]) -> tuple[Values, Values]:
    """The lowered reference, and the file's graph with its constants: what both compute alike is computed once."""
    file, inputs = switches.file, real_inputs(switches.model, rows)
    real = lowered_values(switches, rows, inner, order)
    known: Values = {}
    if _same_data(switches, inputs, real_inputs(switches.lowering, rows)):
        partners = _partners(switches, real, order)
        known = {i: real[i] for i, j in partners.items() if i in real and (i, j) in switches.alike}
    return real, in_slices(file, inputs, switches.rewritten, {*file.graph.outputs, *inner}, known)


def _same_data(switches: Switches, ours: Sequence[Array], theirs: Sequence[Array]) -> bool:
    """Whether both graphs are given the same numbers."""
    given = dict(zip(switches.reference.real.graph.inputs, theirs, strict=True))
    pairs = [
        (x, given.get(switches.partners.get(i, -1))) for i, x in zip(switches.file.graph.inputs, ours, strict=True)
    ]
    return all(y is None or same_bits(x, y) for x, y in pairs)


def _partners(switches: Switches, tensors: Iterable[int], order: Sequence[int]) -> dict[int, int]:
    """By tensor of the file the lowered reference's; that of an output by the ``order``."""
    found = {i: switches.partners[i] for i in tensors if i in switches.partners}
    outputs = switches.reference.real.graph.outputs
    return found | {i: outputs[k] for i, k in zip(switches.file.graph.outputs, order, strict=False)}


def lowered_values(
    switches: Switches, rows: Batch, tensors: Iterable[int], order: Sequence[int] = ()
) -> dict[int, Array]:
    """The lowered reference's values of ``tensors`` of the file, in their shapes; its outputs too, in an ``order``."""
    graph, reference = switches.file.graph, switches.reference.real
    partners = _partners(switches, tensors, order)
    inputs = real_inputs(switches.lowering, rows)
    values = in_slices(reference, inputs, switches.lowered_setting(), set(partners.values()))
    shapes = {i: switches.shapes.get(i, graph.tensors[i].shape) for i in partners}
    found = {i: values[j].reshape(-1, *shapes[i]) for i, j in partners.items() if _fits(values[j], shapes[i])}
    own = {i: switches.reference.grids.get(partners[i]) for i in found if i not in graph.outputs}
    return {i: y if (grid := own.get(i)) is None else grid.bounded(y) for i, y in found.items()}


def _fits(values: Array, shape: tuple[int, ...]) -> bool:
    return math.prod(values.shape[1:]) == math.prod(shape)


def changes(switches: Switches, mechanism: str) -> bool:
    """Whether there is anything to exchange at a rung."""
    owned = switches.own.keys() - switches.inputs
    free = switches.file.varying - switches.inputs - owned - {i for i in switches.ends if i is not None}
    matched = {switches.mechanism(i) for i, match in switches.matches.items() if match.value is not None}
    at = {INPUT: switches.inputs, RANGES: owned, CLIPPING: free, STEPS: free, WEIGHTS: (), BIAS: ()}
    return bool(at.get(mechanism, True)) or mechanism in matched


def in_slices(
    real: RealGraph,
    inputs: Sequence[Array],
    setting: Setting,
    want: Iterable[int],
    known: Values | None = None,
    leave: Callable[[int, Array], Array] = _as_it_is,
) -> dict[int, Array]:
    """``run`` with as many samples at once as memory bears; a stream as one. What is ``known`` is not computed.

    ``leave`` says what is kept of a tensor.
    """
    wanted = frozenset(want)
    count, size = len(inputs[0]), samples_at_once(real.graph)
    size = count if real.streams else size
    starts = range(0, count, size)
    lengths = [min(size, count - start) for start in starts]
    parts = []
    for start in starts:
        given = [x[start : start + size] for x in inputs], setting, _rows(known or {}, start, size)
        parts.append({i: leave(i, y) for i, y in real.walk(*given, wanted) if i in wanted})
    if len(parts) == 1:
        return {i: _for_all(parts[0][i], count) for i in wanted}
    pairs = list(zip(parts, lengths, strict=True))
    return {i: np.concatenate([_for_all(part[i], n) for part, n in pairs]) for i in wanted}


def _for_all(values: Array, count: int) -> Array:
    """One row as many times as there are samples."""
    return values if len(values) == count else np.broadcast_to(values, (count, *values.shape[1:]))


def _rows(values: Values, start: int, size: int) -> dict[int, Array]:
    """Some of the samples; one row stands for all."""
    return {i: y if len(y) == 1 else y[start : start + size] for i, y in values.items()}


def samples_at_once(graph: Graph) -> int:
    """How many samples' activations fit into memory."""
    return max(1, ELEMENTS_AT_ONCE // activations_of(graph))


def activations_of(graph: Graph) -> int:
    """Values that operators make of one sample."""
    made = (i for op in graph.operators for i in op.outputs)
    return sum(math.prod(graph.tensors[i].shape) for i in made) or 1


def real_inputs(model: Model, rows: Batch) -> list[Array]:
    """The data in real units, one invocation a row: (invocations, *shape of the input).

    Raises:
        BadData: the data do not fit the model's inputs.
    """
    graph, found = model.main, []
    for index, array in zip(graph.inputs, bound_inputs(model, rows), strict=True):
        tensor = graph.tensors[index]
        if array.ndim == len(tensor.shape):
            each = max(1, tensor.shape[0])
            array = array[: len(array) // each * each].reshape(-1, each, *array.shape[1:])  # noqa: PLW2901 (its runs)
        counts = tensor.grid is None and tensor.dtype[:5] != "float"
        found.append(array.astype(tensor.dtype) if counts else array.astype(np.float32).astype(np.float64))
    return found


@dataclass(frozen=True, slots=True)
class Chains:
    """Every tensor at each of the simulator's rungs, samples along axis 0.

    ``missing`` are operators that the simulator lacks, ``borrowed`` those whose results the runtime lent; both say why.
    """

    rungs: Mapping[str, Mapping[int, Array]]
    missing: tuple[str, ...]
    borrowed: tuple[str, ...] = ()


def chains(
    model: Model, inputs: Sequence[Array], runtime: Rules, recorded: Mapping[int, Array] | None = None
) -> Chains:
    """The whole graph at each rung. Shapes: each input (samples, *shape of the model's input).

    ``recorded`` are the runtime's own tensors. Where the simulator lacks an operator and its chain arrives there with
    the runtime's own bits, what the runtime made of them is taken: the account goes on behind it.
    """
    ideal = partial(simulate_ideal, model.main, inputs, runtime, all_but_curves, model.subgraphs)
    works: list[Callable[[], Any]] = [ideal, partial(_whole, model, inputs, runtime, recorded or {})]
    mixed, (whole, borrowed) = side_by_side(lambda work: work(), works)
    rungs = {ROUNDING: whole.values}
    if all(i in mixed.values for i in model.main.outputs):
        rungs[CURVES] = mixed.values
    return Chains(rungs, named(whole.missing), borrowed)


def _whole(
    model: Model, inputs: Sequence[Array], runtime: Rules, recorded: Mapping[int, Array]
) -> tuple[Simulation, tuple[str, ...]]:
    """The runtime's chain, and the operators whose results were taken from the runtime."""
    graph, borrowed = model.main, list[str]()
    if keeps_resources(graph):
        return simulate(graph, inputs, runtime, model.subgraphs), ()
    given = {**dict(zip(graph.inputs, inputs, strict=True)), **recorded}

    def operate(operator: Operator, values: Mapping[int, Array]) -> tuple[Array, ...]:
        try:
            return run_stateless(graph, model.subgraphs, runtime, None, operator, values)
        except NoKernel as error:
            fed = [i for i in operator.inputs if i in values]
            known = all(i in given for i in (*fed, *operator.outputs))
            if not (fed and known and all(same_bits(values[i], given[i]) for i in fed)):
                raise
            borrowed.append(f"operator {operator.index} {operator.op} ({error})")
            return tuple(given[i] for i in operator.outputs)

    return simulate_by(operate, graph, inputs, runtime), tuple(borrowed)


def named(missing: Iterable[Missing]) -> tuple[str, ...]:
    """Operators without a kernel, each once, in words."""
    return tuple(dict.fromkeys(f"operator {item.index} {item.op}: {item.why}" for item in missing))
