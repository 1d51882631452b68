"""The rungs of real arithmetic for some samples, side by side: outputs, and tensors in between, on the file's grids.

NumPy lets go of the interpreter in its long loops. ``Target`` is what they are held against: what the runtime gave.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from quantdiff.graph import Graph, Model
from quantdiff.ladder.explanation import (
    BIAS,
    CLIPPING,
    INPUT,
    RANGES,
    REAL,
    REWRITTEN,
    STEPS,
    WEIGHTS,
)
from quantdiff.ladder.real_graph import RealGraph, Setting, Values
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, quantize, same_bits
from quantdiff.run.inputs import bound_inputs
from quantdiff.sim.graph.simulator import Missing

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


def named(missing: Iterable[Missing]) -> tuple[str, ...]:
    """Operators without a kernel, each once, in words."""
    return tuple(dict.fromkeys(f"operator {item.index} {item.op}: {item.why}" for item in missing))


@dataclass(frozen=True, slots=True)
class Target:
    """What the runtime gave for one output or one tensor: integers of its grid, or floats where there is none.

    Floats count as equal within ``tolerance``, in real units; any NaN equals any other.
    """

    values: Array
    tolerance: float | None = None

    def wrong(self, values: Array) -> Array:
        """Which elements are not the runtime's. Shape (samples, elements)."""
        mine = values.reshape(self.values.shape)
        if self.tolerance is None:
            return np.asarray(mine != self.values)
        with np.errstate(invalid="ignore", over="ignore"):  # a file may give infinities
            close = np.abs(mine.astype(np.float64) - self.values) <= self.tolerance
        wrong: Array = ~(close | (mine == self.values) | (np.isnan(mine) & np.isnan(self.values)))
        return wrong

    def distance(self, values: Array) -> int | None:
        """The largest difference in steps; None where there is no grid."""
        if self.tolerance is not None:
            return None
        wide = np.int16 if values.dtype.itemsize == self.values.dtype.itemsize == 1 else np.int64
        apart = np.subtract(values.reshape(self.values.shape), self.values, dtype=wide)
        return max(int(apart.max(initial=0)), -int(apart.min(initial=0)))


@dataclass(frozen=True, slots=True)
class OutputGrids:
    """The outputs of the file: their grids, how close floats without a grid must be, and whose places they take.

    ``order[k]`` is the place among the reference's outputs of the one that belongs to output ``k`` of the file.
    """

    grids: tuple[Grid | None, ...]
    order: tuple[int, ...]
    tolerance: float

    @property
    def units(self) -> tuple[float, ...]:
        """Real units of a step, by output; 1 where there is no grid."""
        return tuple(float(np.float32(grid.params.scale[0])) if grid else 1.0 for grid in self.grids)

    def targets(self, outputs: Sequence[Array]) -> list[Target]:
        """What the runtime gave, flat."""
        return [
            Target(on_grid(y, grid).reshape(-1), None if grid else self.tolerance)
            for y, grid in zip(outputs, self.grids, strict=True)
        ]

    def of_reference(self, outputs: Sequence[Array]) -> list[Array]:
        """The reference's outputs in the file's order, as integers of its grids."""
        return [on_grid(outputs[k], grid) for k, grid in zip(self.order, self.grids, strict=True)]

    def of_file(self, graph: Graph, values: Mapping[int, Array]) -> list[Array]:
        """The file's own outputs, out of all its tensors."""
        return [on_grid(values[i], grid) for i, grid in zip(graph.outputs, self.grids, strict=True)]


def ends_of_file(graph: Graph, order: Sequence[int], tolerance: float) -> OutputGrids:
    """Grids of the graph's outputs."""
    return OutputGrids(tuple(graph.grid_before(i) for i in graph.outputs), tuple(order), tolerance)


def on_grid(values: Array, grid: Grid | None) -> Array:
    """Integers of the grid; floats as they are where there is none, and whole numbers that are on none."""
    if grid is None or values.dtype.kind in "iub":
        return values
    return quantize(values, grid.params, grid.dtype)


THREADS = min(4, os.cpu_count() or 1)
"""Each holds the activations of a slice."""
Given = TypeVar("Given")
Made = TypeVar("Made")


@cache
def _blas() -> ThreadpoolController:
    """The libraries that multiply."""
    return ThreadpoolController()


@contextmanager
def one_thread_a_product() -> Iterator[None]:
    """Products on the thread that asks for them.

    On threads of their own they wait for each other in a loop: beside other work a product of this size takes fifty
    times as long.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


ARENAS, TRIMMED, MAPPED = -8, -1, -3
"""glibc's ``M_ARENA_MAX``, ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``."""
KEPT, LARGEST = 2**27, 2**25
"""Bytes that are free at the end of a heap and stay; and of what is taken from one, as glibc has it at most."""


@cache
def _share_memory() -> None:
    """Else glibc gives each thread a heap of its own, which keeps what it once held: they grow with the data.

    What it maps anew for every large array, the system fills with zeros first, a page at a time.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        for what, value in ((ARENAS, 2), (MAPPED, LARGEST), (TRIMMED, KEPT)):
            library.mallopt(what, value)


def side_by_side(work: Callable[[Given], Made], items: Iterable[Given]) -> list[Made]:
    """What ``work`` makes of each item, in their order."""
    if len(several := list(items)) < 2:  # noqa: PLR2004 (nothing beside it)
        return list(map(work, several))
    _share_memory()
    with one_thread_a_product(), ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, several))


def rows_of(values: Array, runs: int, rows: slice) -> Array:
    """Some of a tensor's runs, however its file states its shape."""
    return values[rows] if len(values) == runs else values.reshape(runs, -1)[rows]


def by_run(values: Array, runs: int) -> Array:
    """A reference's output with the file's runs along axis 0: what is left over is dropped."""
    each = max(1, len(values) // runs)
    return values[: runs * each].reshape(runs, -1)
