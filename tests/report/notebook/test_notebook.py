"""Every result shows itself in a notebook: well-formed HTML in which names stay text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import small_models as models
from some_figures import FIGURES
from written_models import Op, T, write_tflite

from quantdiff.compare.comparison import Comparison, Output
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.compare.outcome import Failure, Outcome
from quantdiff.compare.verdict import OperatorResult, Verdict, Verification
from quantdiff.experiment.summary import Box, Engine, Failed, Interval, Rates, Summary
from quantdiff.identifying.fits import Fit
from quantdiff.identifying.identification import Group, Identification, Refuted
from quantdiff.ladder.explanation import Advice, Explanation, Explanations, LayerLadder, Rung
from quantdiff.lazy import Shown
from quantdiff.linting.lint import lint_model
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.working import Given, Operand, Sheet, Step, Working
from quantdiff.parameters.inspection import inspect_model
from quantdiff.parameters.quantizers import Parameters, Range, Row
from quantdiff.report.notebook.results import html_of
from quantdiff.sim.graph.simulator import Missing

EVIL = "<script>alert(1)</script>[red]🦉:smile:&amp;\x1b"
EMPTY = {"meta", "br", "hr", "img", "input", "link"}

COMPARISON = Comparison("qat", EVIL, 0.01, FIGURES, (Output("a", EVIL, FIGURES), Output("b", "b", FIGURES)))
LAYER = LayerFigures(
    1200, 7, 2, -0.01, 0.006, 0.3, 41.5, 0.9999, 0.7, 0.1, 0.0, 0.05, 0.5, 0.2, -1.0, 3.0, -1.0, 3.5, 4
)  # fmt: skip
RESULT = LayerResult(EVIL, EVIL, "Conv2D", EVIL, "name", "values", 0.01, True, (EVIL,), LAYER, None)
LAYERS = LayerReport("qat", EVIL, (RESULT,), (), ())
EXPLANATION = Explanation(
    EVIL, "tflite:xnnpack", "xnnpack", 1000, 100, 8, True, True,
    (Rung("reference", 8, 0, 1), Rung("bias_to_int32", 2, 6, 1), Rung("runtime", 0, 2, 0)), 0,
    layers=(LayerLadder(EVIL, EVIL, "CONV_2D", 500, (5, 1, 0), (3, 0, 0), 1, expected=0.01),),
    advice=(Advice("bias_to_int32", EVIL, 8, 2),),
)  # fmt: skip
RATES = Rates(Engine(EVIL, "qat", "qat"), None, (0, 1), (0.1, 0.2), Interval(0.15, 0.1, 0.2), Box(*[0.1] * 5))
OPERAND = Operand("x", EVIL, "int8", 0.5, 3)
RESULTS: dict[str, Shown] = {
    "Comparison": COMPARISON,
    "Outcome": Outcome({EVIL: 0.5}, (COMPARISON,), (Failure("tflm", EVIL),), (EVIL,), layers=(LAYERS,)),
    "LayerReport": LAYERS,
    "strangers": replace(LAYERS, unrelated=EVIL),
    "Explanation": EXPLANATION,
    "Explanations": Explanations((EXPLANATION, EXPLANATION), (Failure("tflm", EVIL),)),
    "Verification": Verification(
        {"xnnpack": Verdict("differs", (OperatorResult(0, EVIL, "xnnpack", 9, 1),), (Missing(1, EVIL, EVIL),))},
        {"samples": 5, "data": EVIL},
    ),
    "Identification": Identification(
        EVIL, (Group(EVIL, EVIL, (0,), ((0, EVIL),), 9, (("S",),), (Refuted(Fit("G", 1), 0),), usual=True),),
        (Missing(1, EVIL, EVIL),), made_by={"samples": 5, "data": EVIL},
    ),
    "Parameters": Parameters((Row(EVIL, "kernel", "kernel", file=Range((-1.0,), (1.0,), (0.5,), (0,))),), (EVIL,)),
    "Summary": Summary(2, (EVIL,), (), (RATES,), (), (), (), (Failed(RATES.engine, 1, EVIL),)),
    "Working": Working(
        0, EVIL, (0, 1), (0, 1), "xnnpack", "xnnpack",
        Sheet((OPERAND, OPERAND), (Step("q", "1 + 1", 2),)), 2, 1.0, (Given("tflm", "tflm", None, EVIL),),
    ),
}  # fmt: skip


class Reader(HTMLParser):
    """Checks that every element is closed, and gathers the tags and the words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def from_file(folder: Path) -> dict[str, Shown]:
    """Results that are read from a model whose names are markup."""
    tensors = [T(EVIL, (1, 4), scale=1.0), T("b", (1, 4), scale=1.0), T("sum", (1, 4), scale=1.0)]
    written = write_tflite(tensors, [Op("ADD", [EVIL, "b"], ["sum"], models.NONE)], [EVIL, "b"], ["sum"])
    model = load_tflite(models.save(folder, written).rename(folder / "<script>.tflite"))
    return {"Inspection": inspect_model(model), "LintReport": lint_model(model)}


@pytest.mark.parametrize("name", [*RESULTS, "Inspection", "LintReport"])
def test_every_result_shows_itself_and_names_stay_text(name: str, tmp_path: Path) -> None:
    value = RESULTS[name] if name in RESULTS else from_file(tmp_path)[name]
    page = value._repr_html_()
    read = Reader(page)
    assert "script" not in read.tags
    assert "<script>" in read.words
    if name != "LintReport":  # which shows the file's name only
        assert "[red]🦉:smile:&amp" in read.words
    assert "\x1b" not in page
    assert "http" not in page


def test_figures_stand_in_a_table() -> None:
    page = html_of(RESULTS["Outcome"])
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.S)
    assert any(
        re.findall(r"<td[^>]*>(.*?)</td>", row) == ["max error", "0.25", "differ as integers", "7"] for row in rows
    )
    assert '<span class="red">failed</span>' in page
    assert '<span class="red">&lt;script&gt;' in page  # the runtime that failed


def test_the_waterfall_has_its_bars() -> None:
    bars = re.findall(r'<span class="bar">(█+)</span>', html_of(EXPLANATION))
    assert [len(bar) for bar in bars] == [22, 6]


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(TypeError, match="no page for int"):
        html_of(3)
