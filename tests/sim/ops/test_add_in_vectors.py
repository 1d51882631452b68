"""ADD where the operands' own rounding shows: ``builtin``'s vectors, their rests, and every way to broadcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, Maker
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.floats.elementwise import Section, section_of
from quantdiff.sim.ops.add import LEFT_SHIFT, NARROW_SHIFT, scaled_down, scaled_once, scaled_twice
from quantdiff.sim.rounding.fixed_point import Rounding, requantize
from quantdiff.sim.runtime import Runtime

INSIDE = 32_000
WAYS = (scaled_twice, scaled_once, scaled_down)
SHAPES = (
    ((1, 37), (1, 37)),
    ((3, 5, 16), (3, 1, 16)),
    ((1, 4, 5, 9), (1, 1, 1, 9)),
    ((1, 4, 5, 9), (1, 4, 5, 1)),
    ((1, 4, 5, 9), (1,)),
    ((4, 1, 9), (1, 5, 9)),
    ((4, 1, 9), (1, 5, 1)),
    ((1, 1), (1, 23)),
    ((2, 19), (2, 19)),
)


def outputs(steps: Sequence[Array], scales: tuple[float, float, float], shift: int) -> list[Array]:
    """Every pair of operands by each way to scale them, before zero point and clamp. Shapes: (n,) twice -> (n, n)."""
    twice = 2 * np.float64(max(scales[:2]))
    found = []
    for way in WAYS:
        left, right = (way(x, np.float64(s) / twice, shift) for x, s in zip(steps, scales[:2], strict=True))
        last = twice / (2.0**shift * np.float64(scales[2]))
        found.append(requantize(left[:, None] + right[None, :], last, Rounding.GEMMLOWP))
    return found


def apart(dtype: str) -> Maker:
    """Scales on which the ways give some pair of values another sum, and tensors full of that pair, or of all pairs."""
    info = np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1)

    def make(dice: Dice) -> Case:
        while True:
            s_a = dice.scale(-6, -1)
            s_b = float(np.float32(s_a * np.exp(dice.rng.uniform(-4, 4))))
            s_y = dice.at_tie(max(s_a, s_b), dice.size(1, 255))
            z_a, z_b, z_y = (dice.size(info.min, info.max) for _ in range(3))
            plain, *others = (y + z_y for y in outputs((values - z_a, values - z_b), (s_a, s_b, s_y), LEFT_SHIFT))
            inside = (plain > info.min) & (plain < info.max)
            places = np.argwhere(inside & ((plain != others[0]) | (plain != others[1])))
            if len(places) and 1e-4 < s_y < 10:
                break
        i, j = places[int(dice.rng.integers(len(places)))]
        if dice.chance():
            a, b = (np.broadcast_to(x, (256, 256)) for x in (values[:, None], values))
        else:
            a, b = (np.full(shape, values[k]) for shape, k in zip(dice.of(*SHAPES), (i, j), strict=True))
        tensors = [
            T("a", a.shape, dtype, s_a, z_a),
            T("b", b.shape, dtype, s_b, z_b),
            T("y", np.broadcast_shapes(a.shape, b.shape), dtype, s_y, z_y),
        ]
        feeds = {"a": a.astype(dtype), "b": b.astype(dtype)}
        return Case(tensors, [Op("ADD", ["a", "b"], ["y"], {"fusedActivationFunction": 0})], feeds)

    return make


def apart_in_16_bits(dice: Dice) -> Case:
    """The same in 16 bits, for some of the values."""
    while True:
        s_a = dice.scale(-9, -4)
        s_b = float(np.float32(s_a * np.exp(dice.rng.uniform(-4, 4))))
        s_y = dice.at_tie(max(s_a, s_b), dice.size(1, 30_000))
        values = [dice.rng.integers(-(2**15), 2**15, 300) for _ in range(2)]
        plain, *others = outputs(values, (s_a, s_b, s_y), NARROW_SHIFT)
        places = np.argwhere((np.abs(plain) < INSIDE) & ((plain != others[0]) | (plain != others[1])))
        if len(places):
            break
    if dice.chance():
        a, b = (np.broadcast_to(x, plain.shape).astype(np.int16) for x in (values[0][:, None], values[1]))
    else:
        pair = zip(values, places[int(dice.rng.integers(len(places)))], strict=True)
        a, b = (np.full(shape, x[k], np.int16) for shape, (x, k) in zip(dice.of(*SHAPES), pair, strict=True))
    tensors = [T("a", a.shape, "int16", s_a), T("b", b.shape, "int16", s_b)]
    tensors.append(T("y", np.broadcast_shapes(a.shape, b.shape), "int16", s_y))
    options = {"fusedActivationFunction": 0, "potScaleInt16": False}
    return Case(tensors, [Op("ADD", ["a", "b"], ["y"], options, version=3)], {"a": a, "b": b})


def far_apart(dtype: str) -> Maker:
    """One operand so fine that nothing is left of the shift: the bias of an attention's keys, which no loss ever moves.

    The coarse operand is 0 nearly everywhere, or nothing of the fine one would be seen.
    """
    shift, info = {"int8": LEFT_SHIFT, "int16": NARROW_SHIFT}[dtype], np.iinfo(dtype)

    def make(dice: Dice) -> Case:
        scale = dice.scale(-4, -1)
        scales = [scale, float(np.float32(scale * 2.0 ** -dice.rng.uniform(shift - 2, shift + 9)))]
        zeros = [dice.size(-90, 90) if dtype == "int8" else 0 for _ in range(3)]
        size = dice.of(37, 48, 160)
        values = [np.full((1, size), zeros[0]), dice.rng.integers(info.min, info.max + 1, (1, size))]
        order = dice.of((0, 1), (1, 0))
        tensors = [T(n, (1, size), dtype, scales[k], zeros[k]) for n, k in zip("ab", order, strict=True)]
        unit = float(np.float32(2 * scale / 2.0**shift * dice.rng.uniform(1.01, 8)))
        tensors.append(T("y", (1, size), dtype, unit, zeros[2]))
        options = {"fusedActivationFunction": 0, "potScaleInt16": False}
        feeds = {n: values[k].astype(dtype) for n, k in zip("ab", order, strict=True)}
        return Case(tensors, [Op("ADD", ["a", "b"], ["y"], options, version=3)], feeds)

    return make


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_golden_of_scales_far_apart(exact: Callable[..., None], runtime: Runtime, dtype: str) -> None:
    exact(f"ADD {dtype}, scales far apart", far_apart(dtype), runtime, times=0.02, cases=20)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden_of_16_bits(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("ADD int16, operands near ties", apart_in_16_bits, runtime, times=0.05, cases=40)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("ADD, operands near ties", apart("int8"), runtime, times=0.1, cases=20)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_of_uint8(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("ADD uint8, operands near ties", apart("uint8"), runtime, times=0.1, cases=20)


@pytest.mark.parametrize(
    ("a", "b", "section"),
    [
        ((1, 4, 4, 8), (1, 4, 4, 8), Section(128, False)),
        ((1, 4, 4, 8), (8,), Section(8, False)),
        ((8,), (1, 4, 4, 8), Section(8, False)),
        ((1, 4, 4, 8), (1, 4, 4, 1), Section(8, True)),
        ((1, 4, 4, 8), (), Section(128, True)),
        ((2, 1, 3), (1, 5, 3), Section(3, False)),
        ((4, 1, 9), (1, 5, 1), None),
        ((2, 3, 1, 1), (2, 1, 5, 1), Section(5, True)),
    ],
)
def test_inner_loops_by_hand(a: tuple[int, ...], b: tuple[int, ...], section: Section | None) -> None:
    assert section_of(a, b) == section


def test_three_ways_to_scale_by_hand() -> None:
    # 3 · 0.75 · 2^-1 with a shift of 1 to the left: 2.25; twice: 4.5 → 5 → 2.5 → 3, down: 5 → 2, once: 2.25 → 2
    x = np.asarray([3])
    assert [int(way(x, 0.375, 1)[0]) for way in WAYS] == [3, 2, 2]
    assert [int(way(x, 0.75, 1)[0]) for way in WAYS] == [5, 5, 5]
    # 30 · 0.75 · 2^-3 with a shift of 1: 5.625; twice: 60 → 45 → 5.6 → 6, down: 45 → 5, once: 30 / 4 → 7 → 5.25 → 5
    assert [int(way(10 * x, 0.09375, 1)[0]) for way in WAYS] == [6, 5, 5]
    assert [int(way(-10 * x, 0.09375, 1)[0]) for way in WAYS] == [-6, -6, -6]
