"""Each reason once, on ranges worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantdiff.ops import TrainedRange
from quantdiff.parameters.quantizers import Range, Row, bias_reason, kernel_reasons, range_reasons, steps

STEP = 0.5
FILE = Range((-64.0,), (63.5,), (STEP,), (0,))
TRAINED = TrainedRange("post_activation", (-64.0,), (63.5,), "AllValuesQuantizer")
AVERAGED = replace(TRAINED, quantizer="MovingAverageQuantizer")


def row(direct: Range, file: Range | None = FILE, converter: Range = FILE, **more: Any) -> Row:
    return Row("layer", "post_activation", "output", "tensor", direct=direct, file=file, converter=converter, **more)


def codes(
    of: Row, trained: TrainedRange = TRAINED, activation: str = "linear", shared: str | None = None
) -> list[tuple[str, str]]:
    return [(reason.code, reason.text) for reason in range_reasons(of, trained, activation, shared)]


def test_equal() -> None:
    assert codes(row(Range((-64.0,), (63.5,)))) == [("equal", "equal")]


def test_nudge_only() -> None:
    assert codes(row(Range((-64.1,), (63.4,)))) == [("nudge only", "nudge only, by 0.20 steps")]


def test_range_differs() -> None:
    other = Range((-60.0,), (67.5,), (STEP,), (-8,))
    assert codes(row(Range((-64.0,), (63.5,)), other)) == [("range differs", "range differs by 8 steps")]
    (shared,) = codes(row(Range((-64.0,), (63.5,)), other), shared="CONCATENATION")
    assert shared == ("range differs", "range differs by 8 steps: it has the scale of its CONCATENATION")


def test_a_scale_that_differs_in_the_sixth_digit_differs() -> None:
    near = replace(FILE, scale=(STEP * 1.00001,))
    assert codes(row(Range((-64.0,), (63.5,)), near))[0][0] == "range differs"


def test_no_counterpart() -> None:
    lost = replace(row(Range((-1.0,), (1.0,)), None), tensor=None)
    assert codes(lost) == [("no counterpart", "no counterpart in the file")]
    assert codes(row(Range((-1.0,), (1.0,)), None)) == [("no counterpart", "float in the file")]


def test_never_trained() -> None:
    first = replace(AVERAGED, low=(-6.0,), high=(6.0,))
    assert codes(row(Range((-64.0,), (63.5,))), first)[1:] == [("never trained", "never trained: still at −6 and 6")]


def test_a_negative_minimum_behind_a_relu_is_not_settled() -> None:
    assert codes(row(Range((-64.0,), (63.5,))), AVERAGED, "relu")[1] == (
        "not settled",
        "moving average not settled: 50% of the codes lie below the ReLU",
    )
    nudged = codes(row(Range((-0.1,), (63.5,))), replace(AVERAGED, low=(-0.1,)), "relu")
    assert len(nudged) == 1  # less than half a step


@pytest.mark.parametrize(
    ("low", "high", "settled"), [(-64, 63, True), (-30, 30, False), (-200, 200, False), (-40, 50, True)]
)
def test_a_range_far_from_the_data_is_not_settled(low: float, high: float, settled: bool) -> None:
    seen = row(Range((-64.0,), (63.5,)), by_hand=Range((low,), (high,)))
    assert len(codes(seen, AVERAGED)) == 1 + (not settled)
    assert len(codes(seen, TRAINED)) == 1  # only a moving average can be unsettled


def test_kernels() -> None:
    folded = Range((-32.0,), (31.75,))
    half = Range((-32.0,), (31.75,), (STEP / 2,), (0,))
    direct = row(Range((-64.0,), (63.5,)), half, half, folded=folded)
    (reason,) = kernel_reasons(direct, TRAINED, None)
    assert reason.code == "folded batch norm"
    (anew,) = kernel_reasons(replace(direct, converter=FILE), TRAINED, half)
    assert (anew.code, anew.text) == (
        "folded batch norm",
        "folded batch norm: quantized anew by the range of the folded weights",
    )
    (own,) = kernel_reasons(replace(direct, direct=None, folded=None, converter=None), None, half)
    assert own.code == "own range"


def test_channels_are_compared_one_by_one() -> None:
    a, b = Range((-1.0, -2.0), (1.0, 2.0)), Range((-1.0, -2.0), (1.0, 2.5), (0.1, 0.25), (0, 0))
    assert steps(a, b) == 2
    (reason,) = kernel_reasons(row(Range((-1.0, -1.0), (1.0, 1.0)), replace(b, scale=(0.1, 0.2, 0.3))), TRAINED, None)
    assert reason.text == "range differs: 2 ranges, 3 in the file"


BIASES = [
    ([1.0, 2.0], "equal", "equal"),
    ([1.1, 2.0], "int32 grid", "rounded to the int32 grid, off by ≤ 0.40 units"),
    ([1.5, 2.0], "range differs", "differs by up to 2 int32 units"),
]


@pytest.mark.parametrize(("own", "code", "text"), BIASES)
def test_biases(own: list[float], code: str, text: str) -> None:
    reason = bias_reason(np.array(own), np.array([1.0, 2.0]), np.array([0.25, 0.25]), folded=False)
    assert (reason.code, reason.text) == (code, text)
