"""Everything that a page can show, made by hand: sixty layers, and names that would like to be more than text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import small_models as models
from some_figures import FIGURES as SOME

from quantdiff.align.alignment import Leftover
from quantdiff.compare.comparison import Comparison
from quantdiff.compare.evidence import Evidence, Sample, confusion_of, pictures_of
from quantdiff.compare.layers.figures import LayerFigures, WorstSample, step_histogram
from quantdiff.compare.layers.report import Box, Drawing, Histograms, LayerReport, LayerResult
from quantdiff.compare.outcome import Failure, Outcome
from quantdiff.ladder.explanation import MECHANISMS, Advice, Explanation, Frontier, Item, Rung
from quantdiff.linting.lint import Finding, LintReport, Severity
from quantdiff.linting.wiring import Location
from quantdiff.load.tflite import read_model
from quantdiff.parameters.quantizers import Parameters, Range, Reason, Row
from quantdiff.report.html.document import Provenance

NAME = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>🦊 $$x^2$$ {{ 7*7 }}"
LAYERS = 60
ENGINES = "qat", "tflite:xnnpack"
FIGURES = replace(SOME, count=20_000, step=0.047, differing=228, max_steps=3, max_relative_error=None)
LAYER = LayerFigures(
    1200, 7, 2, -0.01, 0.006, 0.3, 41.5, 0.9999, 0.7, 0.1, 0.0, 0.05, 0.5, 0.2, -1.0, 3.0, -1.0, 3.5, 4
)  # fmt: skip


def layer(place: int) -> LayerResult:
    """Layer ``place``; its figures grow with it, and one has no figures of its own."""
    figures = replace(LAYER, differing=place, rmse_steps=place / 100)
    name = NAME if place == 7 else f"layer_{place}"
    local = None if place == 3 else replace(figures, differing=LAYERS - place)
    return LayerResult(name, "t", "Conv2D", "CONV_2D", "name", "values", 0.01, True, (), figures, local)


def drawing() -> Drawing:
    """The layers in a chain with a shortcut over every third; QUANTIZE without a partner in front of them."""
    boxes = [Box(((each.layer, each.reference),), ((each.op, each.candidate),), i) for i, each in enumerate(_layers())]
    boxes.append(Box((), (("QUANTIZE", NAME),), why=NAME))
    chain = [(side, i, i + 1) for side in (0, 1) for i in range(LAYERS - 1)]
    shortcuts = [(side, i, i + 3) for side in (0, 1) for i in range(0, LAYERS - 3, 6)]
    errors = np.random.default_rng(0).normal(scale=0.3, size=500)
    bars = Histograms(step_histogram(lambda: [errors], 1.0), step_histogram(lambda: [errors / 3], 1.0))
    return Drawing(tuple(boxes), (*chain, *shortcuts, (1, LAYERS, 0)), (bars,) * LAYERS, 16)


def _layers() -> tuple[LayerResult, ...]:
    return tuple(layer(place) for place in range(LAYERS))


def report() -> LayerReport:
    alone = (Leftover(9, NAME, "Softmax", "the other side ends before it"),)
    worst = (WorstSample(17, 1.5),)
    return LayerReport(*ENGINES, _layers(), alone, (), worst_samples=worst, decided=100, drawing=drawing())


def evidence() -> Evidence:
    rng = np.random.default_rng(0)
    errors = rng.normal(scale=0.03, size=2000)
    decided = rng.integers(0, 10, (2, 500))
    pictures = pictures_of(rng.uniform(size=(12, 200, 200, 3)), range(12))
    samples = tuple(Sample(i, 0.1, (3, 5), 3, picture) for i, picture in enumerate(pictures))
    return Evidence(
        *ENGINES, NAME, step_histogram(lambda: [errors], 0.047), confusion_of(decided[0], decided[1], 10), samples
    )


def outcome() -> Outcome:
    return Outcome(
        {"qat": 0.9, "tflite:xnnpack": 0.9},
        (Comparison(*ENGINES, 0.01, FIGURES, ()),),
        made_by={"command": "diff", "samples": 2000, "versions": {"python": "3.11"}},
        artifacts={"reference": NAME},
        layers=(report(),),
        evidence=(evidence(),),
    )


def explanation() -> Explanation:
    after = (228, 228, 228, 228, 228, 300, 5, 5, 5, 0, 0, 0)
    resolved = (0, 0, 0, 0, 0, 0, 223, 0, 0, 5, 0, 0)
    rungs = tuple(Rung(*each, 3) for each in zip(MECHANISMS, after, resolved, strict=True))
    advice = (Advice("bias_to_int32", NAME, 228, 5),)
    items = (
        Item(3, "CONV_2D", NAME, NAME, "bias_to_int32", 0.9, 0.8, 0.01, 0.3, 1.2),
        Item(5, "MEAN", NAME, NAME, "activation_clipping", 0.1, 0.3, 0.01, 0.1, 0.7, (0.0, 0.55), (0.0, 0.61)),
    )
    shares = {"bias_to_int32": 0.9, "activation_clipping": 0.1}
    frontier = Frontier(64, 0.4, shares, {"bias_to_int32": 0.8, "activation_clipping": 0.3}, items, 0.2, 0.0)
    return Explanation(
        *ENGINES, "xnnpack", 20_000, 2000, 228, True, True, rungs, 0, advice=advice, frontier=frontier, departs=NAME
    )


def parameters() -> Parameters:
    ends = Range((-1.0,), (1.0,), (0.01,), (0,))
    return Parameters((Row(NAME, "kernel", "kernel", direct=ends, file=ends, reasons=(Reason("equal", "equal"),)),))


def findings() -> LintReport:
    found = Finding("QAT02", Severity.WARNING, Location(NAME), NAME, "A range.", "Train longer.")
    return LintReport(read_model(memoryview(models.dense()), Path(NAME)), (found,))


def provenance() -> Provenance:
    made = outcome()
    return Provenance(made.made_by, made.artifacts, (NAME,), (Failure("tflm", NAME),), f"quantdiff diff {NAME}")
