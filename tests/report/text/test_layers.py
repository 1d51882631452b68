"""Layer reports as text and JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from quantdiff.align.alignment import Leftover
from quantdiff.compare.layers.figures import Flip, LayerFigures, WorstSample
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.report.json.layers import layers_document
from quantdiff.report.plain import json_text
from quantdiff.report.text.layers import print_layers
from quantdiff.report.text.terminal import Terminal

FIGURES = LayerFigures(
    1200, 7, 2, -0.01, 0.006, 0.3, 41.5, 0.9999, 0.7, 0.1, 0.0, 0.05, 0.5, 0.2, -1.0, 3.0, -1.0, 3.5, 4
)  # fmt: skip
EXACT = replace(FIGURES, differing=0, sqnr_db=float("inf"))
FLOAT = replace(FIGURES, differing=None, max_steps=None, mean_steps=None, rmse_steps=None, clipped_low=None)


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


def text(report: LayerReport) -> str:
    written = io.StringIO()
    print_layers(report, Terminal(file=written, width=160, force_terminal=False))
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
    assert "no partner (reference): softmax (Softmax): the other side ends before it" in said
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
