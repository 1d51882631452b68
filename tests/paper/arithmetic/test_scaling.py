"""Each rounding rule's steps, by hand: ties where the rules part."""

from __future__ import annotations

import pytest

from quantdiff.paper.arithmetic.steps import channel_of, multiplier_steps, scaled_steps
from quantdiff.sim.rounding.fixed_point import Rounding

G, R, S, X, D = Rounding.GEMMLOWP, Rounding.RUY, Rounding.SINGLE, Rounding.XNNPACK, Rounding.DOUBLE


@pytest.mark.parametrize(
    ("value", "scale", "rounding", "steps"),
    [
        (-10, 0.25, G, [("high multiply", -5), ("shift right", -3)]),
        (-10, 0.25, R, [("high multiply", -5), ("shift right", -2)]),
        (-10, 0.25, S, [("multiply and shift", -2)]),
        (-10, 0.25, X, [("product", -2.5), ("round", -2)]),
        (-10, 0.25, D, [("product", -2.5), ("round", -3)]),
        (14, 0.25, X, [("product", 3.5), ("round", 4)]),
        (7, 2.0, G, [("shift left", 28), ("high multiply", 14)]),
        (5, 0.5, G, [("high multiply", 3)]),
        (-5, 0.5, G, [("high multiply", -2)]),
    ],
)
def test_steps(value: int, scale: float, rounding: Rounding, steps: list[tuple[str, float]]) -> None:
    found = [*scaled_steps(value, channel_of(scale, rounding))]
    assert [(step.name, step.value) for step in found] == steps


def test_the_value_before_each_rounding_is_kept() -> None:
    high, right = scaled_steps(-11, channel_of(0.25, G))
    assert (high.exact, high.value) == (-5.5, -5)
    assert (right.exact, right.value) == (-2.5, -3)


def test_mantissa_and_shift() -> None:
    multiplier, mantissa, shift = multiplier_steps(channel_of(0.75 / 64, G), "")
    assert (multiplier.value, mantissa.value, shift.value) == (0.75 / 64, 3 * 2**29, -6)
    unused = [*multiplier_steps(channel_of(0.5, X), "")]
    assert "not used" in unused[1].formula
