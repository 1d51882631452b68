"""The error to expect, in closed form: from scales, bias residues, roundings and the spread of the accumulators.

A bias that lies ``δ`` accumulator units from its place on the int32 grid moves every output by ``δ M`` steps, ``M``
the multiplier; so that share of the roundings falls on the other side, as far as outputs are not clamped. Two roundings
in place of one take what the first puts on a tie up (or away from zero), as if all were moved by half of ``2**-n``
steps, ``n`` the right shift. And an input that is a step off moves an output by ``w M`` steps. Flips are taken as rare;
those that one flip causes in a dense layer stay together behind it, elsewhere they count as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quantdiff.graph import Graph, Operator, real_values
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import axes_of, windows
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import kernel_of
from quantdiff.sim.node import ACTIVATION_RANGE, Node, NoKernel, clamp_of, node_of, scale_of, zero_point_of
from quantdiff.sim.ops.resampling import filter_of
from quantdiff.sim.real.functions import erf
from quantdiff.sim.rounding.exact_sums import channels_of
from quantdiff.sim.rounding.fixed_point import Rounding
from quantdiff.sim.runtime import Runtime

On = tuple[Switches, Rules]
SELDOM = 1e-9  # a share of elements too small to divide by
SAME_SHAPE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


SURE, NEGLIGIBLE, FAR = 1 - 1e-9, 1e-12, 30.0


LARGEST = 2**24
"""Numbers that the chains of one tensor may take; beyond that they count as flips of their own."""


def nothing(size: int) -> Array:
    """No chains over ``size`` elements."""
    return np.zeros((0, size))


@dataclass(frozen=True, slots=True)
class Flips:
    """How often an element comes out a step higher, and a step lower, than in the reference.

    ``up`` and ``down``, in the tensor's shape, are flips that come alone. ``rate`` (events,) are those of earlier
    flips, each of which makes several elements flip together: ``chain_up`` and ``chain_down`` (events, elements) say
    how likely where it happened.
    """

    up: Array
    down: Array
    rate: Array = field(default_factory=lambda: np.zeros(0))
    chain_up: Array | None = None
    chain_down: Array | None = None

    @property
    def chains(self) -> tuple[Array, Array]:
        """Up and down, (events, elements)."""
        none = nothing(self.up.size)
        return none if self.chain_up is None else self.chain_up, none if self.chain_down is None else self.chain_down

    @property
    def alone(self) -> Flips:
        """The same shares per element, with what flips together taken as independent."""
        up, down = (self.rate @ chain for chain in self.chains)
        return Flips(
            np.minimum(self.up + up.reshape(self.up.shape), 1), np.minimum(self.down + down.reshape(self.up.shape), 1)
        )

    @property
    def share(self) -> float:
        """Share of all elements that flip."""
        whole = self.alone
        return float(np.minimum(whole.up + whole.down, 1).mean())

    def reshaped(self, shape: tuple[int, ...]) -> Flips:
        """The same elements in another shape."""
        return Flips(self.up.reshape(shape), self.down.reshape(shape), self.rate, self.chain_up, self.chain_down)


def through_sums(given: Flips, own: tuple[Array, Array], jumps: Array, inside: Array) -> Flips:
    """Behind a dense layer: flips of its own, and each flip that arrives as one event that moves every unit at once.

    Shapes: own (units,) upwards and downwards, jumps (elements, units) in steps, inside (units,) the share of outputs
    that nothing clips.
    """
    up, down = given.up.ravel(), given.down.ravel()
    higher, lower = np.clip(jumps, 0, 1) * inside, np.clip(-jumps, 0, 1) * inside
    behind = moved_each(*given.chains, jumps)
    rate = np.concatenate([up, down, given.rate])
    chains = np.concatenate([higher, lower, behind[0] * inside]), np.concatenate([lower, higher, behind[1] * inside])
    likely = rate > 0
    found = Flips(own[0] * inside, own[1] * inside, rate[likely], chains[0][likely], chains[1][likely])
    return found if likely.sum() * inside.size <= LARGEST else found.alone


def moved(residue: Array, up: Array, down: Array, jumps: Array) -> tuple[Array, Array]:
    """Share of roundings that a shift carries over to the next step, upwards and downwards.

    ``E max(Δ, 0)`` and ``E max(-Δ, 0)`` of ``Δ = residue + Σ ± jump``, each tap flipping by itself. Shapes: residue
    (channels,), up and down (taps,), jumps (taps, channels) -> (channels,) each.
    """
    higher, lower = moved_each(up[None], down[None], jumps, residue)
    return higher[0], lower[0]


def moved_each(up: Array, down: Array, jumps: Array, residue: Array | float = 0.0) -> tuple[Array, Array]:
    """The same for several events. Shapes: up, down (events, taps) -> (events, channels) each.

    No flip and one flip are summed exactly; more of them count as normal with the mean and the spread that are left.
    """
    any_ = np.minimum(up + down, SURE)
    none = np.prod(1 - any_, axis=1, keepdims=True)
    rise, fall = (none * p / (1 - any_) for p in (up, down))  # this one, and no other
    shifts = residue + jumps, residue - jumps
    higher = none * np.maximum(residue, 0) + rise @ np.clip(shifts[0], 0, 1) + fall @ np.clip(shifts[1], 0, 1)
    lower = none * np.maximum(-residue, 0) + rise @ np.clip(-shifts[0], 0, 1) + fall @ np.clip(-shifts[1], 0, 1)
    more = np.maximum(1 - none - (rise + fall).sum(axis=1, keepdims=True), 0)
    scale = np.where(more > NEGLIGIBLE, more, 1)
    squares, mean = np.square(jumps), (up - down) @ jumps
    square = np.square(mean) + (up + down - np.square(up - down)) @ squares
    mean, square = (mean - (rise - fall) @ jumps) / scale, (square - (rise + fall) @ squares) / scale
    spread = np.sqrt(np.maximum(square - np.square(mean), 0))
    weight = np.where(more > NEGLIGIBLE, more, 0)
    higher = higher + weight * positive_part(residue + mean, spread)
    lower = lower + weight * positive_part(-residue - mean, spread)
    return np.minimum(higher, 1), np.minimum(lower, 1)


def positive_part(mean: Array, spread: Array) -> Array:
    """``E max(x, 0)`` of a normal distribution; shapes broadcast."""
    z = np.clip(mean / np.maximum(spread, NEGLIGIBLE), -FAR, FAR)
    density = spread * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return np.asarray(mean * 0.5 * (1 + erf(z / math.sqrt(2))) + density)


def expected_flips(switches: Switches, runtime: Rules, inside: Mapping[int, Array]) -> dict[int, Flips]:
    """Flips of every tensor, by index, up to the first operator on each path of which nothing is known.

    ``inside``: by tensor, per channel, the share of elements that are free to move (``free_share``).
    """
    graph = switches.file.graph
    flips = {i: Flips(np.zeros(shape := graph.tensors[i].shape), np.zeros(shape)) for i in graph.inputs}
    for operator in graph.operators:
        node, given = node_of(graph, operator), flips.get(next((i for i in operator.inputs if i in flips), -1))
        data = operator.inputs[:1] if operator.op in SAME_SHAPE else operator.inputs
        if given is None or any(_unknown(switches, i, flips) for i in data):
            continue
        shares = inside.get(operator.inputs[0], np.ones(())), inside.get(operator.outputs[0], np.ones(()))
        found = _of_operator((switches, runtime), node, [flips[i] for i in operator.inputs if i in flips], shares)
        if found is not None:
            flips[operator.outputs[0]] = found
    return flips


def free_share(graph: Graph, operator: Operator | None, tensor: int, histogram: Array) -> Array:
    """Share of elements, per channel, that lie inside what clips them and vary with the data.

    A value that stands out from those beside it is a constant, such as the background of an image: its accumulator
    has no spread, so a small shift seldom moves it. Shapes: histogram (channels, codes) -> (channels,).
    """
    low, high = INTEGER_RANGE[graph.tensors[tensor].dtype]
    clamp = (low, high) if operator is None else _clamp(graph, operator, (low, high))
    free = histogram.astype(np.float64)
    free[:, : clamp[0] - low + 1] = 0
    free[:, clamp[1] - low :] = 0
    beside = np.maximum(np.roll(free, 1, axis=1), np.roll(free, -1, axis=1))
    mode = np.argmax(free, axis=1)[:, None]
    excess = np.take_along_axis(free, mode, 1) - np.take_along_axis(beside, mode, 1)
    return np.asarray((free.sum(axis=1) - np.maximum(excess[:, 0], 0)) / histogram.sum(axis=1))


def _clamp(graph: Graph, operator: Operator, ends: tuple[int, int]) -> tuple[int, int]:
    """Where values end; what only chooses among values, or shapes them anew, hands on where they were clipped."""
    if operator.op in (*SAME_SHAPE, "MAX_POOL_2D"):
        makers = (each for each in graph.operators[: operator.index] if operator.inputs[0] in each.outputs)
        return next((_clamp(graph, maker, ends) for maker in makers), ends)
    if operator.options.get("fused_activation_function", "TANH") in ACTIVATION_RANGE:
        return clamp_of(node_of(graph, operator), Runtime.REFERENCE)
    return ends


def _unknown(switches: Switches, index: int, flips: Mapping[int, Flips]) -> bool:
    return index >= 0 and index not in flips and index not in switches.file.constants


def _of_operator(on: On, node: Node, given: list[Flips], shares: tuple[Array, Array]) -> Flips | None:
    """``shares``: of the first input's and the output's elements that are free to move."""
    op, shape, inside = node.operator.op, node.y.shape, shares[1]
    if op in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"):
        return _of_sums(on, node, given[0], inside)
    if op in SAME_SHAPE:
        return given[0].reshaped(shape) if math.prod(shape) == given[0].up.size else None  # a file may leave it open
    if op == "MAX_POOL_2D":
        return of_largest(node, given[0].alone, shares)
    if op in ("ADD", "QUANTIZE") and node.y.dtype in INTEGER_RANGE and node.x.dtype in INTEGER_RANGE:
        return _of_addends(node, [flips.alone for flips in given], inside)
    return None


def _of_sums(on: On, node: Node, given: Flips, inside: Array) -> Flips | None:
    """Bias residue, the runtime's second rounding, and the inputs' flips times the weights."""
    switches, rules = on
    try:
        runtime = rules if isinstance(rules, Runtime) else rules.runtime_of(node)
        channels = channels_of(node, kernel_of(node, runtime))
    except NoKernel:
        return None
    multiplier = np.array([channel.scale for channel in channels])
    residue = _residue(switches, node.operator, len(channels))
    late = np.array([_second_rounding(channel.rounding, channel.shift) for channel in channels])
    away = np.array([channel.rounding is Rounding.GEMMLOWP for channel in channels])
    below = 0.5 * away * (clamp_of(node, runtime)[0] < zero_point_of(node.y))  # share of negative outputs
    if node.operator.op == "FULLY_CONNECTED" and given.up.size == node.at(1).shape[-1]:
        shifts = residue + late, residue - late
        own = [(1 - below) * np.maximum(s * shifts[0], 0) + below * np.maximum(s * shifts[1], 0) for s in (1, -1)]
        jumps = _steps_per_weight(node).reshape(node.at(1).shape[-2:]).T * multiplier
        return through_sums(given, (own[0], own[1]), jumps, np.broadcast_to(inside, node.y.shape).ravel())
    rates, jumps = _jumps(node, given.alone, multiplier)
    positive, negative = moved(residue + late, *rates, jumps), moved(residue - late, *rates, jumps)
    both = [(1 - below) * p + below * n for p, n in zip(positive, negative, strict=True)]
    shape = np.broadcast_shapes(node.y.shape, inside.shape)
    return Flips(*(np.broadcast_to(p * inside, shape) for p in both))


def _residue(switches: Switches, operator: Operator, channels: int) -> Array:
    """Stored minus own bias in steps of the output."""
    place = traits(operator.op).bias
    bias = operator.inputs[place] if place is not None and place < len(operator.inputs) else -1
    match, graph = switches.matches.get(bias), switches.file.graph
    if match is None or match.value is None:
        return np.zeros(channels)
    step = float(scale_of(graph.tensors[operator.outputs[0]]))
    return np.asarray((switches.file.constants[bias] - match.value).reshape(-1) / step)


def _jumps(node: Node, given: Flips, multiplier: Array) -> tuple[tuple[Array, Array], Array]:
    """Rates of the inputs' flips, up and down, and what each does to each channel, in steps: (taps, channels)."""
    weights, kernel = _steps_per_weight(node), node.at(1).shape
    up, down = (p.reshape(-1, p.shape[-1]).mean(axis=0) for p in (given.up, given.down))
    if node.operator.op == "DEPTHWISE_CONV_2D":
        taps = kernel[1] * kernel[2]
        rates = np.full(taps, up.mean()), np.full(taps, down.mean())
        return rates, weights.reshape(taps, -1) * multiplier
    taps, depth = (1, kernel[-1]) if node.operator.op == "FULLY_CONNECTED" else (kernel[1] * kernel[2], kernel[3])
    rates = np.tile(up[:depth], taps), np.tile(down[:depth], taps)
    return rates, weights.reshape(-1, taps * depth).T * multiplier


def _steps_per_weight(node: Node) -> Array:
    """The stored weights as integers about their zero point, double."""
    kernel = node.at(1)
    return np.asarray(real_values(kernel) / np.broadcast_to(_kernel_scale(node), kernel.shape))


def _kernel_scale(node: Node) -> Array:
    kernel = node.at(1)
    assert kernel.quant is not None
    return np.asarray(kernel.quant.along(len(kernel.shape))[0], np.float64)


def _second_rounding(rounding: Rounding, shift: int) -> float:
    """Steps by which two roundings carry further than one: half a unit of the first."""
    return 0.5 * 2.0**shift if rounding in (Rounding.GEMMLOWP, Rounding.RUY) and shift < 0 else 0.0


def of_largest(node: Node, given: Flips, shares: tuple[Array, Array]) -> Flips:
    """Of each window the element that is chosen: seldom one that is clipped, unless all are.

    An element that is free to move flips as often after the choice as before; there are more of them.
    """
    _, height, width, channels = given.up.shape
    axes = axes_of(node, (1, height, width, channels), filter_of(node))
    chosen = [np.max(windows(np.ascontiguousarray(p), axes), axis=(3, 4)) for p in (given.up, given.down)]
    free = np.maximum(shares[0], SELDOM)
    return Flips(*(np.minimum(p / free, 1) * shares[1] for p in chosen))


def _of_addends(node: Node, given: list[Flips], inside: Array) -> Flips:
    """Each addend's flips on the output's grid."""
    tensors = [t for t in node.inputs if t is not None and not t.is_constant]
    jumps = np.array([[float(scale_of(t) / scale_of(node.y))] for t in tensors])
    means = [(float(np.mean(f.up)), float(np.mean(f.down))) for f in given]
    up, down = moved(np.zeros(1), np.array([m[0] for m in means]), np.array([m[1] for m in means]), jumps)
    return Flips(*(np.broadcast_to(p[0] * inside, node.y.shape) for p in (up, down)))
