"""What is asked of a pair, what the first slice of the data tells of it, and what is added up as others pass by.

The first slice tells which output is which, and whether the two are one model at all. What the file's graph with the
reference's constants computes just as the lowered reference does (the same operators, with the same options, on the
same constants and inputs, and nothing is rounded), the rung ``rewritten`` takes from ``real``. ``Few`` are the samples
on which cures are predicted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.align.alignment import pair_outputs
from quantdiff.align.constants import alike
from quantdiff.errors import NotComparable, UnsupportedOp
from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.ladder.account import Account, LayerAccount
from quantdiff.ladder.attribution import Attribution
from quantdiff.ladder.explanation import Signed, WrongWeights
from quantdiff.ladder.matching import RECODES, ROUNDED, Match, stored
from quantdiff.ladder.real_graph import RealGraph, Values
from quantdiff.ladder.rungs import OutputGrids, ends_of_file, real_inputs
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch
from quantdiff.ops import traits
from quantdiff.quant import Array, Trace, Value, is_float
from quantdiff.run.inner_tensors import Reading
from quantdiff.sim.device import Rules


@dataclass(frozen=True, slots=True)
class Few:
    """The samples on which cures are predicted: what the reference and the file gave, and under which ``rules``.

    ``bare``: the outputs of the reference's graph without its own output grids, in the file's order. Shapes: (samples,
    elements).
    """

    rows: Batch
    reference: Trace
    candidate: Trace
    bare: Sequence[Array]
    rules: Rules | None


@dataclass(slots=True)
class Sums:
    """What is added up while the data pass by; nothing grows with them.

    ``apart``: by rung the largest distance from the reference in steps, and how many integers are others. ``few``: the
    first samples, on which cures are predicted. ``outside``: the reference's outputs beyond the file's range, of
    all, and the farthest in steps.
    """

    outputs: Account
    layers: dict[int, LayerAccount]
    attribution: Attribution | None
    apart: dict[str, tuple[float, int]]
    outside: tuple[int, int, float] = (0, 0, 0.0)
    closed: bool = True
    changed: int = 0
    samples: int = 0
    missing: tuple[str, ...] = ()
    borrowed: tuple[str, ...] = ()
    departs: str = ""
    few: Few | None = None
    signed: tuple[Signed, ...] = ()

    def __add__(self, other: Sums) -> Sums:
        """With those of the samples behind; what the first samples tell is theirs."""
        beyond, count, farthest = self.outside
        layers = {tensor: account + other.layers[tensor] for tensor, account in self.layers.items()}
        apart = {
            mechanism: (max(far, other.apart[mechanism][0]), flips + other.apart[mechanism][1])
            for mechanism, (far, flips) in self.apart.items()
        }
        return Sums(
            self.outputs + other.outputs,
            layers or other.layers,
            self.attribution or other.attribution,
            apart or other.apart,
            (beyond + other.outside[0], count + other.outside[1], max(farthest, other.outside[2])),
            self.closed and other.closed,
            self.changed + other.changed,
            self.samples + other.samples,
            self.missing or other.missing,
            self.borrowed or other.borrowed,
            self.departs or other.departs,
            self.few or other.few,
            self.signed or other.signed,
        )


@dataclass(frozen=True, slots=True)
class Ladder:
    """What does not change from slice to slice.

    ``switches`` None: the pair cannot be computed in real arithmetic; ``why`` says which operator.
    ``lowered_order``: for each output of the file the place of the lowered reference's.
    """

    question: Question
    grids: OutputGrids
    switches: Switches | None
    lowered_order: tuple[int, ...] = ()
    why: str = ""

    def attribution(self) -> Attribution | None:
        """Where the shares of the first samples are added up; None where there is no real arithmetic."""
        return None if self.switches is None else Attribution(self.switches, self.grids.units)


def set_up(question: Question, reading: Reading, own: Trace) -> Ladder:
    """What the first slice tells: which output is which, and whether both graphs can be computed."""
    order = order_from_reading(own, question.model, reading)
    grids = ends_of_file(question.model.main, order, question.tolerance)
    if question.lowering is None:
        return Ladder(question, grids, None, (), question.why or "the reference has no graph of operators")
    try:
        found = with_alike(replace(switches(question.model, question.lowering), names=question.names))
        few = reading.rows.part(slice(2))
        values = found.file.run(real_inputs(question.model, few), found.rewritten)
        found = replace(found, shapes={i: v.shape[1:] for i, v in values.items()})
        low = _lowered_order(found, few, question, order)
    except UnsupportedOp as error:
        return Ladder(question, grids, None, (), str(error))
    check_related(found)
    return Ladder(question, grids, found, low)


def _lowered_order(found: Switches, rows: Batch, question: Question, order: Sequence[int]) -> tuple[int, ...]:
    """For each output of the file the lowered reference's: by way of the reference's own."""
    real = found.reference.real
    values = real.run(real_inputs(found.lowering, rows), found.lowered_setting())
    outputs = [values[i].astype(np.float32) for i in real.graph.outputs]
    places = order_of_outputs(question.trace(rows), found.lowering, outputs, "the lowered reference")
    return tuple(places.index(k) for k in order)


def with_alike(switches: Switches) -> Switches:
    """The same, and which tensors of the file hold the very same values as their partners.

    A stream shares nothing: its values hang on the samples before.
    """
    file, reference, setting = switches.file, switches.reference.real, switches.rewritten
    if file.streams or reference.streams:
        return switches
    numbers: dict[Hashable, int] = {}
    given = {i: numbers.setdefault(("input", i), len(numbers)) for i in reference.graph.inputs}
    partners = {i: switches.partners.get(i, -1) for i in file.graph.inputs}
    inputs = {i: given[partner] for i, partner in partners.items() if partner in given}
    theirs = _numbered(reference, given, {}, reference.varying, numbers)
    ours = _numbered(file, inputs, setting.constants, setting.own, numbers)
    pairs = [(i, j) for i in ours for j in {switches.partners.get(i, -1), *reference.graph.outputs}]
    return replace(switches, alike=frozenset(pair for pair in pairs if theirs.get(pair[1]) == ours[pair[0]]))


def _numbered(
    real: RealGraph, inputs: Mapping[int, int], constants: Values, bounded: Container[int], numbers: dict[Hashable, int]
) -> dict[int, int]:
    """By tensor the number of what is computed there, equal for equal computations; not of what a grid bounds."""
    found = {i: number for i, number in inputs.items() if i not in bounded}
    for operator in real.operators:
        read = [_read(i, real, constants, found, numbers) for i in operator.inputs]
        if not read or None in read:
            continue
        for place, tensor in enumerate(operator.outputs):
            if tensor in bounded:
                continue
            formula = (*_stated(real.graph, operator, tensor), place, *read)
            restated = read[0] if operator.op in RECODES else None
            found[tensor] = numbers.setdefault(formula, len(numbers)) if restated is None else restated
    return found


def _read(
    tensor: int, real: RealGraph, constants: Values, found: Mapping[int, int], numbers: dict[Hashable, int]
) -> int | None:
    """The number of what an operator reads; −1 where it leaves an input out."""
    if tensor < 0 or tensor in found:
        return found.get(tensor, -1)
    constant = constants.get(tensor, real.constants.get(tensor))
    return None if constant is None else numbers.setdefault(_bits(constant), len(numbers))


def _stated(graph: Graph, operator: Operator, tensor: int) -> tuple[Hashable, ...]:
    """What the file says of an operator, but for how its integers are to be read."""
    made = graph.tensors[tensor]
    kind = "real" if is_float(made.dtype) or made.grid is not None else made.dtype
    return operator.op, repr(sorted(operator.options.items())), kind, made.shape


def _bits(constant: Array) -> Hashable:
    whole = np.ascontiguousarray(constant).reshape(-1)
    return constant.shape, whole.dtype.str, hashlib.blake2b(whole.view(np.uint8).data if whole.size else b"").digest()


RELATED = 0.5
"""Share of the kernels that must be the reference's, or trained on from them."""


def check_related(switches: Switches) -> None:
    """Refuse two models that are not made from each other.

    Raises:
        NotComparable: fewer than half of the file's kernels are the reference's.
    """
    kernels = [switches.matches[i] for i in _kernels(switches)]
    found = sum(_alike(switches, match) for match in kernels)
    if kernels and found < RELATED * len(kernels):
        raise NotComparable(
            f"these are not the same model: {found} of the {len(kernels)} kernels of the .tflite are the reference's; "
            "give the model that it was converted from"
        )


def _kernels(switches: Switches) -> list[int]:
    placed = ((op, traits(op.op).weights) for op in switches.file.operators)
    tensors = (op.inputs[place] for op, place in placed if place is not None and place < len(op.inputs))
    kernels = [i for i in tensors if i in switches.matches]
    data = {i: stored(switches.file, i).data for i in kernels}
    once = {i if data[i] is None else id(data[i]): i for i in kernels}  # however often a loop is written out
    return list(once.values())


def _alike(switches: Switches, match: Match) -> bool:
    if match.value is None:
        return False
    mine, own = switches.file.constants[match.tensor].ravel(), match.value.ravel()
    if match.steps <= ROUNDED or not mine.any():
        return True
    return alike(mine, own)


def wrong_weights(switches: Switches) -> Iterator[WrongWeights]:
    """Every kernel with a weight more than one step from the reference's."""
    graph = switches.file.graph
    for tensor in _kernels(switches):
        match = switches.matches[tensor]
        if match.value is None or match.steps <= ROUNDED:
            continue
        steps = distance(stored(switches.file, tensor), switches.file.constants[tensor], match.value)
        count = int(np.count_nonzero(steps > ROUNDED))
        if count and match.other is not None:
            worst = np.unravel_index(int(steps.argmax()), steps.shape)
            name = switches.reference.real.graph.tensors[match.other].label
            place = tuple(map(int, worst))
            yield WrongWeights(name, graph.tensors[tensor].label, count, steps.size, float(steps.max()), place)


def distance(tensor: Tensor, value: Array, other: Array) -> Array:
    """In steps of the tensor's grid; of floats in 2**-10 of the largest. Shape as the values."""
    apart = np.abs(value - other)
    if tensor.quant is None or not tensor.quant.scale:
        return np.asarray(apart / (np.abs(value).max() * 2.0**-10 + 1e-30))
    return np.asarray(apart / tensor.quant.along(value.ndim)[0].astype(np.float64))


@dataclass(frozen=True, slots=True)
class Question:
    """The reference as its engine runs it and as a float graph, the file, and the data.

    ``trace`` gives the reference's own outputs for samples; ``kind`` is its engine: ``float``, ``qat``,
    ``tflite:xnnpack``. ``lowering`` is the reference as TFLite operators, None where that cannot be had:
    ``why`` says so. Outputs
    without a grid count as equal within ``tolerance``, in real units. ``single``: a sample and an element of the
    outputs, all counted through, whose difference is listed. ``names``: by tensor of the file the reference's layer.
    """

    kind: str
    trace: Callable[[Batch], Trace]
    lowering: Model | None
    model: Model
    batch: Batch
    tolerance: float
    notes: tuple[str, ...] = ()
    single: tuple[int, int] | None = None
    why: str = ""
    names: Mapping[int, str] = field(default_factory=dict)


def order_of_outputs(reference: Trace, model: Model, outputs: Sequence[Array], name: str) -> tuple[int, ...]:
    """For each output of a file the place of the reference's output that belongs to it.

    Shapes: ``outputs`` (samples, *shape of the tensor), in the file's order.

    Raises:
        NotComparable: the outputs do not fit each other.
    """
    theirs = trace_of_file(model, outputs, reference, name)
    found, _ = pair_outputs(reference, theirs)
    places = {id(b): next(k for k, a in enumerate(reference.outputs) if a is own) for own, b in found}
    return tuple(places[id(value)] for value in theirs.outputs)


def trace_of_file(model: Model, outputs: Sequence[Array], reference: Trace, name: str) -> Trace:
    """A file's outputs as a trace, as many samples in a run as the reference shows."""
    names = {i: key for s in model.signatures if s.subgraph == 0 for key, i in s.outputs}
    tensors = [model.main.tensors[i] for i in model.main.outputs]
    values = tuple(
        Value(
            names.get(t.index, t.name),
            _joined(y, reference),
            t.quant if y.dtype.kind in "iu" else None,
            model.main.grid_before(t.index),
        )
        for t, y in zip(tensors, outputs, strict=True)
    )
    return Trace(name, values)


def _joined(array: Array, reference: Trace) -> Array:
    """Runs of several samples as samples; an output without an axis of samples as it is."""
    samples = len(reference.outputs[0].array)
    return array.reshape(-1, *array.shape[2:]) if array.ndim > 1 and len(array) * array.shape[1] == samples else array


def order_from_reading(reference: Trace, model: Model, reading: Reading) -> tuple[int, ...]:
    """The same for the file on a runtime."""
    return order_of_outputs(reference, model, reading.outputs, "the .tflite")
