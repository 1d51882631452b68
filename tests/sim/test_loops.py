"""The compiled loops and the NumPy text give the same integers, whatever the multiplier."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, run_simulator
from numpy.typing import DTypeLike
from written_models import Op, T

from quantdiff.ladder.real_graph import Grid
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim import element_loops, loops, machine_code, node
from quantdiff.sim.accumulate import Axis, axis_of, exact_parts, gemm, pad_image, product_dtype, seen_zero, windows
from quantdiff.sim.blocks import Sums, width_of
from quantdiff.sim.machine_code import features
from quantdiff.sim.ops.depthwise_conv_2d import below, block_of, packed_channels
from quantdiff.sim.real.sums import finished
from quantdiff.sim.rounding.fixed_point import Rounding
from quantdiff.sim.rounding.rounded import LOOKED_AT, NEAR_ONE, Requantization, Rounded, sums_of
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.tables.table import look_up

RULES = (Rounding.GEMMLOWP, Rounding.RUY, Rounding.SINGLE, Rounding.XNNPACK, Rounding.DOUBLE)
OTHER = {Rounding.RUY: Rounding.GEMMLOWP, Rounding.GEMMLOWP: Rounding.RUY}
INT32 = np.iinfo(np.int32)
MOST_BELOW_HALF = (2**31 - 1) / 2**32
"""The scale of the largest mantissa whose right shift is still 1: an int32 scaled by it leaves no room for anything."""


def near_ties(scale: Array, rng: np.random.Generator) -> Array:
    """Sums, (rows, channels), that times ``scale`` are a half or the integers beside it, and both ends of int32."""
    halves = rng.integers(-300, 300, (400, scale.size)) + 0.5
    nearest = np.rint(halves / scale) + rng.integers(-1, 2, halves.shape)
    ends = np.asarray([[INT32.min], [INT32.max], [0], [-1], [1], [2**24 + 1]]) * np.ones(scale.size)
    return np.concatenate([nearest, ends]).clip(INT32.min, INT32.max).astype(np.int32)


def both_ways(rule: Requantization, block: Array, offset: Array, reach: int = 2**31) -> tuple[Array, Array]:
    results = list[Array]()
    for module in (loops, None):
        with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
            patch.setattr("quantdiff.sim.rounding.rounded.loops", lambda elements, chosen=module: chosen)
            results += Rounded(Sums(len(block), offset, [block], reach), (rule,), block.shape).whole()
    return results[0], results[1]


@pytest.mark.parametrize("rounding", RULES)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_near_ties_saturation_and_large_multipliers(rounding: Rounding, dtype: str) -> None:
    rng, (low, high) = np.random.default_rng(0), (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for turn in range(8):
        tail, most = turn % 4, 1.5 if turn % 2 else -1.5  # scales up to 4, or all below a half
        powers, others = 2.0 ** rng.integers(-20, int(most) + 2, 9), np.exp(rng.uniform(-14, most, 12))
        far = [MOST_BELOW_HALF] * 6 + [2.0**-21] if turn % 4 else [np.nextafter(0.25, 0), 2.0**-22, 2.0**-31]
        ends = [1.0, 0.5, 2.0**-40] if most > 0 else far
        scale = np.concatenate([powers[powers < np.exp(most)], others, ends])
        if rounding is Rounding.SINGLE and turn % 4 == 1:
            tail, scale = 0, scale[scale < 1]  # compiled only where no sum can leave an int32
        if turn % 4 == 0:  # all in doubles
            edges = [MOST_BELOW_HALF, 2.0**-13, np.nextafter(2.0**-12, 0), np.nextafter(0.25, 0)]
            most_scale = 0.5 if rounding is Rounding.SINGLE and turn % 8 else NEAR_ONE / 2**31
            scale = np.concatenate([scale[(scale <= most_scale) & (scale >= 2.0**-13)], edges, [most_scale - 2.0**-31]])
        block = near_ties(scale, rng)
        offset = rng.integers(-3, 4, scale.size).astype(np.int32)
        zero_point = int(rng.integers(low, high + 1))
        clamp = (zero_point, high) if turn in {0, 2} else (low, high)
        rule = Requantization(rounding, tuple(scale.tolist()), zero_point, clamp, dtype, tail)
        np.testing.assert_array_equal(*both_ways(rule, block, offset))
        exact = np.abs(block).max(axis=1) < 2**24
        np.testing.assert_array_equal(*both_ways(rule, block[exact].astype(np.float32), offset))


@pytest.mark.parametrize("rounding", [Rounding.GEMMLOWP, Rounding.RUY, Rounding.SINGLE, Rounding.NEON])
def test_small_scales_and_large_ones_in_doubles(rounding: Rounding) -> None:
    """Whose last bits a double does not hold; whose sums are shifted left, but none so far that it wraps."""
    rng, reach = np.random.default_rng(2), 2**20 - 1
    small, large = np.exp(rng.uniform(-20, -8, 30)), np.exp(rng.uniform(-0.6, 6.9, 30))
    scale = np.concatenate([small, [2.0**-40, 1.0], large])
    for turn, (zero_point, clamp) in enumerate(((0, (-128, 127)), (-128, (-128, 90)), (127, (3, 127)))):
        tail = 0 if rounding is Rounding.NEON else turn
        rule = Requantization(rounding, tuple(scale.tolist()), zero_point, clamp, "int8", tail)
        assert rule.in_floats(loops, reach) is not None
        assert rule.in_floats(loops, 2 * reach + 1) is None
        spread, offset = near_ties(scale, rng), rng.integers(-3, 4, scale.size).astype(np.int32)
        for most, some in ((INT32.max, scale < 0.01), (reach - 3, scale > 0)):
            part = replace(rule, scale=tuple(scale[some].tolist()))
            block = spread[:, some].clip(-most, most)
            np.testing.assert_array_equal(*both_ways(part, block, offset[some], min(most + 3, 2**31)))


def test_one_small_scale_of_many_columns_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """ADD has as many columns as a tensor has elements, at times: sums around each step of each take all memory."""
    looked = list[int]()

    def counted(doubles: Array, *_: Any) -> bool:
        looked.append(doubles.shape[1])
        return True

    monkeypatch.setattr("quantdiff.sim.rounding.rounded._begins_every_step", counted)
    scales = (1.1e-5,) * 5000 + tuple(np.geomspace(1e-6, 1e-5, 200).tolist())
    many = Requantization(Rounding.RUY, scales, 0, (0, 9), "int8")
    assert many.in_floats(loops, 2**20) is not None
    assert 150 < sum(looked) <= 201  # not those whose mantissa ends in zeros
    assert max(looked) <= LOOKED_AT


def test_small_scales_whose_last_bits_matter_are_not_told_in_doubles() -> None:
    """2**-31 times 2**30 is a tie, but not with a mantissa that is one bit more."""
    mantissa, half = 2**30 + 1, 2**30 - 1  # a half but for 2**-61
    assert half * mantissa < 2**60 < (half + 1) * mantissa
    rule = Requantization(Rounding.SINGLE, (mantissa * 2.0**-61,), 0, (-128, 127), "int8")
    assert rule.in_floats(loops, 2**31) is None


@pytest.mark.parametrize("cuts", [(), (100, 101)])
@pytest.mark.parametrize("rounding", [Rounding.RUY, Rounding.GEMMLOWP])
@pytest.mark.parametrize("largest", [0.2, MOST_BELOW_HALF, 4.0])
def test_several_rules_on_one_block(
    rounding: Rounding, largest: float, cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted is what differs."""
    rng = np.random.default_rng(1)
    powers, others = 2.0 ** rng.integers(-13, -2, 40), np.exp(rng.uniform(-9, min(np.log(largest), -0.7), 40))
    scale = np.concatenate([powers, others, [largest] * 6])
    block, offset = near_ties(scale, rng), rng.integers(-3, 4, scale.size).astype(np.int32)
    first = Requantization(rounding, tuple(scale.tolist()), 3, (-100, 90), "int8")
    rules = first, replace(first, rounding=Rounding.XNNPACK), replace(first, rounding=OTHER[rounding]), first
    results = []

    def in_blocks() -> Rounded:
        return Rounded(Sums(len(block), offset, np.split(block, cuts)), rules, block.shape)

    for module in (loops, None):
        monkeypatch.setattr("quantdiff.sim.rounding.rounded.loops", lambda elements, chosen=module: chosen)
        whole = in_blocks().whole()
        alone, counts = in_blocks().first_and_differing()
        np.testing.assert_array_equal(alone, whole[0])
        assert counts == tuple(np.count_nonzero(whole[0] != y) for y in whole)
        assert counts[0] == counts[3] == 0
        assert counts[1] > 100
        assert counts[2] > 100
        results.append(whole)
    for fast, slow in zip(*results, strict=True):
        np.testing.assert_array_equal(fast, slow)


@pytest.mark.parametrize("depthwise", [False, True])
def test_what_differs_in_tiles_that_do_not_fill_up(depthwise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each element is counted once, whatever a tile holds more than once; of the last lanes 8, 4, 2 and 1 are there."""
    monkeypatch.setattr("quantdiff.sim.accumulate.loops", lambda elements: loops)
    rng, axes = np.random.default_rng(6), (axis_of(7, 3, 1, 1, "SAME"), axis_of(5, 3, 1, 1, "SAME"))
    x, shape = rng.integers(-128, 128, (2, 7, 5, 31)).astype(np.int8), (2, 7, 5, 31)
    first = Requantization(Rounding.RUY, tuple(np.exp(rng.uniform(-9, -7, 31)).tolist()), 3, (-100, 90), "int8")
    rules = first, replace(first, rounding=Rounding.XNNPACK, zero_point=4), replace(first, rounding=Rounding.GEMMLOWP)

    def sums() -> Sums:
        if not depthwise:
            return gemm(x, w, axes, (5, 0), None)
        kind = loops.packed_type(np.int8, 0) or np.int16
        packed, _ = packed_channels(w[None], kind, 0, below(loops, kind, axes[0]))
        return Sums(70, np.zeros(31, np.int32), [block_of(loops, x, 5, packed, axes)])

    w = rng.integers(-127, 128, (3, 3, 31) if depthwise else (31, 3, 3, 31)).astype(np.int8)
    whole = Rounded(sums(), rules, shape).whole()
    alone, counts = Rounded(sums(), rules, shape).first_and_differing()
    np.testing.assert_array_equal(alone, whole[0])
    assert counts == tuple(np.count_nonzero(whole[0] != y) for y in whole)
    np.testing.assert_array_equal(Rounded(sums(), (first,), shape).whole()[0], alone)
    truth, (block,) = np.empty((70, 31), np.int8), sums().blocks
    first.stage(None)(sums_of(loops, block, 70, 31), sums().offset, truth)
    np.testing.assert_array_equal(truth, alone.reshape(truth.shape))


Rows = Sequence[tuple[Any, int]]


def every_pair(dtype: str, op: str, scale: float) -> tuple[bytes, Array, Array]:
    """A file with one operator, and every pair of 8-bit operands: one broadcast, the other another one in each row."""
    tensors = [
        T("a", (1, 256, 1), dtype, 0.25, 5),
        T("b", (1, 256, 256), dtype, 0.3, 100),
        T("y", (1, 256, 256), dtype, scale, 7),
    ]
    q = np.arange(256).astype(np.uint8).view(dtype)
    a, b = q.reshape(1, 256, 1), np.stack([np.roll(q, i) for i in range(256)])[None]
    return Case(tensors, [Op(op, ["a", "b"], ["y"])], {"a": a, "b": b}).write(), a, b


def in_rows(
    monkeypatch: pytest.MonkeyPatch, pairs: tuple[bytes, Array, Array], name: str, runtime: Runtime, rows: Rows
) -> Array:
    """What a runtime gives by the module and in the rows of each way, all alike."""
    model, *operands = pairs
    results = list[Array]()
    for module, row in rows:
        monkeypatch.setattr(f"quantdiff.sim.ops.{name}.loops", lambda elements, chosen=module: chosen)
        monkeypatch.setattr("quantdiff.sim.blocks.ROW", row)
        graph, simulation = run_simulator(model, operands, runtime)
        results.append(simulation.values[graph.outputs[0]][0])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    return results[0]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_operands_by_table(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, a, b = every_pair(dtype, "SUB", 0.4)
    real = 0.25 * (a.astype(float) - 5) - 0.3 * (b.astype(float) - 100)
    nearest = np.clip(np.round(real / 0.4) + 7, np.iinfo(dtype).min, np.iinfo(dtype).max)
    for runtime in (Runtime.XNNPACK, Runtime.REFERENCE):
        ways = ((loops, 1000), (None, 1000), (loops, 2**16))
        given = in_rows(monkeypatch, (model, a, b), "add", runtime, ways)
        assert np.abs(given - nearest).max() <= 1


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_operands_multiplied(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, a, b = every_pair(dtype, "MUL", 4.0)
    exact = 0.25 * (a.astype(float) - 5) * 0.3 * (b.astype(float) - 100) / 4 + 7
    nearest = np.clip(np.round(exact), np.iinfo(dtype).min, np.iinfo(dtype).max)
    for runtime in RUNTIMES:
        ways = ((loops, 960), (loops, 7), (None, 960))
        given = in_rows(monkeypatch, (model, a, b), "arithmetic", runtime, ways)
        assert np.abs(given.astype(int) - nearest).max() <= 1


@pytest.mark.parametrize("made", [np.int8, np.int16])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_bytes_by_a_table(dtype: str, made: type[np.int8] | type[np.int16], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a byte each 64 at once where the processor can, and what is left over."""
    rng, low = np.random.default_rng(5), np.iinfo(dtype).min
    x = np.append(np.arange(256), rng.integers(0, 256, 44)).astype(np.uint8).view(dtype).reshape(3, 100)
    table = rng.permutation(256).astype(np.uint8).view(np.int8) if made is np.int8 else np.arange(256).astype(made) * 3
    for module in (loops, None):
        monkeypatch.setattr("quantdiff.sim.tables.table.loops", lambda elements, chosen=module: chosen)
        assert look_up(x, table).tolist() == [[table[q - low].item() for q in row] for row in x.tolist()]
        assert look_up(x.T, table).tolist() == look_up(x, table).T.tolist()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_softmax_by_exponentials(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, rows of any length, of which the largest is the first or the last, and equal ones."""
    rng, (low, high) = np.random.default_rng(8), INTEGER_RANGE[dtype]
    for turn, (size, scale) in enumerate(((1, 0.1), (16, 0.02), (16, 0.3), (129, 0.07))):
        x = rng.integers(low, high + 1, (1, 200, size)).astype(dtype)
        x[0, 0], x[0, 1], x[0, 2, 0] = low, high, high
        tensors = [T("x", x.shape, dtype, scale, 5), T("y", x.shape, dtype, 1 / 256 if turn % 2 else 0.003, low)]
        model = Case(tensors, [Op("SOFTMAX", ["x"], ["y"], {"beta": 1.0})], {"x": x}).write()
        given = list[Array]()
        for worth in (0, 2**40):
            monkeypatch.setattr("quantdiff.sim.ops.softmax.WORTH", worth)
            graph, simulation = run_simulator(model, [x], Runtime.XNNPACK)
            given.append(simulation.values[graph.outputs[0]])
        np.testing.assert_array_equal(given[0], given[1])
        assert given[0].std() > 0 or size == 1


def test_rows_divide_what_they_hold() -> None:
    assert [width_of(size) for size in (0, 1, 17, 960, 961, 16_800, 75_264)] == [64, 1, 17, 64, 1, 32, 64]


def test_the_sum_wraps_as_int32() -> None:
    rule = Requantization(Rounding.RUY, (2.0**-24,), 0, (-128, 127), "int8")
    block, offset = np.asarray([[INT32.max]], np.int32), np.asarray([1], np.int32)
    fast, slow = both_ways(rule, block, offset)
    assert fast.tolist() == slow.tolist() == [[-128]]


def test_ties_by_hand() -> None:
    block, offset = np.asarray([[-6, -6], [6, 6], [-2, -2]], np.int32), np.zeros(2, np.int32)
    rule = Requantization(Rounding.RUY, (0.25, 0.25), 0, (-128, 127), "int8", tail=1)
    for y in both_ways(rule, block, offset):  # −1.5 up, and in the tail away from zero
        assert y.tolist() == [[-1, -2], [2, 2], [0, -1]]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_whole_convolutions_both_ways(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from weighted_ops import image

    def simulated(case: Case, with_loops: bool) -> list[Array]:
        chosen: Callable[[int], object] = lambda elements: loops if with_loops else None  # noqa: E731
        monkeypatch.setattr("quantdiff.sim.rounding.rounded.loops", chosen)
        monkeypatch.setattr("quantdiff.sim.ops.depthwise_conv_2d.loops", chosen)
        monkeypatch.setattr("quantdiff.sim.accumulate.loops", chosen)
        feeds = list(case.feeds.values())
        results = (run_simulator(case.write(), feeds, runtime) for runtime in RUNTIMES)
        return [simulation.values[graph.outputs[0]] for graph, simulation in results]

    dice = Dice()
    for turn in range(120):
        block = 2**18 if turn % 3 else 200  # a few lines at once, or a few images
        monkeypatch.setattr("quantdiff.sim.accumulate.BLOCK", block)
        case = image(dice, depthwise=turn % 2 == 0, dtype=dtype)
        for fast, slow in zip(simulated(case, True), simulated(case, False), strict=True):
            np.testing.assert_array_equal(fast, slow)


def skip_unless_multiplied(kind: type[np.int8] | type[np.int16]) -> None:
    """Some processors do not multiply bytes."""
    if kind is np.int8 and "int8" not in MULTIPLIED:
        pytest.skip("no product of bytes")


def channel_sums(x: Array, w: Array, zero_point: int, kind: DTypeLike, axes: tuple[Axis, Axis]) -> Array:
    """Of a depthwise convolution, (positions, channels)."""
    packed, _ = packed_channels(w[None], kind, 0, below(loops, kind, axes[0]))
    block = block_of(loops, x, zero_point, packed, axes)
    return sums_of(loops, block, len(x) * axes[0].out * axes[1].out, x.shape[3])


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_strides_and_dilations_that_differ_by_axis(kind: type[np.int8] | type[np.int16]) -> None:
    """Down and across each have their own; five taps are filled up to six, or eight."""
    skip_unless_multiplied(kind)
    rng, axes = np.random.default_rng(2), (axis_of(9, 5, 1, 2, "SAME"), axis_of(11, 1, 3, 1, "VALID"))
    x, w = rng.integers(-128, 128, (3, 9, 11, 4)).astype(np.int8), rng.integers(-127, 128, (5, 1, 4)).astype(np.int16)
    found = channel_sums(x, w, 9, kind, axes)
    columns = windows(pad_image(x.astype(np.int64), axes, 9), axes) + seen_zero(0, x.dtype)
    np.testing.assert_array_equal(found.reshape(3, 9, 4, 4), np.einsum("nhwijc,ijc->nhwc", columns, w))


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize("tap", [-128, -127, 127])
def test_depthwise_sums_at_the_ends_of_int8(tap: int, kind: type[np.int8] | type[np.int16]) -> None:
    skip_unless_multiplied(kind)
    axes = (axis_of(4, 3, 1, 1, "VALID"), axis_of(4, 3, 1, 1, "VALID"))
    w = np.full((3, 3, 40), tap, np.int16)
    for stored in (-128, 127):
        x = np.full((1, 4, 4, 40), stored, np.int8)
        found = channel_sums(x, w, 0, kind, axes)
        assert found.tolist() == [[9 * seen_zero(stored, np.int8) * tap] * 40] * 4


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_depthwise_tiles_that_do_not_fill_up(dtype: str, kind: type[np.int8] | type[np.int16]) -> None:
    """One line or two by the same words; images that fit into one part of the work, or do not."""
    skip_unless_multiplied(kind)
    rng, ends = np.random.default_rng(4), np.iinfo(dtype)
    for turn in range(40):
        channels, size = rng.choice([1, 3, 8, 9, 16, 24, 33, 40]), 70 if turn % 10 == 9 else 3 + turn % 6
        taps, stride, dilation = 1 + turn % 5, 1 + turn % 2, 1 + turn % 7 // 6
        axes = axis_of(size, taps, stride, dilation, "SAME"), axis_of(size, 1 + turn % 4, 1 + turn % 3, 1, "SAME")
        x = rng.choice([ends.min, 0, 5, ends.max], (2, size, size, channels)).astype(dtype)
        largest = 127 if kind is np.int8 else 255
        w = rng.choice([-largest, 3, largest], (taps, 1 + turn % 4, channels)).astype(np.int16)
        columns = windows(pad_image(x, axes, 5), axes).astype(np.int64) + seen_zero(0, np.dtype(dtype))
        truth = np.einsum("nhwijc,ijc->nhwc", columns, w)
        found = channel_sums(x, w, 5, kind, axes)
        np.testing.assert_array_equal(found, truth.reshape(-1, channels))


def in_rows_of(count: int) -> tuple[Axis, Axis]:
    """Pixels below each other."""
    return axis_of(count, 1, 1, 1, "VALID"), axis_of(1, 1, 1, 1, "VALID")


def sums_by(multiply: str | None, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Array:
    """What ``gemm`` gives, int32, by BLAS or by tiles of weights of one type."""
    monkeypatch.setattr("quantdiff.sim.accumulate.loops", lambda elements: loops if multiply else None)
    monkeypatch.setattr(loops, "packed_type", lambda *_: np.dtype(multiply).type)
    sums = gemm(*arguments)
    shape = sums.rows, sums.offset.size
    blocks = [np.array(each) if isinstance(each, np.ndarray) else sums_of(loops, each, *shape) for each in sums.blocks]
    block = np.concatenate(blocks)
    return np.asarray(block.astype(np.int64) + sums.offset).astype(np.int32)


MULTIPLIED = [None, *(kind for kind, name in (("int8", "avx512vnni"), ("int16", "avx2")) if name in features())]
"""By BLAS, and by each instruction that this processor has."""


@pytest.mark.parametrize("multiply", MULTIPLIED)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_tiles_that_do_not_fill_up(multiply: str | None, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One to many rows, columns and words, windows with gaps and without."""
    rng, ends = np.random.default_rng(3), np.iinfo(dtype)
    if (multiply, dtype) == ("int8", "uint8"):
        pytest.skip("weights of uint8 leave int8")
    for turn in range(40):
        channels, out = rng.choice([1, 3, 4, 8, 17]), rng.choice([1, 15, 16, 33, 47, 64, 65, 130])
        taps, stride, dilation, size = (
            1 + turn % 3,
            1 + turn % 2,
            1 + turn % 5 // 4,
            60 if turn in {5, 6} else 2 + turn % 7,
        )
        axis = axis_of(size, taps, stride, dilation, "SAME")
        axes = axis, axis
        x = rng.choice([ends.min, ends.min + 1, 0, 5, ends.max], (3, size, size, channels)).astype(dtype)
        w = rng.choice([ends.min, 3, ends.max], (1, out, taps * taps * channels)).astype(dtype)
        points = ends.max if turn % 2 else 7, 0 if multiply == "int8" else 2
        columns = windows(pad_image(x, axes, points[0]), axes)
        bias = rng.integers(-(2**31), 2**31, out).astype(np.int32)
        truth = (columns.reshape(-1, w.shape[2]).astype(np.int64) - points[0]) @ (w[0].T.astype(np.int64) - points[1])
        found = sums_by(multiply, monkeypatch, x, w[0], axes, points, bias)
        np.testing.assert_array_equal(found, (truth + bias).astype(np.int32))


@pytest.mark.parametrize("rounding", [Rounding.GEMMLOWP, Rounding.RUY, Rounding.SINGLE, Rounding.XNNPACK])
def test_every_sum_in_tiles(rounding: Rounding, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of these sums, times one of 64 scales, are nearer to a half than floats can tell."""
    monkeypatch.setattr("quantdiff.sim.accumulate.loops", lambda elements: loops)
    rng, channels, q = np.random.default_rng(5), 64, np.arange(-128, 128)
    x = np.stack(np.meshgrid(q, q[1:], indexing="ij"), axis=-1).astype(np.int8).reshape(1, -1, 1, 2)
    w = np.full((channels, 2), (1, 127), np.int8)
    scale = np.append(2.0 ** rng.integers(-8, -5, 8), np.exp(rng.uniform(-5, -3, channels - 8)))
    rule = Requantization(rounding, tuple(scale.tolist()), 7, (-128, 127), "int8")
    bias = rng.integers(-99, 100, channels).astype(np.int32)
    sums = gemm(x, w, in_rows_of(x.shape[1]), (0, 0), bias)
    (found,) = Rounded(sums, (rule,), (x.shape[1], channels)).whole()
    truth, acc = np.empty(found.shape, np.int8), x[0, :, 0].astype(np.int32) @ w.T.astype(np.int32)
    rule.stage(None)(acc, bias, truth)
    np.testing.assert_array_equal(found, truth)


def test_the_processor_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    for names, kinds in (
        ({"avx512f", "avx512bw", "avx512vnni", "avx2"}, (np.int8, np.int16, np.int16)),
        ({"avx512f", "avx512bw", "avx2"}, (np.int16, np.int16, np.int16)),
        ({"neon"}, (None, None, None)),
    ):
        monkeypatch.setattr(loops, "features", lambda names=names: names)
        weights = (("int8", 0), ("int8", 1), ("uint8", 0))
        assert tuple(loops.packed_type(np.dtype(dtype), point) for dtype, point in weights) == kinds


@pytest.mark.parametrize("multiply", MULTIPLIED)
def test_split_sums_are_exact_at_the_extremes(multiply: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = 5000
    w = np.where(np.arange(2 * depth).reshape(1, 2, depth) % 3, 255, -254).astype(np.int16)
    assert len(exact_parts(w.astype(np.float32), 255)) > 1
    if multiply == "int8":
        w = (w // 2).astype(np.int8)
    assert exact_parts(np.full((1, 1, 1024), -128.0), 128) == [slice(0, 1024)]  # 2**24 itself is exact
    assert len(exact_parts(np.full((1, 1, 1025), -128.0), 128)) > 1
    x = np.full((3, depth), 255, np.uint8)
    x[1], x[2, ::2] = 0, 1
    bias = np.asarray([5, -5], np.int32)
    found = sums_by(multiply, monkeypatch, x.reshape(1, 3, 1, depth), w[0], in_rows_of(3), (7, 0), bias)
    assert found.tolist() == ((x.astype(np.int64) - 7) @ w[0].T + bias).tolist()


@pytest.mark.parametrize("bias", [-(2**31), -(2**20), 2**31 - 1])
@pytest.mark.parametrize("stored", [-128, 127])
def test_no_sum_is_further_from_0_than_is_said(stored: int, bias: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantdiff.sim.accumulate.loops", lambda elements: loops)
    x, w = np.full((1, 1, 1, 9), stored, np.int8), np.full((1, 9), -127, np.int8)
    sums = gemm(x, w, in_rows_of(1), (-stored, 0), np.asarray([bias], np.int32))
    assert min(abs(2 * stored * 9 * -127 + bias), 2**31) <= sums.reach <= min(9 * 2**17 + abs(bias), 2**31)


@pytest.mark.parametrize("multiply", MULTIPLIED)
@pytest.mark.parametrize("depth", [1024, 1025, 65_793, 65_794, 200_000])
def test_weights_at_one_end_sum_up_exactly(depth: int, multiply: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Around the depths at which the type alone no longer promises it, and float32 no longer holds the sum."""
    w = np.full((1, 2, depth), -128, np.int8)
    w[0, 1, ::2] = 127
    x = np.full((1, depth), -128, np.int8)
    points = -5, 0 if multiply == "int8" else 3
    found = sums_by(multiply, monkeypatch, x.reshape(1, 1, 1, depth), w[0], in_rows_of(1), points, None)
    truth = (x.astype(np.int64) + 5) @ (w[0].T.astype(np.int64) - points[1])
    assert found.tolist() == truth.astype(np.int32).tolist()


def test_this_machine_multiplies_exactly() -> None:
    assert product_dtype() is np.float32


def test_a_product_that_is_not_exact_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = np.array_equal
    monkeypatch.setattr(np, "array_equal", lambda a, b: a.dtype != np.float32 and equal(a, b))
    assert product_dtype.__wrapped__() is np.float64


def test_code_on_disk_is_that_of_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of any of them, and what was compiled before is not found."""
    dispatcher: Any = loops.round_rows
    before = dispatcher._cache._cache_file._source_stamp
    for changed in machine_code.SOURCES:
        sources = [tmp_path / path.name for path in machine_code.SOURCES]
        for source, path in zip(sources, machine_code.SOURCES, strict=True):
            source.write_bytes(path.read_bytes() + (b"# other\n" if path == changed else b""))
        monkeypatch.setattr(machine_code, "SOURCES", tuple(sources))
        machine_code.stamp.cache_clear()
        assert machine_code.stamp() != before
        monkeypatch.undo()
    machine_code.stamp.cache_clear()
    assert machine_code.stamp() == before


@pytest.mark.thorough
@pytest.mark.skipif("avx512f" not in features(), reason="all tests run without AVX-512 anyhow")
def test_with_avx2_alone() -> None:
    """Numba is told that this processor is another one; in a process of its own, since it is asked once."""
    names = "+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+f16c,+fma,+lzcnt,+mmx,+movbe,+popcnt,+sse4.1,+sse4.2,+ssse3"
    haswell = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": names}
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-n0", "-k", "near_ties or several_rules or tiles"]
    done = subprocess.run(command, env={**os.environ, **haswell}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_small_work_stays_in_numpy() -> None:
    code = (
        "import sys; from quantdiff.sim.node import loops, WORTH\n"
        "assert loops(WORTH - 1) is None and 'numba' not in sys.modules\n"
        "assert loops(WORTH) is not None and loops(1) is not None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_numba_numpy_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "MODULE", "quantdiff.sim.no_such_module")
    node._load.cache_clear()
    assert node.loops(node.WORTH) is None
    node._load.cache_clear()


@pytest.mark.parametrize(
    "statement", ["import quantdiff.cli", "import quantdiff.api", "import quantdiff.sim.graph.chains"]
)
def test_numba_is_loaded_by_the_simulator_alone(statement: str) -> None:
    subprocess.run([sys.executable, "-c", f"import sys; {statement}; assert 'numba' not in sys.modules"], check=True)


def test_biases_that_do_not_fit_are_refused_before_any_loop() -> None:
    rule = Requantization(Rounding.RUY, (1.0, 1.0), 0, (-128, 127), "int8")
    with pytest.raises(ValueError, match="3 biases for 2 channels"):
        Rounded(Sums(1, np.zeros(3, np.int32), [np.zeros((1, 3))]), (rule,), (1, 3))
    with pytest.raises(ValueError, match="2 biases for 3 channels"):
        Rounded(Sums(1, np.zeros(2, np.int32), [np.zeros((1, 3))]), (rule,), (1, 2)).whole()


def test_channels_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [
        T("x", (1, 4, 4, 3), scale=1.0),
        T("w", (1, 3, 3, 8), scale=1.0, data=np.ones((1, 3, 3, 8))),
        T("b", (8,), "int32", scale=1.0, data=np.zeros(8)),
        T("y", (1, 4, 4, 8), scale=1.0),
    ]
    x = np.zeros((1, 4, 4, 3), np.int8)
    model = Case(tensors, [Op("DEPTHWISE_CONV_2D", ["x", "w", "b"], ["y"], {"strideH": 1, "strideW": 1})], {"x": x})
    monkeypatch.setattr("quantdiff.sim.ops.depthwise_conv_2d.loops", lambda elements: loops)
    _, simulation = run_simulator(model.write(), [x], Runtime.BUILTIN)
    (missing,) = simulation.missing
    assert (missing.index, missing.op) == (0, "DEPTHWISE_CONV_2D")
    assert missing.why.startswith("its tensors do not fit together here: 8 channels of weights for 3")


@pytest.mark.parametrize("shape", [(2, 9, 8, 64), (1, 5, 7, 3)])
@pytest.mark.parametrize("width", [2, 3])
def test_taps_in_double_are_added_in_their_order(shape: tuple[int, ...], width: int) -> None:
    """Padding adds nothing, then comes the bias, then the bounds."""
    rng, n, c = np.random.default_rng(4), shape[0], shape[3]
    image, taps, bias = rng.normal(size=shape), rng.normal(size=(3, width, c)), rng.normal(size=c)
    for stride, dilation, before in (((1, 1), (1, 1), (1, 1)), ((2, 1), (1, 2), (0, 2)), ((1, 3), (2, 1), (2, 0))):
        padded = np.pad(image, ((0, 0), *((k, 3) for k in before), (0, 0)))
        rows, columns = (
            (size - d * (k - 1) - 1) // s + 1
            for size, k, s, d in zip(padded.shape[1:3], (3, width), stride, dilation, strict=True)
        )
        y, want = np.full((n, rows, columns, c), np.nan), np.zeros((n, rows, columns, c))
        element_loops.sum_taps(image, taps, (stride, dilation, before), (bias, -1.0, 1.5), y)
        for i, j in np.ndindex(3, width):
            down, right = (
                np.arange(k) * s + t * d for k, s, t, d in zip((rows, columns), stride, (i, j), dilation, strict=True)
            )
            want += padded[:, down][:, :, right] * taps[i, j]
        assert np.array_equal(y, (want + bias).clip(-1.0, 1.5))


def test_sums_are_finished_the_same_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    sums, finish = rng.normal(size=(3, 7, 5)), (rng.normal(size=5), 0.0, 0.5)
    sums[0, 0, 0], sums[1, 0, 0] = np.nan, np.inf
    both = [finished(sums, finish), finished(sums.copy(), finish, over=True)]
    monkeypatch.setattr("quantdiff.sim.real.sums.loops", lambda _: None)
    for y in (*both, finished(sums.copy(), finish, over=True)):
        assert np.array_equal(y, finished(sums, finish), equal_nan=True)
    assert np.isnan(both[0][0, 0, 0])
    assert both[0][1, 0, 0] == finish[2]


def test_a_grid_bounds_the_same_values_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(float(np.float32(0.1)), 3, -128, 127)
    ties = (np.arange(-300, 300) + 0.5) * grid.scale
    x = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf), [np.inf, -np.inf, np.nan]])
    found = grid.bounded(x)
    monkeypatch.setattr("quantdiff.ladder.real_graph.loops", lambda _: None)
    assert np.array_equal(found, grid.bounded(x), equal_nan=True)
    assert np.array_equal(found, grid.clipped(grid.rounded(x)), equal_nan=True)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64"])
def test_a_grid_stores_the_same_integers_both_ways(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = INTEGER_RANGE.get(dtype, (-(2**31), 2**31 - 1))
    grid = Grid(float(np.float32(0.1)), 3, low, high)
    ties = (np.arange(-300, 300) + 0.5) * grid.scale
    x = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf), [1e9, -1e9, 0.0]]).reshape(3, -1)
    compiled_ones = grid.integers(x, np.dtype(dtype))
    monkeypatch.setattr("quantdiff.ladder.real_graph.loops", lambda _: None)
    assert np.array_equal(compiled_ones, grid.integers(x, np.dtype(dtype)))
