"""From sums to outputs: the rule of each runtime, and several at once while a block of sums is in the cache.

A rule is computed by compiled loops or in NumPy, which give the same integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from quantdiff.graph import Operator, Tensor
from quantdiff.quant import Array
from quantdiff.sim.blocks import Block, Sums
from quantdiff.sim.node import Node, clamp_of, loops, zero_point_of
from quantdiff.sim.rounding.fixed_point import (
    ONE_HALF_Q31,
    Rounding,
    by_xnnpack,
    convolution_scale,
    defined_multiplier,
    quantize_multiplier,
    requantize,
)
from quantdiff.sim.runtime import Runtime

FINEST = -43
"""Power of two down to which a double holds a scaled sum, nine bits before the point, to half of its last bit."""
ERROR = 2.0**-42
"""More than a double of nine bits before the point is wrong by after a product and a sum, fused or not."""
INT32 = (-(2**31), 2**31 - 1)
LOOKED_AT = 64
"""Scales whose steps are looked at together: some megabytes."""
LANES = 16
"""Channels that the compiled loops round together."""
BYTES = ("int8", "uint8")
ROOM = 30
"""Bits of a sum that is shifted left: one more is its sign, another one is for the zero point."""
NEAR_ONE = 2**31 - 2**11
"""Mantissa up to which a sum of 32 bits leaves room for a zero point."""
Stage = Callable[[Block, Array, Array], None]
"""Rounds one block: (block, offset, where to write)."""


@dataclass(frozen=True, slots=True)
class Requantization:
    """How sums become the output of one runtime: scaled by a rule, then zero point and clamp.

    ``scale`` is per channel. The last ``tail`` channels round by GEMMLOWP: a vectorised loop leaves them over.
    """

    rounding: Rounding
    scale: tuple[float, ...]
    zero_point: int
    clamp: tuple[int, int]
    dtype: str
    tail: int = 0

    def stage(self, compiled: ModuleType | None) -> Stage:
        """The rounding of sums that are there, with all that does not depend on the block worked out."""
        if compiled is None or not self._fits_int32():
            return self._in_numpy
        shifts, output = _as_shifts(self.scale, self.rounding, self.tail), (self.zero_point, *self.clamp)
        return lambda block, offset, y: compiled.by_shifts(block, offset, shifts, output, y)

    def in_floats(self, compiled: ModuleType, reach: int) -> tuple[Array, Array, tuple[int, int, int, int]] | None:
        """The rule as ``finish.finish`` takes it, if it can: floats, doubles, and ends; channels in whole lanes.

        No sum is further than ``reach`` from 0.
        """
        if self.dtype not in BYTES:
            return None
        if self.rounding is Rounding.XNNPACK and not self.tail:
            return (*_in_singles(self.scale), (self.zero_point, *self.clamp, compiled.BY_FLOAT))
        exact = _in_doubles(self.scale, self.rounding, self.zero_point, self.tail, ROOM - reach.bit_length())
        return exact and (*exact, (self.zero_point, *self.clamp, compiled.BY_DOUBLE))

    def _fits_int32(self) -> bool:
        """True for the rules by shifts, as long as no scaled sum can leave an int32."""
        return self.rounding in (Rounding.GEMMLOWP, Rounding.RUY, Rounding.NEON) or (
            self.rounding is Rounding.SINGLE and not self.tail and max(self.scale, default=0.0) < 1
        )

    def _in_numpy(self, block: Block, offset: Array, y: Array) -> None:
        assert isinstance(block, np.ndarray)
        acc = block.astype(np.int32) + offset  # wraps as C++ does
        body, scale = len(self.scale) - self.tail, np.asarray(self.scale)
        for part, rounding in ((slice(0, body), self.rounding), (slice(body, None), Rounding.GEMMLOWP)):
            steps = requantize(acc[:, part], scale[part], rounding) + self.zero_point
            y[:, part] = steps.clip(*self.clamp)


@lru_cache(maxsize=512)
def _as_shifts(scale: tuple[float, ...], rounding: Rounding, tail: int) -> tuple[tuple[Array, ...], bool]:
    """The multiplier as ``loops.by_shifts`` takes it, and whether some sum is shifted left."""
    mantissa, shift = quantize_multiplier(np.asarray(scale))
    if rounding is Rounding.SINGLE:
        half = (np.int64(1) << (30 - shift)) - ONE_HALF_Q31
        return (mantissa, np.zeros_like(shift), half, 31 - shift, np.zeros_like(shift)), False
    if rounding is Rounding.NEON:
        left, right = np.maximum(shift + 1, 0), np.maximum(-shift, 1)
        half = (np.int64(1) << (30 + right)) - ONE_HALF_Q31
        return (mantissa, left, half, right + 31, np.zeros_like(shift)), bool(np.any(left))
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    by_g = (np.arange(shift.size) >= shift.size - tail) | (rounding is Rounding.GEMMLOWP)
    ties = np.where(by_g & (right > 0), -(np.int64(1) << 31), np.int64(0))
    half = ((np.int64(1) << right) >> 1) << 31
    return (mantissa, left, half, right + 31, ties), bool(np.any(left))


@lru_cache(maxsize=512)
def _in_singles(scale: tuple[float, ...]) -> tuple[Array, Array]:
    """The scales, and no doubles."""
    doubles = np.zeros((3, whole_lanes(len(scale))))
    floats = doubles.astype(np.float32)
    floats[0, : len(scale)] = scale
    return floats, doubles


def whole_lanes(channels: int) -> int:
    """How many channels the compiled loops take for these."""
    return -(-channels // LANES) * LANES


def in_lanes(values: Array) -> Array:
    """Filled up with 0. Shape: values (…, channels)."""
    filled = np.zeros((*values.shape[:-1], whole_lanes(values.shape[-1])), values.dtype)
    filled[..., : values.shape[-1]] = values
    return filled


@lru_cache(maxsize=512)
def _in_doubles(
    scale: tuple[float, ...], rounding: Rounding, zero_point: int, tail: int, left: int
) -> tuple[Array, Array] | None:
    """The rule in doubles, in floats for a first look, or None; kept, since samples come in parts.

    A scaled sum is a whole multiple of 2**fine. Half of that on top, and none of them is a tie. Where a double does not
    hold the last bits, it is looked whether they matter. Sums can be shifted left by so many bits that none of them
    wraps, nor leaves no room for a zero point.
    """
    if rounding not in (Rounding.GEMMLOWP, Rounding.RUY, Rounding.SINGLE, Rounding.NEON):
        return None
    mantissa, shift = quantize_multiplier(np.asarray(scale))
    enlarged = (shift > 0) | ((shift == 0) & (mantissa > (0 if rounding is Rounding.NEON else NEAR_ONE)))
    fine = shift - 31 + np.log2(np.maximum(mantissa & -mantissa, 1)).astype(np.int64)
    if np.any(enlarged & (shift > left)):
        return None
    by_g = (np.arange(shift.size) >= shift.size - tail) | (rounding is Rounding.GEMMLOWP)
    twice = (by_g | (rounding is Rounding.RUY)) & (shift < 0)
    first = np.ldexp(np.where(twice, 0.5, 0.0), shift)
    rest = zero_point + np.ldexp(0.5, fine.clip(FINEST, -1))  # 44 bits behind the point at most, and 8 before it
    doubles = np.stack(
        [np.ldexp(mantissa.astype(np.float64), shift - 31), rest + first, rest + np.where(by_g, -first, first)]
    )
    for which, by in ((~by_g, rounding), (by_g, Rounding.GEMMLOWP)):
        places = np.flatnonzero(which & (fine < FINEST))
        few = places[np.unique(np.asarray(scale)[places], return_index=True)[1]]  # one may stand for many
        for part in (few[start : start + LOOKED_AT] for start in range(0, few.size, LOOKED_AT)):
            if not _begins_every_step(doubles[:, part], np.asarray(scale)[part], by, zero_point):
                return None
    return in_lanes(doubles).astype(np.float32), in_lanes(doubles)


def _begins_every_step(doubles: Array, scale: Array, rounding: Rounding, zero_point: int) -> bool:
    """Whether each step of an output begins at the same sum: both ways are monotone, so that all else follows.

    Looks at five sums around where it should, whose doubles must not lie so near to a half that their error matters.
    """
    (multiplier, above, below), q = doubles, np.arange(-128, 256)[:, None]
    nearest = np.rint((q - 0.5 - np.where(q > zero_point, above, below)) / multiplier)
    acc = (nearest + np.arange(-2, 3)[:, None, None]).clip(*INT32).astype(np.int64)
    real = acc * multiplier + np.where(acc < 0, below, above)
    steps = requantize(acc, scale, rounding) + zero_point
    ends = (steps[0] < q) | (acc[0] == INT32[0]), (steps[-1] >= q) | (acc[-1] == INT32[1])
    safe = np.abs(real - np.floor(real) - 0.5) > ERROR
    return bool(np.all(ends) and np.all(safe) and np.array_equal(np.rint(real), steps))


def requantization(
    node: Node, runtime: Runtime, rounding: Rounding, scale: ArrayLike, *, channels: int
) -> Requantization:
    """The rule with zero point, clamp and type of the node's output.

    Raises:
        NoKernel: a multiplier is one that C does not define.
    """
    per_channel = tuple(np.broadcast_to(scale, (channels,)).tolist())
    if rounding not in (Rounding.XNNPACK, Rounding.DOUBLE):
        _check_defined(per_channel)
    return Requantization(rounding, per_channel, zero_point_of(node.y), clamp_of(node, runtime), node.y.dtype)


@lru_cache(maxsize=512)
def _check_defined(scale: tuple[float, ...]) -> None:
    defined_multiplier(scale)


def convolution_rules(
    node: Node, roundings: Mapping[Runtime, Rounding], channels: int, tail: int = 0
) -> tuple[Requantization, ...]:
    """The rule of each runtime; scale and clamp are XNNPACK's or those of all others.

    ``tail`` channels are left over where rule R works on vectors.
    """
    made: dict[bool, Requantization] = {}
    for runtime, rounding in roundings.items():
        if by_xnnpack(runtime) not in made:
            tensors = node.x, replace(node.at(1), data=None, block_scales=None), node.y
            made[by_xnnpack(runtime)] = _convolution_rule(*tensors, node.activation, runtime, rounding, channels)
    return tuple(
        replace(made[by_xnnpack(runtime)], rounding=rounding, tail=tail if rounding is Rounding.RUY else 0)
        for runtime, rounding in roundings.items()
    )


@lru_cache(maxsize=512)
def _convolution_rule(  # noqa: PLR0913, PLR0917 (all that it depends on, and no weights)
    x: Tensor, w: Tensor, y: Tensor, activation: str, runtime: Runtime, rounding: Rounding, channels: int
) -> Requantization:
    """The rule of one runtime; kept, since samples come in parts."""
    node = Node(Operator(0, "", (0, 1), (0,), options={"fused_activation_function": activation}), (x, w), (y,))
    return requantization(node, runtime, rounding, convolution_scale(node, runtime), channels=channels)


@dataclass(frozen=True, slots=True)
class Rounded:
    """The outputs of several runtimes whose sums are the same, to be asked for once.

    ``rules`` is one per runtime; ``shape`` that of each output.
    """

    sums: Sums
    rules: tuple[Requantization, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Compiled loops do not look."""
        if any(len(rule.scale) != self.sums.offset.size for rule in self.rules):
            raise ValueError(f"{self.sums.offset.size} biases for {len(self.rules[0].scale)} channels")

    def whole(self) -> tuple[Array, ...]:
        """An output per rule; equal rules share one array."""
        distinct, which = self._distinct()
        outputs = [self._empty(rule, self.sums.rows) for rule in distinct]
        self._round(distinct, outputs)
        return tuple(outputs[i].reshape(self.shape) for i in which)

    def first_and_differing(self) -> tuple[Array, tuple[int, ...]]:
        """The first output, and how many elements each gives otherwise: the others exist a block at a time."""
        distinct, which = self._distinct()
        first = self._empty(distinct[0], self.sums.rows)
        counts = self._round(distinct, [first])
        return first.reshape(self.shape), tuple(counts[i] for i in which)

    def _round(self, rules: Sequence[Requantization], outputs: Sequence[Array]) -> list[int]:
        """Write the outputs of the first rules; how many elements each of the others gives otherwise than the first."""
        compiled = self._compiled()
        given = [rule.in_floats(compiled, self.sums.reach) for rule in rules] if compiled else []
        told = [each for each in given if each is not None]
        if compiled is None or len(told) < len(rules):
            return self._round_blocks(rules, outputs)
        floats, doubles, ends = (np.asarray(each) for each in zip(*told, strict=True))
        parameters, row = (in_lanes(self.sums.offset), floats, doubles, ends), 0
        counts, places = np.zeros(len(rules), np.int64), np.zeros(len(rules), np.int64)
        for block in self.sums.blocks:
            rows = self._rows_of(block)
            places[: len(outputs)] = [y[row : row + rows].ctypes.data for y in outputs]
            compiled.round_block(block, (parameters, (places, counts)), self.sums.offset.size, rows)
            row += rows
        return [int(count) for count in counts]

    def _rows_of(self, block: Block) -> int:
        if not isinstance(block, np.ndarray):
            return self.sums.rows
        if block.shape[1] != self.sums.offset.size:
            raise ValueError(f"{self.sums.offset.size} biases for {block.shape[1]} channels")
        return len(block)

    def _round_blocks(self, rules: Sequence[Requantization], outputs: Sequence[Array]) -> list[int]:
        """The same by sums that are there, block by block."""
        stages, counts, row = [rule.stage(self._compiled()) for rule in rules], [0] * len(rules), 0
        for block in self._held():
            ys = [y[row : row + len(block)] for y in outputs]
            ys += [self._empty(rule, len(block)) for rule in rules[len(outputs) :]]
            for i, (stage, y) in enumerate(zip(stages, ys, strict=True)):
                stage(block, self.sums.offset, y)
                counts[i] += int(np.count_nonzero(ys[0] != y)) if i >= len(outputs) else 0
            row += len(block)
        return counts

    def _distinct(self) -> tuple[list[Requantization], list[int]]:
        """Each rule once, and which of them each runtime has."""
        distinct: list[Requantization] = []  # compared, since scales are often one object and long to hash
        for rule in self.rules:
            if rule not in distinct:
                distinct.append(rule)
        return distinct, [distinct.index(rule) for rule in self.rules]

    def _compiled(self) -> ModuleType | None:
        return loops(self.sums.rows * self.sums.offset.size)

    def _empty(self, rule: Requantization, rows: int) -> Array:
        return np.empty((rows, self.sums.offset.size), rule.dtype)

    def _held(self) -> Iterator[Array]:
        """The blocks as arrays."""
        for block in self.sums.blocks:
            rows = self._rows_of(block)
            if isinstance(block, np.ndarray):
                yield block
            else:
                compiled = self._compiled()
                assert compiled is not None  # who else made the block
                yield sums_of(compiled, block, rows, self.sums.offset.size)


def sums_of(compiled: ModuleType, block: Block, rows: int, channels: int) -> Array:
    """The sums of a block, (rows, channels) of int32."""
    sums = np.empty((rows, channels), np.int32)
    nothing, raw = np.zeros((1, 4, whole_lanes(channels))), np.asarray([[0, 0, 0, compiled.RAW]])
    rules = nothing[0, 0].astype(np.int32), nothing[:, :3].astype(np.float32), nothing[:, :3].copy(), raw
    outputs = np.asarray([sums.ctypes.data]), np.zeros(1, np.int64)
    compiled.round_block(block, (rules, outputs), channels, rows)
    return sums
