"""Numbers as C, C++, Python, JSON and loggers print them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantdiff.errors import BadData
from quantdiff.load.dumps.printed import decoded, of_text

HERE = Path("dump.txt")
ROWS = [[-128, -1, 0, 127], [5, -6, 7, 26]]
PRINTED = {
    "a list": "y: -128, -1, 0, 127\ny: 5, -6, 7, 26\n",
    "hexadecimal": "y: 0x80 0xff 0x00 0x7f\ny: 0x05 0xfa 0x07 0x1a\n",
    "bytes": "y: 80 FF 00 7F\ny: 05 FA 07 1A\n",
    "bytes in a row": "y: 80ff007f\ny: 05fa071a\n",
    "places": "".join(f"y[{k}] = {v}\n" for row in ROWS for k, v in enumerate(row)),
    "places in a line": "\n".join(" ".join(f"y[{k}]={v}" for k, v in enumerate(row)) for row in ROWS),
    "a column of places": "".join("y:\n" + "".join(f"  {k}: {v}\n" for k, v in enumerate(row)) for row in ROWS),
    "brackets": "".join("y:\n" + "".join(f"  [{k}] {v}\n" for k, v in enumerate(row)) for row in ROWS),
    "an array of C": "const int8_t y[2][4] = {{-128, -1, 0, 127}, // the first\n  {5, -6, 7, 26}};\n",
    "aligned": "alignas(16) static const int8_t y[8] = {\n  -128, -1, 0, 127, /* half */\n  5, -6, 7, 26,\n};\n",
    "std::array": "const std::array<int8_t, 4> y = {-128, -1, 0, 127};\nstd::array<int8_t, 4> y = {5, -6, 7, 26};",
    "std::vector": "std::vector<int8_t> y{-128, -1, 0, 127};\nstd::vector<int8_t> y{5, -6, 7, 26};\n",
    "NumPy": f"y = {np.array(ROWS, np.int8)!r}\n",
    "PyTorch": "y: tensor([[-128, -1, 0, 127],\n        [5, -6, 7, 26]], dtype=torch.int8)\n",
    "TensorFlow": "y: tf.Tensor(\n[[-128 -1 0 127]\n [5 -6 7 26]], shape=(2, 4), dtype=int8)\n",
    "JSON": '{"y": [[-128, -1, 0, 127], [5, -6, 7, 26]], "board": "a"}',
    "lines of JSON": '{"y": [-128, -1, 0, 127]}\n{"y": [5, -6, 7, 26]}\n',
    "a logger": "I (345) y: -128, -1, 0, 127\n[00:00:12.345,678] <inf> y: 5, -6, 7, 26\n".replace("I (345) ", ""),
    "the time": "12:00:01.123 -> y: -128, -1, 0, 127\n12:00:02.456 -> y: 5, -6, 7, 26\n",
    "colours": "\x1b[0;32my: -128, -1, 0, 127\x1b[0m\n\x1b[0;32my: 5, -6, 7, 26\x1b[0m\n",
    "shape and type": "y int8 (1, 4): -128 -1 0 127\ny int8 (1, 4): 5 -6 7 26\n",
    "between other lines": "boot: 3 of 4 ok\ny: -128, -1, 0, 127\nInvoke took: 12 ms\ny: 5, -6, 7, 26\nbye\n",
}


@pytest.mark.parametrize("form", PRINTED)
def test_every_form_gives_the_numbers(form: str) -> None:
    found = of_text(HERE, PRINTED[form])
    assert [*found] == ["y"]
    assert np.array_equal(found["y"].astype(np.uint8).reshape(2, 4), np.array(ROWS).astype(np.uint8))


def test_what_stands_before_a_name_is_the_same_in_each_sample() -> None:
    text = "I (12) tflm: output: 1, 2\nI (345) tflm: output: 3, 4\n"
    assert {name: array.tolist() for name, array in of_text(HERE, text).items()} == {"I tflm: output": [[1, 2], [3, 4]]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_terminals_save_text_in_many_ways(encoding: str) -> None:
    text = decoded("21 °C\r\ny: 1, 2\r\n".encode(encoding))
    assert of_text(HERE, text)["y"].tolist() == [[1, 2]]


def test_what_is_left_out_or_no_text_is_said() -> None:
    with pytest.raises(BadData, match=r"line 1: numbers are left out \(\.\.\.\)"):
        of_text(HERE, "y: [[1 2 3 ... 7 8 9]]\n")
    with pytest.raises(BadData, match=r"line 2: numbers are left out"):
        of_text(HERE, "y: [[1 2 3]\n ...\n [7 8 9]]\n")
    with pytest.raises(BadData, match="y is no array"):
        of_text(HERE, '{"y": [[1, 2], [3]]}')
    with pytest.raises(UnicodeDecodeError):
        decoded(b"y: 1\0\0\0")


@pytest.mark.parametrize("text", ["[" * 9000, "<" * 9000 + ": 1", "{" * 9000, "/*" * 9000, "y " * 9000 + "= x"])
def test_hostile_text_holds_no_numbers(text: str) -> None:
    assert all(array.size <= 1 for array in of_text(HERE, text).values())
