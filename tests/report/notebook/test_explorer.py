"""The explorer: what Python hands over, and what a real browser draws of it where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import quantdiff
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.compare.outcome import Outcome
from quantdiff.errors import MissingExtra, NotComparable
from quantdiff.report.notebook.explorer import asset, state_of, still_page

EVIL = "</script><b>1</b>🦉"
FIGURES = LayerFigures(
    1200, 12, 2, -0.01, 0.006, 0.3, 41.5, 0.9999, 0.7, 0.1, 0.0, 0.05, 0.5, 0.2, -1.0, 3.0, -1.0, 3.5, 4
)  # fmt: skip
EQUAL = replace(FIGURES, differing=0, max_steps=0, sqnr_db=float("inf"))


def layer(name: str, figures: LayerFigures, local: LayerFigures | None) -> LayerResult:
    return LayerResult(name, f"t {name}", "Conv2D", "CONV_2D", "name", "values", 0.0, None, ("fused",), figures, local)


LAYERS = layer("first", EQUAL, EQUAL), layer(EVIL, FIGURES, FIGURES), layer("third", FIGURES, None)
REPORT = LayerReport("qat", "tflite:xnnpack", LAYERS, (), (), first_differing=1, adds_most=1)
OTHER = replace(REPORT, candidate="tflite:tflm", layers=LAYERS[:1])
STRANGERS = replace(REPORT, layers=(), unrelated="0 of 7 kernels agree")
OUTCOME = Outcome({}, (), layers=(REPORT, STRANGERS, OTHER))


def test_it_begins_at_the_layer_that_adds_most_and_follows() -> None:
    widget = quantdiff.explore(OUTCOME)
    assert widget.picked is LAYERS[1]
    assert widget.metric == "share"
    widget.layer = 2
    assert widget.picked is LAYERS[2]
    widget.report = 1
    assert widget.picked is LAYERS[0]


def test_every_figure_is_handed_over_and_no_number_is_lost() -> None:
    first, second = json.loads(quantdiff.explore(OUTCOME).data)
    assert [each["reference"] for each in first["layers"]] == ["first", EVIL, "third"]
    assert first["layers"][0]["figures"]["sqnr_db"] == "Infinity"
    assert first["layers"][1]["local"] == first["layers"][1]["figures"]
    assert first["layers"][2]["local"] is None
    assert second["candidate"] == "tflite:tflm"


def test_without_a_grid_it_shows_what_has_a_meaning() -> None:
    floats = replace(REPORT, layers=(layer("a", replace(FIGURES, differing=None), None),), adds_most=None)
    assert state_of((floats,))["metric"] == "sqnr_db"


def test_no_layers_are_refused() -> None:
    for layers in ((), (STRANGERS,)):
        with pytest.raises(NotComparable, match="layers=True"):
            quantdiff.explore(Outcome({}, (), layers=layers))


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtra, match=r"quantdiff\[notebook\]"):
        quantdiff.explore(OUTCOME)


def test_nothing_is_fetched() -> None:
    for name in ("explorer.js", "explorer.css"):
        assert set(re.findall(r"\w+://[^\"']*", asset(name))) <= {"http://www.w3.org/2000/svg"}
        assert "import" not in asset(name)


def test_a_page_without_a_kernel_keeps_names_text() -> None:
    bundle = quantdiff.explore(OUTCOME)._repr_mimebundle_()
    assert bundle is not None
    assert bundle[0]["text/html"].count("</script>") == 1
    assert "application/vnd.jupyter.widget-view+json" in bundle[0]


CLICK = """
<script type="module">
const rows = () => [...document.querySelectorAll("g.row")];
const drawn = () => ({
  picked: rows().map((row) => row.getAttribute("aria-selected")).join(),
  details: document.querySelector(".details p").textContent,
  values: [...rows()[1].querySelectorAll("text.value")].map((text) => text.textContent).join(),
  bold: document.querySelectorAll("b").length,
});
const before = drawn();
rows()[2].dispatchEvent(new MouseEvent("click"));
const clicked = drawn();
document.querySelector("svg").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
document.querySelector("svg").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
const figure = document.querySelectorAll("select")[2];
figure.value = "sqnr_db";
figure.dispatchEvent(new Event("change"));
const moved = drawn();
const engines = document.querySelectorAll("select")[0];
engines.value = 1;
engines.dispatchEvent(new Event("change"));
document.title = JSON.stringify({ before, clicked, moved, rows: rows().length });
</script>
"""


def test_a_browser_draws_it_and_picking_moves_all_plots(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    page = still_page(state_of((REPORT, OTHER)))
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8><body>{page}{CLICK}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command = [browser, *options, (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stdout[-2000:]
    seen = json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">"))
    assert seen["before"] == {
        "picked": "false,true,false", "details": f"{EVIL} (Conv2D)", "values": "1,1", "bold": 0,
    }  # fmt: skip
    assert seen["clicked"]["picked"] == "false,false,true"
    assert seen["clicked"]["details"] == "third (Conv2D)"
    assert seen["moved"]["picked"] == "true,false,false"
    assert seen["moved"]["values"] == "41.5,41.5"
    assert seen["rows"] == 1
