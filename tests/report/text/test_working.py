"""How a working reads: every term in JSON, the ends of a long sum on the terminal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from quantdiff.paper.working import Given, Operand, Products, Sheet, Step, Term, Working
from quantdiff.report.json.text import json_text
from quantdiff.report.text.working import working_document, working_text


def a_working(count: int = 40) -> Working:
    terms = tuple(Term((0, k), k, (1, k), -2, -2 * k) for k in range(count))
    products = Products(terms, 6, count, 3, 0, -1560, 780, -80, 0, 240, 0, -1320, 7, -1313)
    steps = Step("multiplier", "s_x · s_w / s_y", 0.25), Step("round", "to nearest", -328, -328.25)
    operands = Operand("x", "in\x1b[31m", "int8", 0.5, 3), Operand("y", "out", "int8", 1.0, 0, (0, 1))
    others = Given("builtin", "builtin", -328), Given("tflm", "tflm", None, "no kernel")
    sheet = Sheet(operands, steps, products, "G")
    return Working(2, "FULLY_CONNECTED", (4, 1), (0, 1), "xnnpack", "builtin", sheet, -328, -328.0, others)


def test_text_shows_both_ends_and_every_sum() -> None:
    text = working_text(a_working())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == (
        "FULLY_CONNECTED #2, sample 4, element [0, 1], on xnnpack (which leaves it to the builtin kernel)"
    )
    assert "x[0, 4] · w[1, 4] 4 · -2 = -8" in lines
    assert "… 33 more (--json has them all) …" in lines
    assert "x[0, 39] · w[1, 39] 39 · -2 = -78" in lines
    assert "x[0, 5] · w[1, 5] 5 · -2 = -10" not in lines
    assert "6 more lie in the padding, which stands for 0 and adds nothing" in lines
    assert "− z_x·Σ q_w −3 · (-80) 240" in lines
    assert "= accumulator with bias in 32 bits -1313" in lines
    assert "round to nearest: -328.25 -328" in lines
    assert lines[-2:] == [
        "the xnnpack runtime gave -328: equal",
        "by each runtime's rule on the same inputs: builtin -328, tflm unknown (no kernel)",
    ]
    assert "\x1b" not in text


def test_short_sums_and_long_windows() -> None:
    short = working_text(a_working(8))
    assert "more (--json" not in short
    sheet = Sheet((Operand("y", "out", "int8", 1.0, 0),), (Step("sum", "of 20 values", 190, terms=tuple(range(20))),))
    assert "sum   of 20 values: 0, 1, 2, 3, 4, …, 18, 19   190" in working_text(replace(a_working(), sheet=sheet))


def test_the_ends_of_a_long_loop() -> None:
    steps = tuple(Step(f"body {k}: ADD #0", "y", k) for k in range(40))
    lines = working_text(replace(a_working(), sheet=Sheet(a_working().sheet.operands, steps))).splitlines()
    assert "  … 8 more (--json has them all) …" in lines
    assert [k for k in range(40) if not any(line.startswith(f"  body {k}: ") for line in lines)] == [*range(24, 32)]


def test_json_has_every_term() -> None:
    document = json.loads(json_text(working_document(a_working())))
    assert len(document["products"]["terms"]) == 40
    assert document["steps"][1] == {
        "name": "round", "formula": "to nearest", "value": -328, "exact": -328.25, "terms": [],
    }  # fmt: skip
    assert document["operator"] == {"index": 2, "op": "FULLY_CONNECTED"}
    assert (document["result"], document["runtime_gave"], document["real"]) == (-328, -328, pytest.approx(-328.0))
