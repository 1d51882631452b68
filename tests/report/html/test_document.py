"""The page as text: what it shows, what it leaves out, and that nothing in a name becomes markup or a program."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import page_values as values
import pytest

from quantdiff.compare.comparison import Losses, Output, Seen
from quantdiff.compare.outcome import Outcome
from quantdiff.report.folder import CannotWrite
from quantdiff.report.html.document import Page, page_of
from quantdiff.report.html.layers import VIEWS, layers_section, views_of
from quantdiff.report.html.rendering import _environment, asset

WHOLE = page_of(
    values.outcome(), (values.explanation(),), values.parameters(), values.findings(), values.provenance()
).html
ANCHORS = ["why", "where", "errors", "decisions", "samples", "figures", "parameters", "findings", "made"]
VOID = {"meta", "img", "br", "input"}


class Elements(HTMLParser):
    """Every element with its attributes, scripts with what they hold; raises where one is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.html, self.paragraphs = html, list[tuple[dict[str, str | None], str]]()
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag == "p":
            self.paragraphs.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        if self.open and self.open[-1] == "p":
            attributes, text = self.paragraphs[-1]
            self.paragraphs[-1] = attributes, text + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


ELEMENTS = Elements(WHOLE)


def test_every_section_that_has_a_value() -> None:
    assert [each["id"] for each in ELEMENTS.all("section")] == ANCHORS
    assert [link["href"] for link in ELEMENTS.all("a")][1:] == [f"#{anchor}" for anchor in ANCHORS]
    assert "Different: 228 of 20,000 outputs are not the same integer, by up to 3 steps." in WHOLE
    assert "Of the error, 90% is biases at CONV_2D #3" in WHOLE
    assert "10% is clipping at MEAN #5" in WHOLE
    assert ": the file holds 0 … 0.55, the data reach 0.61; all of it accounted for, to the bit on xnnpack." in WHOLE


def test_what_has_no_value_has_no_section() -> None:
    figures_only = Outcome({}, values.outcome().comparisons)
    assert [each["id"] for each in Elements(page_of(figures_only).html).all("section")] == ["figures"]
    assert len(page_of(figures_only).html) < 50_000  # nothing to draw, so Bokeh stays away
    assert [each["id"] for each in Elements(page_of(explanations=[values.explanation()]).html).all("section")] == [
        "why"
    ]
    assert "No runtime gave a result." in page_of(Outcome({}, ())).html


def test_a_page_of_sixty_layers_is_small() -> None:
    assert 1_000_000 < len(WHOLE.encode()) < 2_500_000


def test_names_are_text_everywhere() -> None:
    assert len(ELEMENTS.scripts) == 6
    assert not [attributes for attributes in ELEMENTS.all("img") if attributes["src"] == "x"]
    assert not [name for _, attributes in ELEMENTS.found for name in attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in WHOLE
    assert WHOLE.count("window.hacked=1") >= 8
    plots = json.loads(ELEMENTS.scripts[0])
    assert values.NAME in json.dumps(plots, ensure_ascii=False)
    assert values.NAME in json.dumps(json.loads(ELEMENTS.scripts[1]), ensure_ascii=False)
    assert "<" not in ELEMENTS.scripts[0] + ELEMENTS.scripts[1]


def test_only_these_scripts_run_and_nothing_is_fetched() -> None:
    (policy,) = [each["content"] or "" for each in ELEMENTS.all("meta") if "http-equiv" in each]
    hashes = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in ELEMENTS.scripts[2:]]
    assert f"default-src 'none'; script-src {' '.join(hashes)};" in policy
    assert "unsafe-eval" not in policy
    assert all((each["src"] or "").startswith("data:image/png;base64,") for each in ELEMENTS.all("img"))
    assert not ELEMENTS.all("link")
    assert not any("src" in each for each in ELEMENTS.all("script"))


def test_headings_landmarks_and_names_for_people_who_do_not_see_it() -> None:
    levels = [int(tag[1]) for tag, _ in ELEMENTS.found if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert [len(ELEMENTS.all(tag)) for tag in ("header", "nav", "main")] == [1, 1, 1]
    assert all(each["alt"] for each in ELEMENTS.all("img"))
    assert len(ELEMENTS.all("caption")) == len(ELEMENTS.all("table"))
    assert all(each.get("scope") in ("row", "col") for each in ELEMENTS.all("th"))
    plots = [each for each in ELEMENTS.all("div") if each.get("class") == "plot"]
    assert all(each["role"] == "img" and each["aria-label"] for each in plots)
    assert [each["id"] for each in plots] == [each["target_id"] for each in json.loads(ELEMENTS.scripts[0])]
    ids = [attributes["id"] for _, attributes in ELEMENTS.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert (ELEMENTS.all("html")[0]["lang"], ELEMENTS.all("title")) == ("en", [{}])


TEXT = [("text", "page"), ("text", "panel"), ("text", "same"), ("muted", "page"), ("muted", "panel"), ("muted", "same")]
TEXT += [(text, "page") for text in ("accent", "good", "bad", "warn")] + [("bad", "panel"), ("accent", "same")]
TEXT += [("on-shade", f"shade-{i}") for i in range(1, 6)]
MARKS = [(mark, back) for mark in ("accent", "second", "good", "bad", "quiet") for back in ("page", "panel")]


def palettes() -> list[dict[str, str]]:
    """The colours of each theme: light, dark, print."""
    blocks = re.findall(r":root \{(.*?)\}", asset("style.css"), re.S)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


PAIRS = [(*pair, 4.5) for pair in TEXT] + [(*pair, 3.0) for pair in MARKS]


@pytest.mark.parametrize("theme", range(3))
@pytest.mark.parametrize("pair", PAIRS)
def test_contrast_is_enough_in_every_theme(theme: int, pair: tuple[str, str, float]) -> None:
    """WCAG 2.2, criteria 1.4.3 (text, 4.5 : 1) and 1.4.11 (marks, 3 : 1)."""
    front, back, least = pair
    colours = palettes()[theme]
    light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it; white is 1, black 0."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_luminance_is_that_of_the_standard() -> None:
    assert luminance("#ffffff") == pytest.approx(1)
    assert luminance("#000000") == 0
    assert 1.05 / (luminance("#767676") + 0.05) == pytest.approx(4.54, abs=0.01)


def test_a_page_is_saved_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    Page("<p>é 🦊</p>").save(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_bytes() == "<p>é 🦊</p>".encode()
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["page.html"]
    with pytest.raises(CannotWrite, match="is a folder"):
        Page("").save(tmp_path / "new")
    with pytest.raises(UnicodeEncodeError):
        Page("lone \ud800").save(tmp_path / "new" / "other.html")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["page.html"]


def test_a_notebook_shows_the_page_in_a_frame() -> None:
    shown = Page('<p title="x">')._repr_html_()
    assert 'srcdoc="&lt;p title=&quot;x&quot;&gt;"' in shown
    assert 'sandbox="allow-scripts"' in shown


def test_the_graph_says_what_its_colours_mean() -> None:
    (graph,) = json.loads(ELEMENTS.scripts[1])
    made, accumulated, *_, clipped = graph["views"]
    assert [made["shades"][place] for place in (0, 3, 30, 31, 59)] == [0, None, 1, 2, 2]  # RMSE of place / 100 steps
    assert (made["texts"][3], made["texts"][59], accumulated["texts"][3]) == ("–", "0.59", "0.03")
    assert set(clipped["shades"]) == {4}  # a tenth of the values
    assert set(clipped["texts"]) == {"10.00%"}
    assert [len(view["legend"]) for view in graph["views"]] == [6] * 5
    assert graph["boxes"][-1]["why"].startswith("no partner: ")
    assert graph["layers"][7]["bars"]["words"].startswith("Errors of 16 samples, a logarithmic count: ")


def test_a_share_of_an_end_belongs_to_the_shade_before_it() -> None:
    steps, decibels = VIEWS[1], VIEWS[3]
    layer = values.layer(0)
    for rmse, shade in ((0.0, 0), (0.3, 1), (0.3001, 2), (2.5, 4), (2.6, 5)):
        assert steps.shade(replace(layer, figures=replace(layer.figures, rmse_steps=rmse))) == shade
    for sqnr, shade in ((float("inf"), 0), (50.0, 0), (49.9, 1), (10.0, 4), (9.9, 5), (-3.0, 5)):
        assert decibels.shade(replace(layer, figures=replace(layer.figures, sqnr_db=sqnr))) == shade


def test_what_nothing_is_known_of_is_not_drawn() -> None:
    report = values.report()
    floats = replace(values.LAYER, rmse_steps=None, clipped_low=None)
    layers = tuple(replace(each, figures=floats, local=None) for each in report.layers)
    assert [view.name for view in views_of(replace(report, layers=layers))] == ["SQNR accumulated"]
    for without in (replace(report, drawing=None), replace(report, unrelated="other weights")):
        assert layers_section([without]).graphs == ()
    assert "dagre" not in page_of(replace(values.outcome(), layers=(replace(report, drawing=None),))).html


def test_the_licence_of_the_layout_goes_with_it() -> None:
    assert "/*! dagre 3.1.3" in WHOLE
    assert "The above copyright notice and this permission notice shall be included" in WHOLE


def test_what_stands_between_backticks_is_code_and_nothing_else_is_markup() -> None:
    shown = _environment().from_string("{{ text|with_code }}").render(text="`a<b`, `<b>`, ` and <i>")
    assert shown == "<code>a&lt;b</code>, <code>&lt;b&gt;</code>, ` and &lt;i&gt;"
    assert "`" not in WHOLE.partition('class="verdict">')[2].partition("</p>")[0]


def test_the_page_says_what_was_lost_as_the_terminal_does() -> None:
    made = values.outcome()
    rich, poor = Seen((None, None)), Seen((frozenset({1.0}), frozenset({1.0, 2.0})))
    losses = Losses(1, rich, poor, 200, outside=20, outside_steps=150.75)
    channels = (values.FIGURES, replace(values.FIGURES, sqnr_db=6.0))
    outputs = (Output("a", values.NAME, values.FIGURES, losses, channels),)
    comparison = replace(made.comparisons[0], outputs=outputs)
    found = Elements(page_of(replace(made, comparisons=(comparison,), warnings=("the data reach 255",))).html)
    told = [lines for attributes, lines in found.paragraphs if attributes.get("class") == "failure"]
    assert [line.partition(" of ")[0] for line in told] == ["the data reach 255", "lost: 10.000%", "lost: 2"]
    assert told[1].endswith("can say, by up to 150.8 steps")
    assert told[2].endswith("have fewer than 8 distinct values, 1 of them one: 0, 1")
    table = found.html.partition('id="channels-0-0-table"')[2]
    assert table.index(">6.00<") < table.index(">41.50<")  # the worst first
