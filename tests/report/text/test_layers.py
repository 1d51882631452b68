"""Layer reports as text and JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from some_figures import FIGURES as SOME

from quantdiff.align.alignment import Leftover
from quantdiff.compare.comparison import Comparison
from quantdiff.compare.conditions import parse
from quantdiff.compare.layers.figures import Flip, LayerFigures, WorstSample
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.compare.outcome import judge, reasons
from quantdiff.errors import BadExpression
from quantdiff.report.json.outcome import layers_document
from quantdiff.report.json.text import json_text
from quantdiff.report.text.outcome import print_layers
from quantdiff.report.text.terminal import Terminal

FIGURES = LayerFigures(
    1200, 7, 2, -0.01, 0.006, 0.3, 41.5, 0.9999, 0.7, 0.1, 0.0, 0.05, 0.5, 0.2, -1.0, 3.0, -1.0, 3.5, 4
)  # fmt: skip
EXACT = replace(FIGURES, differing=0, sqnr_db=float("inf"))
FLOAT = replace(FIGURES, differing=None, max_steps=None, mean_steps=None, rmse_steps=None, clipped_low=None)

EXACT_FLOAT = replace(FLOAT, sqnr_db=float("inf"))


def layer(name: str, figures: LayerFigures, local: LayerFigures | None) -> LayerResult:
    return LayerResult(
        name,
        f"m/{name}/Relu;m/conv",
        "Conv2D",
        "CONV_2D",
        "name",
        "values",
        0.01,
        True,
        ("n folded into c",),
        figures,
        local,
    )


REPORT = LayerReport(
    "qat",
    "tflite:xnnpack",
    (layer("first", EXACT, EXACT), layer("[red]second\x1b", FIGURES, FIGURES), layer("third", FLOAT, None)),
    (Leftover(9, "softmax", "Softmax", "the other side ends before it"),),
    (),
    first_differing=1,
    adds_most=1,
    worst_samples=(WorstSample(17, 1.5),),
    flips=(Flip(17, 3, 5, 0.25),),
    flipped=1,
    decided=100,
)


def text(report: LayerReport, *, unmatched: bool = False) -> str:
    written = io.StringIO()
    print_layers(report, Terminal(file=written, width=160, force_terminal=False), unmatched=unmatched)
    return written.getvalue()


def test_text() -> None:
    said = text(REPORT)
    assert "QAT VS TFLITE:XNNPACK, LAYER BY LAYER" in said
    assert said.strip().splitlines()[1] == "first difference: [red]second\\x1b"  # the answer, before any table
    second = next(line for line in said.splitlines() if line.startswith("[red]second"))
    assert second.split()[:12] == [
        "[red]second\\x1b", "CONV_2D", "1,200", "7", "2", "-0.0100", "0.3000", "41.50", "0.999900", "10.00%", "0.00%",
        "-1",
    ]  # fmt: skip
    assert "first difference: [red]second\\x1b" in said
    assert "worst samples (largest error): 17 (1.5)" in said
    assert "decisions that flipped: 1 of 100\n  sample 17: 3 → 5, margin 0.25" in said
    assert "without a partner: 1 of the reference; --unmatched lists them" in said
    whole = text(REPORT, unmatched=True)
    assert "no partner (reference): softmax (Softmax): the other side ends before it" in whole
    assert "first: n folded into c" in said
    third = next(line for line in said.splitlines() if line.startswith("third"))
    assert third.split()[3:7] == ["–"] * 4


@pytest.mark.parametrize("width", [60, 80, 100, 130, 160])
def test_no_figure_is_cut_off(width: int) -> None:
    """Names give way, and columns move to a table of their own, before a number loses a digit."""
    many = replace(FIGURES, count=12_345_678, differing=2_345_678, reference_min=-1.25e-5)
    path = "model/block_{}/sub_block/conv2d/BiasAdd;model/block_{}/batch_norm"
    layers = tuple(layer(path.format(i, i), many, many) for i in range(3))
    written = io.StringIO()
    print_layers(
        replace(REPORT, layers=layers), Terminal(file=written, width=width, force_terminal=True, no_color=True)
    )
    said = written.getvalue()
    for figure in ("12,345,678", "2,345,678", "-0.0100", "0.3000", "41.50", "0.999900", "10.00%", "0.00%", "-1", "3.5"):
        assert said.count(f" {figure}") >= 3, figure
    assert said.count("CONV_2D") == 6
    assert "block_1/sub_block/conv2d/BiasAdd" in said or "…" in said
    assert "conv2d/BiasAdd" in said  # the end of a path tells it from its neighbours


def test_strangers_get_one_line() -> None:
    said = text(replace(REPORT, unrelated="0 of 7 kernels agree"))
    assert said.split("\n", 2)[2].strip() == "these are not the same model: 0 of 7 kernels agree"


def test_json() -> None:
    document = json.loads(json_text(layers_document((REPORT,))))
    first, second, third = document["layers"]
    assert second["engine"] == "tflite:xnnpack"
    assert (second["reference"], second["op"], second["count"], second["differing"], second["max_steps"]) == (
        "[red]second\x1b", "CONV_2D", 1200, 7, 2,
    )  # fmt: skip
    assert (second["local_differing"], second["local_max_steps"]) == (7, 2)
    assert first["local_sqnr_db"] == "Infinity"
    assert third["differing"] is None
    assert third["local_differing"] is None
    assert document["unaligned"] == {
        "reference": [{"name": "softmax", "op": "Softmax", "why": "the other side ends before it"}],
        "candidate": [],
    }
    (summary,) = document["layer_summaries"]
    assert (summary["same_model"], summary["first_differing"], summary["adds_most"]) == (
        True,
        "[red]second\x1b",
        "[red]second\x1b",
    )
    assert summary["flips"] == [{"sample": 17, "reference": 3, "candidate": 5, "margin": 0.25}]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("max_steps@second>1", ("max_steps@second>1 (max_steps is 2 at model/second)",)),
        ("max_steps@model/second>1", ("max_steps@model/second>1 (max_steps is 2 at model/second)",)),
        ("max_steps@second>2", ()),
        ("sqnr_db@*<50", ("sqnr_db@*<50 (sqnr_db is 41.5 at model/second)",)),
        ("local_differing@* >= 0", ("local_differing@*>=0 (local_differing is 7 at model/second)",)),
    ],
)
def test_a_limit_on_layers(asked: str, said: tuple[str, ...]) -> None:
    """By path, by its last part or by pattern; a layer without that figure is passed over."""
    layers = layer("model/second", FIGURES, FIGURES), replace(layer("third", FLOAT, None), figures=EXACT_FLOAT)
    comparison = Comparison("qat", "tflite:xnnpack", 0.01, SOME, ())
    assert reasons(judge(comparison, (parse(asked),), (replace(REPORT, layers=layers),))) == said


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("max_steps@fourth>1", "no layer 'fourth'; there are first, "),
        ("max_steps@third>1", "max_steps has no value for third"),
        ("accuracy@third>1", "no metric 'accuracy'; there are count, "),
        ("passed@third>1", "no metric"),
    ],
)
def test_a_limit_that_no_layer_can_break_is_refused(asked: str, why: str) -> None:
    with pytest.raises(BadExpression, match=why):
        judge(Comparison("qat", "tflite:xnnpack", 0.01, SOME, ()), (parse(asked),), (REPORT,))


def test_what_has_no_partner_is_one_line_or_a_list() -> None:
    report = replace(REPORT, notes=("Softmax (a) has no partner", "Softmax (b) has no partner"))
    assert "without a partner: 1 of the reference, 2 at the ends, compared before them; --unmatched" in text(report)
    assert "Softmax (a)" not in text(report)
    assert "Softmax (a) has no partner\nSoftmax (b)" in text(report, unmatched=True)
