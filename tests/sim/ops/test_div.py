"""DIV of integers with a scale: every runtime bit for bit, also where they shift by more bits than there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, Maker, run_real, run_simulator
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime


def quotient(dtype: str) -> Maker:
    """Two operands, the second perhaps broadcast and never 0; of 8 bits often every pair of values."""

    def make(dice: Dice) -> Case:
        shape = dice.shape()
        z_a, z_b, z_y = (0 if dtype == "int16" else dice.zero_point(dtype) for _ in "aby")
        a = dice.integers(shape, dtype)
        b = dice.integers(dice.of(shape, (1,) * (len(shape) - 1) + shape[-1:]), dtype)
        if dtype != "int16" and dice.chance(0.3):
            every = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)
            a, b = every.reshape(-1, 1), every.reshape(1, -1)
        b = divisors(b, z_b)
        s_a, s_b = dice.scale(), dice.scale()
        s_y = dice.near(s_a / s_b * dice.of(2.0**-8, 1 / 60, 1.0, 2.0**12))
        s_y = dice.at_tie(s_a / s_b, dice.size(100, 255) / dice.size(1, 99)) if dice.chance() else s_y
        tensors = [T("a", a.shape, dtype, s_a, z_a), T("b", b.shape, dtype, s_b, z_b)]
        tensors.append(T("y", np.broadcast_shapes(a.shape, b.shape), dtype, s_y, z_y))
        options = {"fusedActivationFunction": dice.of(0, 0, 1, 2, 3)}
        return Case(tensors, [Op("DIV", ["a", "b"], ["y"], options)], {"a": a, "b": b})

    return make


def divisors(b: Array, zero_point: int) -> Array:
    """The same without the zero point and without one end, so that they are not drawn afresh, which may give it."""
    info = np.iinfo(b.dtype)
    end, other = (info.min, info.min + 1) if zero_point == info.min else (info.max, info.max - 1)
    other = end - 2 if other == zero_point else other
    return np.where((b == zero_point) | (b == end), other, b).astype(b.dtype)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden_int8(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("DIV int8", quotient("int8"), runtime)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_golden_where_tflm_has_none(exact: Callable[..., None], runtime: Runtime, dtype: str) -> None:
    exact(f"DIV {dtype}", quotient(dtype), runtime)


def divided(*, by: int, dtype: str = "int8", s_y: float = 0.5) -> Case:
    tensors = [T("a", (1,), dtype, 0.5), T("b", (1,), dtype, 0.5), T("y", (1,), dtype, s_y)]
    op = Op("DIV", ["a", "b"], ["y"], {"fusedActivationFunction": 0})
    return Case(tensors, [op], {"a": np.zeros(1, dtype), "b": np.asarray([by], dtype)})


@pytest.mark.parametrize(("by", "gives"), [(4, 0), (8, 1)])
def test_zero_divided_is_a_step_above_zero_where_the_shift_is_32(by: int, gives: int) -> None:
    case = divided(by=by)
    (real,), _ = run_real(case.write(), list(case.feeds.values()), Runtime.BUILTIN)
    _, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.BUILTIN)
    assert (real.tolist(), simulation.values[2].tolist()) == ([gives], [[gives]])


@pytest.mark.parametrize(
    ("case", "runtime", "why"),
    [
        (divided(by=0), Runtime.BUILTIN, "a divisor of 0"),
        (divided(by=1, s_y=2.0**-32), Runtime.BUILTIN, "a multiplier so large that C leaves the shift undefined"),
        (divided(by=3, dtype="uint8"), Runtime.TFLM, "types uint8 / uint8 -> uint8"),
    ],
)
def test_says_what_it_refuses(case: Case, runtime: Runtime, why: str) -> None:
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), runtime)[1].missing
    assert why in missing.why
