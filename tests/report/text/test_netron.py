"""Netron's line, against strings taken from Netron 8.x itself and from ECMA-262's rules for numbers."""

from __future__ import annotations

import numpy as np
import pytest

from quantdiff.graph import Tensor
from quantdiff.quant import QuantParams
from quantdiff.report.text.files import js_number, quantization_text

NUMBERS = [
    (0.0, "0"),
    (-0.0, "0"),
    (1.0, "1"),
    (-128.0, "-128"),
    (0.1, "0.1"),
    (float(np.float32(0.1)), "0.10000000149011612"),
    (1e-6, "0.000001"),
    (1.5e-6, "0.0000015"),
    (1e-7, "1e-7"),
    (-1.25e-7, "-1.25e-7"),
    (1e16, "10000000000000000"),
    (1.2e17, "120000000000000000"),
    (123456789012345680000.0, "123456789012345680000"),
    (1e21, "1e+21"),
    (1.5e300, "1.5e+300"),
    (5e-324, "5e-324"),
    (float("nan"), "NaN"),
    (float("-inf"), "-Infinity"),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_js_number(value: float, text: str) -> None:
    assert js_number(value) == text


def tensor(
    scale: tuple[float, ...] = (),
    zero_point: tuple[int, ...] = (),
    low: tuple[float, ...] = (),
    high: tuple[float, ...] = (),
) -> Tensor:
    quant = QuantParams(scale, zero_point or (0,) * len(scale)) if scale else None
    return Tensor(0, "t", (), "int8", quant, stored_zero_point=zero_point, stored_min=low, stored_max=high)


LINES = [
    (
        tensor((0.012566016986966133,), (3,), (-1.6488090753555298,), (1.5555250644683838,)),
        "-1.6488090753555298 ≤ 0.012566016986966133 * (q - 3) ≤ 1.5555250644683838",
    ),
    (tensor((0.5,), (-128,)), "0.5 * (q + 128)"),
    (tensor((0.5,), (0,)), "0.5 * q"),
    (tensor((0.5,)), "0.5 * q"),
    (tensor((1.0,), (3,)), "q - 3"),
    (tensor((1.0,), (0,)), "q"),
    (tensor((0.5,), (-128,), (0.0,), (6.0,)), "0.5 * (q + 128) ≤ 6"),
    (tensor((0.5,), (127,), (-6.0,), (0.0,)), "-6 ≤ 0.5 * (q - 127)"),
    (tensor(low=(-1.0,), high=(1.0,)), "-1 ≤ q ≤ 1"),
    (tensor((1e-7,), (0,)), "1e-7 * q"),
    (tensor((0.5, 0.25), (0, 1), (-1.0,)), "0: -1 ≤ 0.5 * q\n1: 0.25 * (q - 1)"),
    (tensor(), ""),
]


@pytest.mark.parametrize(("tensor", "text"), LINES)
def test_quantization_text(tensor: Tensor, text: str) -> None:
    assert quantization_text(tensor) == text


def test_index_is_aligned_to_the_right() -> None:
    lines = quantization_text(tensor((0.5,) * 10)).split("\n")
    assert (lines[0], lines[9]) == (" 0: 0.5 * q", " 9: 0.5 * q")
