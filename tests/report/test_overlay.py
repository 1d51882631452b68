"""Overlays hold what the layers hold, keyed as Model Explorer looks nodes up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.graph import Graph, Tensor
from quantdiff.ladder.explanation import Explanation, LayerLadder, Rung
from quantdiff.report.json.text import json_text
from quantdiff.report.overlay import Overlay, layer_overlays, overlays_text, rung_overlays

FIGURES = LayerFigures(
    1200, 6, 2, -0.01, 0.006, 0.3, 41.5, 0.9999, 0.7, 0.1, 0.05, 0.05, 0.5, 0.2, -1.0, 3.0, -1.0, 3.5, 4
)  # fmt: skip
EQUAL = replace(FIGURES, differing=0, max_steps=0, sqnr_db=float("inf"))
FLOAT = replace(FIGURES, differing=None, max_steps=None, rmse_steps=None, clipped_low=None, clipped_high=None)
GRAPH = Graph("main", tuple(Tensor(i, name, (1,), "int8") for i, name in enumerate("xyztt")), (), (0,), (3,))


def layer(tensor: str, figures: LayerFigures, local: LayerFigures | None) -> LayerResult:
    return LayerResult(f"keras {tensor}", tensor, "Dense", "ADD", "name", "values", 0.0, None, (), figures, local)


def overlays(*layers: LayerResult) -> dict[str, Overlay]:
    found = {
        overlay.what: overlay for overlay in layer_overlays(LayerReport("qat", "tflite:tflm", layers, (), ()), GRAPH)
    }
    assert all(overlay.runtime == "tflm" for overlay in found.values())
    return found


def test_a_file_per_metric_accumulated_and_local() -> None:
    found = overlays(layer("x", EQUAL, EQUAL), layer("y", FIGURES, None))
    metrics = ["differing", "max_steps", "rmse_steps", "sqnr_db", "max_abs_error", "clipped"]
    assert list(found) == [name for metric in metrics for name in (metric, f"local_{metric}")]
    assert found["differing"].values == {"x": 0.0, "y": 6 / 1200}
    assert found["clipped"].values["y"] == 0.1 + 0.05
    assert list(found["local_max_steps"].values) == ["x"]
    assert found["max_steps"].file == "tflm-max_steps.json"


def test_values_that_are_equal_are_said_in_words_and_the_worst_is_red() -> None:
    sqnr = json.loads(json_text(overlays(layer("x", EQUAL, None), layer("y", FIGURES, None))["sqnr_db"].document()))
    assert sqnr == {
        "results": {"x": {"value": "equal", "bgColor": "#a1d99b"}, "y": {"value": 41.5}},
        "gradient": [{"stop": 0, "bgColor": "#d7301f"}, {"stop": 1, "bgColor": "#fff7bc"}],
    }
    differing = overlays(layer("y", FIGURES, FIGURES))["local_differing"].document()
    assert differing["gradient"] == [{"stop": 0, "bgColor": "#fff7bc"}, {"stop": 1, "bgColor": "#d7301f"}]


def test_noise_without_a_signal_is_as_bad_as_it_gets() -> None:
    silent = overlays(layer("x", replace(FIGURES, sqnr_db=float("-inf")), None))["sqnr_db"]
    assert silent.document()["results"] == {"x": {"value": "noise only", "bgColor": "#d7301f"}}


def test_no_error_is_green_and_0_db_is_not() -> None:
    found = overlays(layer("x", replace(EQUAL, sqnr_db=0.0), None))
    assert found["max_steps"].document()["results"] == {"x": {"value": 0, "bgColor": "#a1d99b"}}
    assert found["sqnr_db"].document()["results"] == {"x": {"value": 0.0}}


def test_what_has_no_meaning_has_no_file() -> None:
    assert list(overlays(layer("x", FLOAT, None))) == ["sqnr_db", "max_abs_error"]


def test_a_name_that_two_tensors_share_paints_neither() -> None:
    assert overlays(layer("t", FIGURES, None)) == {}


def test_all_rungs_share_one_scale() -> None:
    rungs = (Rung("reference", 9, 0, 1), Rung("rounding", 3, 6, 1), Rung("runtime", 0, 3, 0))
    ladders = (
        LayerLadder("a", "x", "ADD", 100, (10, 5, 0), (2, 1, 0), 1),
        LayerLadder("b", "t", "ADD", 9, (9,), (9,), 1),
    )
    explanation = Explanation("qat", "tflite:tflm", "tflm", 90, 9, 9, True, True, rungs, 0, layers=ladders)
    found = {overlay.file: overlay.document()["results"] for overlay in rung_overlays(explanation, GRAPH)}
    assert found["tflm-rung0_reference.json"] == {"x": {"value": 0.1, "bgColor": "#d7301f"}}
    assert found["tflm-rung1_rounding.json"] == {"x": {"value": 0.05, "bgColor": "#eb946e"}}
    assert found["tflm-rung2_runtime.json"] == {"x": {"value": 0.0, "bgColor": "#a1d99b"}}
    assert found["tflm-local_rung1_rounding.json"] == {"x": {"value": 0.01, "bgColor": "#eb946e"}}
    assert len(found) == 6


def test_text() -> None:
    made = tuple(overlays(layer("x", FLOAT, None)).values())
    assert overlays_text(made, Path("a\x1bb.tflite"), Path("out")).splitlines() == [
        "tflm-sqnr_db.json  1 node",
        "tflm-max_abs_error.json  1 node",
        "",
        "model-explorer a\\x1bb.tflite --node_data_paths=out/tflm-sqnr_db.json",
    ]
