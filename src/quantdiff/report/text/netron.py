"""The line that Netron shows for a tensor's quantization, to the letter.

The rule is that of ``view.Quantization.toString`` (Netron, ``source/view.js``) for the values that
``tflite.Value`` takes from the file (``source/tflite.js``).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest
from math import isfinite

from quantdiff.graph import Tensor

PLAIN_BELOW, PLAIN_FROM = 21, -6  # powers of ten between which JavaScript writes no exponent


def quantization_text(tensor: Tensor) -> str:
    """``min ≤ scale * (q - zero_point) ≤ max``; several channels as lines ``index: text``, nothing as ``""``."""
    return "\n".join(quantization_lines(tensor))


def quantization_lines(tensor: Tensor) -> Iterator[str]:
    """The lines of the text one by one: of a thousand channels a table shows a few."""
    scale = tensor.quant.scale if tensor.quant else ()
    stored = scale, tensor.stored_zero_point, tensor.stored_min, tensor.stored_max
    count = max(map(len, stored))
    width = len(str(count))
    for i, entries in enumerate(zip_longest(*stored)):
        yield f"{i:>{width}}: {_line(*entries)}" if count > 1 else _line(*entries)


def js_number(value: float) -> str:
    """``value`` as JavaScript's ``Number.prototype.toString`` prints it: 1e-7, 0.000001, 1e+21, NaN."""
    if not isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if value == 0:
        return "0"
    if "e" not in (text := repr(value)):  # both languages print the fewest digits that read back as the same
        return text.removesuffix(".0")
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    assert isinstance(exponent, int)  # finite, as seen above
    return "-" * sign + _positional("".join(map(str, digits)), len(digits) + exponent)


def _positional(digits: str, point: int) -> str:
    """The digits with the decimal point behind the first ``point`` of them, as ECMA-262 lays them out."""
    if not PLAIN_FROM < point <= PLAIN_BELOW:
        fraction = f".{digits[1:]}" if digits[1:] else ""
        return f"{digits[0]}{fraction}e{point - 1:+d}"
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _line(scale: float | None, zero_point: float | None, low: float | None, high: float | None) -> str:
    text = "q"
    if zero_point:
        text = f"q - {zero_point}" if zero_point > 0 else f"q + {-zero_point}"
    if scale is not None and scale != 1:
        text = f"{js_number(scale)} * {f'({text})' if zero_point else text}"
    if low:
        text = f"{js_number(low)} ≤ {text}"
    return f"{text} ≤ {js_number(high)}" if high else text
