"""What outputs have lost: values outside the range, channels of few values; parts of the data add up."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.compare.comparison import Comparison, channel_axis, compare, count, losses_of, settle
from quantdiff.quant import Array, Grid, QuantParams, Trace, Value, quantize
from quantdiff.report.json.outcome import comparison_document
from quantdiff.report.text.outcome import losses_text

PARAMS = QuantParams((2.5,), (-128,))
GRID = Grid(PARAMS, "int8", "head")
RNG = np.random.default_rng(0)
HEAD = np.concatenate([RNG.uniform(0, 640, (8, 4, 200)), RNG.uniform(0, 2, (8, 6, 200))], axis=1).astype(np.float32)
"""Coordinates and scores that share a grid: four channels of the one, six of the other."""


def compared(reference: Array, codes: Array | None = None, *, parts: int = 1) -> Comparison:
    codes = quantize(reference, PARAMS, "int8") if codes is None else codes
    slices = zip(np.array_split(reference, parts), np.array_split(codes, parts), strict=True)
    counts = [
        count(Trace("float", (Value("head", a),)), Trace("int8", (Value("head", b, PARAMS, GRID),)), channels=True)
        for a, b in slices
    ]
    whole = counts[0]
    for each in counts[1:]:
        whole += each
    return settle(whole)


def test_scores_behind_the_grid_of_coordinates() -> None:
    (output,) = compared(HEAD).outputs
    assert output.figures.sqnr_db > 40  # all is well, it seems
    assert [figures.sqnr_db < 6 for figures in output.channels] == [False] * 4 + [True] * 6
    assert output.losses is not None
    assert output.losses.values == (8, 8, 8, 8, 2, 2, 2, 2, 2, 2)
    assert output.losses.few == (4, 5, 6, 7, 8, 9)
    assert output.losses.constant == ()
    assert [*losses_text(compared(HEAD))][-1] == (
        "lost: 6 of 10 channels of head have fewer than 8 distinct values: 4, 5, 6, 7, 8, 9"
    )


def test_constant_channels_and_values_outside() -> None:
    reference = HEAD.copy()
    reference[0, 0, :5] = 1000  # 145 steps beyond 637.5
    reference[:, 9] = 1.0  # said once on both sides: nothing is lost
    codes = quantize(reference, PARAMS, "int8")
    codes[:, 1] = 7
    comparison = compared(reference, codes)
    (lost,) = comparison_document(comparison)["lost"]
    beyond = int(np.count_nonzero(reference > 637.5 + 1.25))
    assert beyond >= 5
    assert lost["outside"] == beyond / HEAD.size
    assert lost["outside_steps"] == pytest.approx((1000 - 637.5) / 2.5)
    assert (lost["constant"], lost["few"]) == ((1,), (1, 4, 5, 6, 7, 8))
    assert next(losses_text(comparison)).endswith("lie outside what head can say, by up to 145 steps")


def test_parts_add_up() -> None:
    assert compared(HEAD, parts=3) == compared(HEAD)


def test_without_a_grid_only_values_are_told() -> None:
    floats = Trace("a", (Value("head", HEAD),)), Trace("b", (Value("head", np.zeros_like(HEAD)),))
    (output,) = compare(*floats).outputs
    assert output.losses is not None
    assert output.losses.outside is None
    assert output.losses.constant == tuple(range(10))
    assert output.channels == ()  # nobody asked


def test_few_samples_prove_nothing() -> None:
    assert [*losses_text(compared(HEAD[:1, :, :60]))] == []


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((8, 10), 1),
        ((8, 84, 8400), 1),
        ((8, 1917, 91), 2),
        ((8, 1, 10), 2),
        ((8, 64, 64, 64), 3),
        ((8, 1), 1),
        ((8,), 0),
    ],
)
def test_the_axis_of_the_channels(shape: tuple[int, ...], axis: int) -> None:
    assert channel_axis(shape) == axis


def test_a_grid_without_a_step_holds_nothing() -> None:
    losses = losses_of(np.zeros((2, 4)), np.zeros((2, 4)), Grid(QuantParams((0.0,), (0,)), "int8", "t"))
    assert (losses.outside, losses.outside_steps) == (None, None)
