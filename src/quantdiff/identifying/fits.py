"""Every rule held against one operator of a device, fed with the device's own inputs.

Ways to scale sums are held against it at once: only the sums at which ways can differ go through every way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.identifying.equal import only_moves
from quantdiff.quant import Array
from quantdiff.sim.device import (
    QUOTIENTS,
    REAL,
    WRAPS,
    Rules,
    ended,
    float_steps,
    kind_of,
    quantizes_floats,
    real_steps,
)
from quantdiff.sim.graph.chains import Outcome, attempt
from quantdiff.sim.graph.operators import run_operator_on_each
from quantdiff.sim.graph.simulator import Missing, missing_inputs
from quantdiff.sim.node import Kernel, Node, NoKernel, kernels, node_of, real_of
from quantdiff.sim.rounding.exact_sums import POOL, clamp_behind, exact_sums, has_sums, scales_of, zero_point_behind
from quantdiff.sim.rounding.fixed_point import quantize_multiplier
from quantdiff.sim.rounding.scaling import (
    AFTER,
    DIVISION,
    ENDINGS,
    MULTIPLIERS,
    SHIFTING,
    Way,
    all_endings,
    scale_sums,
    usual_scale,
)
from quantdiff.sim.runtime import Runtime

Values = Mapping[int, Array]
Number = int | float
ELEMENTS_AT_ONCE = 2**20
"""Output elements whose sums are in memory at once."""
NEAR_TIE = 2.0**-12
"""Steps: closer to where a real function changes its integer, a device that computes in float32 may go either way."""
AT_TIE = 2.0**-30
"""Steps: no rounding of a device's brings what it adds or divides so near to a tie, so there is one, and it tells."""
CURVE_ENDINGS = ("half-even", "floor", "truncate", f"truncate{AFTER}")
"""Of curves, whose ties nobody meets, and are not judged."""


@dataclass(frozen=True, slots=True)
class Example:
    """An element that the device gives otherwise than the rule: the sample first; ``total`` is the exact sum there."""

    element: tuple[int, ...]
    device: Number
    rule: Number
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """A rule held against one operator: elements that contradict it, the first, and those too near a tie to judge."""

    rule: str
    mismatches: int = 0
    example: Example | None = None
    unjudged: int = 0


@dataclass(frozen=True, slots=True)
class OperatorFits:
    """One operator of the device: its kind, how many elements were compared, and every rule that could be tried."""

    index: int
    op: str
    kind: str
    count: int
    fits: Mapping[str, Fit] = field(repr=False)


def fits_of(graph: Graph, operator: Operator, held: Values, runtimes: Sequence[Runtime]) -> OperatorFits | Missing:
    """How each rule fits what the device gave.

    ``held`` are the device's tensors by index, samples along axis 0; ``runtimes`` those whose kernels are tried.
    """
    node = node_of(graph, operator)
    absent = missing_inputs(graph, operator, held)
    unread = [i for i in (*absent, *operator.outputs) if i not in held]
    if unread:
        return Missing(operator.index, operator.op, f"tensor {graph.tensors[unread[0]].name!r} was not recorded")
    found: dict[str, Fit] = {}
    count, why = 0, "no rule for it"
    for start, part in _parts(operator, held):
        theirs = [part[i] for i in operator.outputs]
        count += sum(array.size for array in theirs)
        why = _by_kernels(attempt(graph, operator, part, tuple(runtimes)), theirs, found, start) or why
        by = _by_sums if has_sums(node) else _by_quotients if quantizes_floats(node) else _by_real
        by(graph, operator, part, theirs[0], found, start)
    if not found:
        return Missing(operator.index, operator.op, why)
    return OperatorFits(operator.index, operator.op, kind_of(node), count, found)


def unrecorded(graph: Graph, operator: Operator, held: Values) -> dict[int, Array]:
    """What the device did not show and no rule can change: values that are moved, constants that are unpacked."""
    if missing_inputs(graph, operator, held) or all(i in held for i in operator.outputs):
        return {}
    fixed = all(i < 0 or graph.tensors[i].is_constant for i in operator.inputs)
    if not (fixed or only_moves(node_of(graph, operator))):
        return {}
    made = attempt(graph, operator, held, (Runtime.REFERENCE,))[Runtime.REFERENCE]
    if isinstance(made, Missing):
        return {}
    return {i: y for i, y in zip(operator.outputs, made, strict=True) if i not in held}


def _by_kernels(outcomes: Mapping[Rules, Outcome], theirs: Sequence[Array], found: dict[str, Fit], start: int) -> str:
    """The kernels of the runtimes; why one of them could not be tried, if that is so."""
    why = ""
    for runtime, outcome in outcomes.items():
        if isinstance(outcome, Missing):
            why = outcome.why
        elif all(mine[:1].size == array[:1].size for mine, array in zip(outcome, theirs, strict=True)):
            for mine, array in zip(outcome, theirs, strict=True):
                _count(found, runtime.value, _shown(mine, array), array, start)
    return why


def _shown(mine: Array, theirs: Array) -> Array:
    """Ours in their shape: what depends on no input is there once for all samples."""
    return np.broadcast_to(mine.reshape(len(mine), *theirs.shape[1:]), theirs.shape)


def _parts(operator: Operator, held: Values) -> Iterator[tuple[int, Values]]:
    """What the operator reads and gives, some samples after the others."""
    mine = {i: held[i] for i in (*operator.inputs, *operator.outputs) if i in held}
    samples = max((len(array) for array in mine.values()), default=1)
    each = sum(held[i][:1].size for i in operator.outputs)
    step = max(1, ELEMENTS_AT_ONCE // max(1, each))
    for start in range(0, samples, step):
        yield (
            start,
            {i: array if len(array) == 1 < samples else array[start : start + step] for i, array in mine.items()},
        )


def _count(found: dict[str, Fit], rule: str, mine: Array, theirs: Array, start: int) -> None:
    wrong = different(mine, theirs)
    count = int(np.count_nonzero(wrong))
    example = None
    if count:
        at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        example = Example(_element(at, start), theirs[at].item(), mine[at].item())
    add(found, Fit(rule, count, example))


def add(found: dict[str, Fit], fit: Fit) -> None:
    """Add what another part says of a rule."""
    before = found.get(fit.rule, Fit(fit.rule))
    found[fit.rule] = replace(
        before,
        mismatches=before.mismatches + fit.mismatches,
        example=before.example or fit.example,
        unjudged=before.unjudged + fit.unjudged,
    )


def different(mine: Array, theirs: Array) -> Array:
    """Where two arrays are not the same bits; any NaN equals any other. Shapes: both alike, and the result."""
    if mine.dtype.kind != "f" or theirs.dtype.kind != "f":
        return np.asarray(mine != theirs)
    same = (mine == theirs) & (np.signbit(mine) == np.signbit(theirs))
    return np.asarray(~(same | (np.isnan(mine) & np.isnan(theirs))))


def _element(at: Sequence[np.intp], start: int) -> tuple[int, ...]:
    first, *rest = (int(i) for i in at)
    return start + first, *rest


def _by_sums(graph: Graph, operator: Operator, part: Values, theirs: Array, found: dict[str, Fit], start: int) -> None:
    """Every way to scale the exact sums."""
    try:
        acc = _alone(graph, operator, part, exact_sums)
        scaled = scaled_by(node_of(graph, operator))
    except NoKernel:
        return
    if acc.shape != theirs.shape:
        return
    for way, (count, at, value) in ways_of(acc, theirs, scaled).items():
        example = None
        if count:
            place = np.unravel_index(at, theirs.shape)
            example = Example(_element(place, start), theirs[place].item(), value, int(acc[place]))
        add(found, Fit(way, count, example))


def _by_real(graph: Graph, operator: Operator, part: Values, theirs: Array, found: dict[str, Fit], start: int) -> None:
    """The real function with every ending."""
    node = node_of(graph, operator)
    try:
        steps = _alone(graph, operator, part, real_steps)
        points = set(node.y.quant.zero_point) if node.y.quant else set()
    except NoKernel:
        return
    if steps.shape != theirs.shape or len(points) != 1:
        return
    distance = np.abs(2 * steps - np.rint(2 * steps)) / 2
    is_curve = bool(getattr(real_of(node), "curve", False))
    near = (distance < NEAR_TIE) if is_curve else (distance < NEAR_TIE) & (distance > AT_TIE)
    for ending in CURVE_ENDINGS if is_curve else all_endings():
        mine = ended(steps, node, ending)
        wrong = mine != theirs
        excused = wrong & near & (np.abs(mine.astype(np.int64) - theirs) <= 1)
        shown = np.where(excused, theirs, mine)
        _count(found, REAL + ending, shown, theirs, start)
        add(found, Fit(REAL + ending, unjudged=int(np.count_nonzero(excused))))


def _by_quotients(
    graph: Graph, operator: Operator, part: Values, theirs: Array, found: dict[str, Fit], start: int
) -> None:
    """Every way to quantize floats."""
    node = node_of(graph, operator)
    for how in QUOTIENTS:
        steps = _alone(graph, operator, part, partial(float_steps, how))
        if steps.shape == theirs.shape:
            for ending in (each + wraps for wraps in ("", WRAPS) for each in all_endings()):
                _count(found, how + ending, ended(steps, node, ending), theirs, start)


def _alone(graph: Graph, operator: Operator, part: Values, function: Callable[..., Array]) -> Array:
    """What a function of node and inputs gives in place of the op's kernel."""

    def kernel(node: Node, *inputs: Array | None, runtime: Runtime) -> Array:
        del runtime
        return function(node, *inputs)

    own = kernels().get(operator.op)
    stand_in = Kernel(kernel, own.batched if own else False, shared=False)
    (y,) = run_operator_on_each(graph, operator, part, (Runtime.REFERENCE,), stand_in)[Runtime.REFERENCE]
    return y


RELATIVE = 2.0**-13
"""More than any multiplier loses, as a share of the scaled sum."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """What the sums of an operator are multiplied by, what is added, and the bounds; ``ways`` is every way once."""

    scales: Mapping[str, Array]
    zero_point: int
    clamp: tuple[int, int]
    ways: tuple[Way, ...]


def scaled_by(node: Node) -> Scaled:
    """The same of one operator.

    Raises:
        NoKernel: its scales depend on more than the file says.
    """
    scales, zero_point = scales_of(node), zero_point_behind(node)
    ways = tuple(_distinct(scales, divides=node.operator.op == POOL, moved=zero_point != 0))
    return Scaled(scales, zero_point, clamp_behind(node), ways)


def ways_of(acc: Array, theirs: Array, scaled: Scaled) -> dict[str, tuple[int, int, int]]:
    """By way: elements that the device gives otherwise, the first of them in the flat array, and what the way gives.

    Shapes: acc and theirs alike.
    """
    sums, device = acc.reshape(-1), theirs.reshape(-1).astype(np.int64)
    wide = np.broadcast_to(scaled.scales["double"], acc.shape).reshape(-1)
    near = contested(sums, wide, scaled)
    places = np.flatnonzero(near)
    plain = {
        family: _agreed(sums * wide, family, scaled) for family in ("half", "floor", "truncate", "truncate" + AFTER)
    }
    wrong = {family: (y != device) & ~near for family, y in plain.items()}
    counts = {family: int(np.count_nonzero(each)) for family, each in wrong.items()}
    firsts = {family: int(np.argmax(each)) if counts[family] else device.size for family, each in wrong.items()}
    some, index = sums[places], {name: _chosen(scale, acc.shape, places) for name, scale in scaled.scales.items()}
    found = {}
    for way in scaled.ways:
        family = _family(way.ending)
        try:
            mine = scale_sums(some, index[way.scale], way, scaled.zero_point).clip(*scaled.clamp)
        except NoKernel:
            continue
        apart = mine != device[places]
        count = counts[family] + int(np.count_nonzero(apart))
        at, value = firsts[family], int(plain[family][firsts[family]]) if counts[family] else 0
        if apart.any() and places[k := int(np.argmax(apart))] < at:
            at, value = int(places[k]), int(mine[k])
        found[way.name] = (count, at, value)
    return found


def contested(sums: Array, scale: Array, scaled: Scaled) -> Array:
    """Whether ways may differ at these sums. Shapes: all (n,)."""
    t = sums * scale
    _, shift = quantize_multiplier(scaled.scales["double"])
    least = float(np.max(np.exp2(shift.astype(np.float64)), initial=0.0))
    reach = np.abs(t) * RELATIVE + least
    low, high = (bound - scaled.zero_point for bound in scaled.clamp)
    inside = (t > low - 2 - reach) & (t < high + 2 + reach)
    return np.asarray(inside & (np.abs(2 * t - np.rint(2 * t)) <= 2 * reach))


def _distinct(scales: Mapping[str, Array], *, divides: bool, moved: bool) -> Iterator[Way]:
    """Every way once: multipliers that are the same numbers, and endings that no zero point moves, count once."""
    seen = set()
    for multiplier in MULTIPLIERS:
        if multiplier == DIVISION and not divides:
            continue
        usual = usual_scale(multiplier)
        for scale in (usual, *(name for name in scales if name != usual and multiplier != DIVISION)):
            key = multiplier, _effective(multiplier, scales[scale])
            if key not in seen:
                seen.add(key)
                yield from (Way(multiplier, ending, scale) for ending in ENDINGS)
                if moved:
                    yield from (Way(multiplier, ending + AFTER, scale) for ending in SHIFTING)


def _effective(multiplier: str, scale: Array) -> bytes:
    """What a multiplier keeps of a scale."""
    if multiplier in ("float32", "float64"):
        return np.asarray(scale).astype(multiplier).tobytes()
    mantissa, shift = quantize_multiplier(scale)
    return mantissa.tobytes() + shift.tobytes()


def _chosen(scale: Array, shape: tuple[int, ...], places: Array) -> Array:
    return np.broadcast_to(scale, shape).reshape(-1)[places]


def _family(ending: str) -> str:
    return "half" if ending.startswith("half") else ending


def _agreed(t: Array, family: str, scaled: Scaled) -> Array:
    """What all ways of a family give where they agree."""
    z = scaled.zero_point
    if family == "half":
        y = np.floor(t + 0.5) + z
    elif family == "floor":
        y = np.floor(t) + z
    else:
        y = np.trunc(t + z) if family.endswith(AFTER) else np.trunc(t) + z
    return y.clip(*scaled.clamp).astype(np.int64)
