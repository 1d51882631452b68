"""The page in a real browser: it draws, sorts, filters and answers the pointer, asks nobody for anything."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cheap_trials as cheap
import page_values as values
import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from quantdiff.compare.layers.report import Box, Drawing
from quantdiff.compare.moved import movement
from quantdiff.experiment.store import Stored
from quantdiff.experiment.summary import summarize
from quantdiff.experiment.trial import Score
from quantdiff.report.html.document import page_of
from quantdiff.report.html.study import movement_page, study_page

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver here")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
READY = "return document.documentElement.dataset.ready === 'yes'"
TIPS = """
const found = [], look = (root) => root.querySelectorAll('*').forEach((each) => {
  if (each.shadowRoot) look(each.shadowRoot);
  if (each.classList.contains('bk-tooltip-row-value')) found.push(each.textContent.trim());
});
look(document);
return found;
"""
BROKEN = """
const found = [], range = document.createRange();
for (const heading of document.querySelectorAll('thead th')) {
  const texts = document.createTreeWalker(heading, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/\\w+/g)) {
    range.setStart(texts.currentNode, word.index);
    range.setEnd(texts.currentNode, word.index + word[0].length);
    if (new Set([...range.getClientRects()].map((each) => Math.round(each.top))).size > 1) found.push(word[0]);
  }
}
return found;
"""
"""Words of headings that stand on more than one line."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = Options()
    options.binary_location = str(BROWSER)
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    page_of(
        values.outcome(), (values.explanation(),), values.parameters(), values.findings(), values.provenance()
    ).save(path)
    return path.as_uri()


def show(browser: Chrome, file: str, width: int = 1280, scheme: str = "light") -> None:
    """Open the page anew in a window of ``width`` pixels and wait until everything is drawn."""
    prefers = {"color-scheme": scheme, "reduced-motion": "reduce"}  # nothing scrolls by itself while it is looked at
    features = [{"name": f"prefers-{name}", "value": value} for name, value in prefers.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(file)
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(READY))


def requests(browser: Chrome) -> set[str]:
    """Addresses asked for since the last call, but data that stand in the page itself."""
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    urls = {each["params"]["request"]["url"] for each in sent if each["method"] == "Network.requestWillBeSent"}
    return {url for url in urls if not url.startswith("data:")}


def messages(browser: Chrome) -> list[dict[str, str]]:
    """What the console said since the last call."""
    said: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return said


def rows(browser: Chrome, table: str) -> list[list[str]]:
    """The cells of the rows that can be seen, in their order."""
    script = """return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].filter((row) => !row.hidden)
      .map((row) => [...row.children].map((cell) => cell.textContent.trim()))"""
    found: list[list[str]] = browser.execute_script(script, table)
    return found


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_draws_without_an_error_or_a_request(browser: Chrome, file: str, width: int, scheme: str) -> None:
    show(browser, file, width, scheme)
    assert not [entry for entry in messages(browser) if entry["level"] in ("WARNING", "SEVERE")]
    assert requests(browser) == {file}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(BROKEN) == []
    drawn = browser.execute_script("return [...document.querySelectorAll('.plot')].map((each) => each.offsetHeight)")
    assert len(drawn) == 3
    assert min(drawn) > 200
    assert ink(browser, "waterfall-0") > 0.05


def ink(browser: Chrome, target: str) -> float:
    """The share of a plot's pixels that are not its background."""
    script = """
    const found = [], look = (root) => root.querySelectorAll('*').forEach((each) => {
      if (each.shadowRoot) look(each.shadowRoot);
      if (each.tagName === 'CANVAS') found.push(each);
    });
    look(document.getElementById(arguments[0]).firstChild.shadowRoot);
    const {width, height} = found[0];
    const data = found[0].getContext('2d').getImageData(0, 0, width, height).data;
    return data.filter((value, i) => i % 4 === 3 && value > 0).length / (width * height);
    """
    share: float = browser.execute_script(script, target)
    return share


def test_names_stay_text(browser: Chrome, file: str) -> None:
    show(browser, file)
    assert browser.execute_script("return [typeof window.hacked, document.scripts.length]") == ["undefined", 6]
    assert rows(browser, "layers-0-table")[7][0] == values.NAME
    assert "🦊" in browser.find_element(By.CSS_SELECTOR, "#parameters-table-table tbody th").text


def test_a_script_that_got_in_would_not_run(browser: Chrome, file: str) -> None:
    show(browser, file)
    browser.execute_script("""
      const script = document.createElement('script');
      script.textContent = 'window.hacked = 3';
      document.body.append(script);""")
    assert browser.execute_script("return typeof window.hacked") == "undefined"
    fetched = browser.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), (error) => done('refused'))"
    )
    assert fetched == "refused"
    assert any("Content Security Policy" in entry["message"] for entry in messages(browser))


def test_the_pointer_is_answered(browser: Chrome, file: str) -> None:
    show(browser, file)
    plot = browser.find_element(By.ID, "waterfall-0")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    height = plot.size["height"]
    ActionChains(browser).move_to_element_with_offset(plot, 0, -int(height * 0.04)).perform()
    tips = WebDriverWait(browser, 10).until(lambda _: browser.execute_script(TIPS))
    assert tips == ["biases of the file", "5", "223"]

    plot = browser.find_element(By.ID, "layers-0")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    script = """
      const view = [...Bokeh.index.roots].find((each) => arguments[0].contains(each.el));
      return Math.round(view.frame.x_scale.compute(8));"""
    place = browser.execute_script(script, plot) - plot.size["width"] // 2
    ActionChains(browser).move_to_element_with_offset(plot, place, 0).perform()
    WebDriverWait(browser, 10).until(lambda _: values.NAME in str(browser.execute_script(TIPS)))
    tips = browser.execute_script(TIPS)
    assert tips == [f"8 {values.NAME}", "CONV_2D", "0.0700", "0.0700", "7"]
    assert browser.execute_script("return typeof window.hacked") == "undefined"


def test_tables_sort_by_their_numbers_and_say_so(browser: Chrome, file: str) -> None:
    show(browser, file)
    heads = browser.find_elements(By.CSS_SELECTOR, "#layers-0-table thead th")
    differ = next(head for head in heads if head.text.startswith("differ"))
    assert differ.get_attribute("aria-sort") == "none"
    button = differ.find_element(By.TAG_NAME, "button")
    browser.execute_script("arguments[0].focus()", button)
    for key, state, first in ((Keys.ENTER, "descending", 59), (Keys.SPACE, "ascending", 0)):
        ActionChains(browser).send_keys(key).perform()
        assert differ.get_attribute("aria-sort") == state
        column = [int(row[3]) for row in rows(browser, "layers-0-table")]
        assert column[0] == first
        assert column == sorted(column, reverse=state == "descending")
    heads[0].find_element(By.TAG_NAME, "button").click()
    assert [head.get_attribute("aria-sort") for head in heads[:4]] == ["ascending", "none", "none", "none"]
    names = [row[0] for row in rows(browser, "layers-0-table") if row[0].startswith("layer_")]
    assert names[:3] == ["layer_0", "layer_1", "layer_2"]  # not layer_1, layer_10


def test_tables_filter(browser: Chrome, file: str) -> None:
    show(browser, file)
    box = browser.find_element(By.CSS_SELECTOR, "#layers-0-table input")
    assert browser.find_element(By.CSS_SELECTOR, "#layers-0-table label").text.strip() == "Filter"
    box.send_keys("LAYER_5 conv")
    assert len(rows(browser, "layers-0-table")) == 11
    assert browser.find_element(By.CSS_SELECTOR, "#layers-0-table output").text == "11 of 60 rows"


def test_a_row_and_its_bar_are_chosen_together(browser: Chrome, file: str) -> None:
    show(browser, file)
    browser.execute_script("""
      window.source = Bokeh.documents.map((each) => each.get_model_by_name('layers-0')).find(Boolean);""")
    button = browser.find_elements(By.CSS_SELECTOR, "#layers-0-table .mark")[4]
    browser.execute_script("arguments[0].click()", button)
    assert browser.execute_script("return source.selected.indices") == [4]
    browser.execute_script("source.selected.indices = [40]")
    chosen = browser.find_elements(By.CSS_SELECTOR, "#layers-0-table tr.chosen .mark")
    assert [each.text for each in chosen] == ["layer_40"]
    assert browser.execute_script("return document.querySelector('#layers-0-table .scroll').scrollTop") > 300


def test_the_keys_read_a_plot_mark_by_mark(browser: Chrome, file: str) -> None:
    show(browser, file)
    said = "return arguments[0].nextElementSibling.textContent"
    plot = browser.find_element(By.ID, "layers-0")
    plot.send_keys(Keys.HOME + Keys.ARROW_RIGHT * 7)
    assert browser.execute_script(said, plot) == (
        f"layer 8 {values.NAME}, op CONV_2D, RMSE 0.0700, alone 0.0700, differ 7"
    )
    assert browser.execute_script("return typeof window.hacked") == "undefined"
    chosen = browser.find_elements(By.CSS_SELECTOR, "#layers-0-table tr.chosen .mark")
    assert [each.text for each in chosen] == [values.NAME]
    plot.send_keys(Keys.ESCAPE)
    assert browser.execute_script(said, plot) == ""
    assert not browser.find_elements(By.CSS_SELECTOR, "#layers-0-table tr.chosen")
    plot = browser.find_element(By.ID, "waterfall-0")
    plot.send_keys(Keys.END + Keys.ARROW_DOWN)
    last = browser.execute_script(said, plot)
    plot.send_keys(Keys.ARROW_UP)
    assert "still differ" in last != browser.execute_script(said, plot)


BOXES = """
return [...document.querySelectorAll('#graph-0 .box')].map((box) => [
  box.querySelector('.candidate')?.getAttribute('class'), box.querySelector('.value')?.textContent,
  box.classList.contains('chosen'), box.classList.contains('aside')])
"""
PANEL = "return document.querySelector('#graph-0 .about').textContent"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_the_graph_has_every_operator_in_the_colour_of_its_error(
    browser: Chrome, file: str, width: int, scheme: str
) -> None:
    show(browser, file, width, scheme)
    boxes = browser.execute_script(BOXES)
    assert len(boxes) == values.LAYERS + 1
    assert boxes[0][:2] == ["candidate shade-0", "0.00"]
    assert boxes[59][:2] == ["candidate shade-2", "0.59"]
    assert boxes[60][:2] == ["candidate", ""]  # without a partner
    fills = "return [...document.querySelectorAll('#graph-0 .candidate rect')].map((r) => getComputedStyle(r).fill)"
    assert len(set(browser.execute_script(fills))) == 3
    sides = """const [a, b] = [...document.querySelectorAll('#graph-0 .box')][5].querySelectorAll('rect');
      return [a.getBoundingClientRect(), b.getBoundingClientRect()].map((r) => [r.left, r.top, r.right])"""
    left, right = browser.execute_script(sides)
    assert left[2] < right[0]
    assert left[1] == right[1]  # matched ones on one line
    assert left[0] >= 0
    assert right[2] <= width
    select = browser.find_element(By.CSS_SELECTOR, "#graph-0 select")
    select.send_keys("clipped")
    assert {each[0] for each in browser.execute_script(BOXES)[:60]} == {"candidate shade-4"}
    assert "≤ 20%" in browser.find_element(By.CSS_SELECTOR, "#graph-0 .legend").text


def test_an_operator_its_row_and_its_bar_are_chosen_together(browser: Chrome, file: str) -> None:
    show(browser, file)
    browser.execute_script("""
      window.source = Bokeh.documents.map((each) => each.get_model_by_name('layers-0')).find(Boolean);""")
    box = browser.find_elements(By.CSS_SELECTOR, "#graph-0 .box .candidate rect")[4]
    browser.execute_script("document.querySelector('#graph-0').scrollIntoView()")
    ActionChains(browser).move_to_element(box).click().perform()
    assert [i for i, each in enumerate(browser.execute_script(BOXES)) if each[2]] == [4]
    assert browser.execute_script("return source.selected.indices") == [4]
    chosen = browser.find_elements(By.CSS_SELECTOR, "#layers-0-table tr.chosen .mark")
    assert [each.text for each in chosen] == ["layer_4"]
    assert "layer_4" in browser.execute_script(PANEL)
    assert "0.0400, alone 0.0400" in browser.execute_script(PANEL)
    bars = "return document.querySelectorAll('#graph-0 .bars rect').length"
    assert browser.execute_script(bars) > 10
    browser.find_element(By.CSS_SELECTOR, "#graph-0 .about button").click()
    assert browser.switch_to.active_element.text == "layer_4"

    browser.execute_script("source.selected.indices = [50]")
    assert [i for i, each in enumerate(browser.execute_script(BOXES)) if each[2]] == [50]
    assert browser.execute_script("return document.querySelector('#graph-0 .frame').scrollTop") > 300
    assert "layer_50" in browser.execute_script(PANEL)


def test_the_graph_is_searched_zoomed_and_walked_by_keys(browser: Chrome, file: str) -> None:
    show(browser, file)
    search = browser.find_element(By.CSS_SELECTOR, "#graph-0 input[type=search]")
    search.send_keys("LAYER_5")
    assert browser.find_element(By.CSS_SELECTOR, "#graph-0 output").text == "11 of 61"
    assert sum(each[3] for each in browser.execute_script(BOXES)) == 50
    for place in (5, 50):
        search.send_keys(Keys.ENTER)
        assert [i for i, each in enumerate(browser.execute_script(BOXES)) if each[2]] == [place]
    wide = "return document.querySelector('#graph-0 .frame svg').getBoundingClientRect().width"
    before = browser.execute_script(wide)
    browser.find_element(By.CSS_SELECTOR, "#graph-0 [data-zoom='1.25']").click()
    assert browser.execute_script(wide) == pytest.approx(1.25 * before, rel=0.01)
    browser.find_element(By.CSS_SELECTOR, "#graph-0 [data-zoom='all']").click()
    fits = "const f = document.querySelector('#graph-0 .frame'); return [f.scrollHeight, f.clientHeight]"
    inner, outer = browser.execute_script(fits)
    assert inner <= outer + 1
    frame = browser.find_element(By.CSS_SELECTOR, "#graph-0 .frame")
    frame.send_keys(Keys.ARROW_DOWN)
    assert [i for i, each in enumerate(browser.execute_script(BOXES)) if each[2]] == [51]
    frame.send_keys(Keys.ARROW_UP + Keys.ARROW_UP)
    assert "layer_49" in browser.execute_script(PANEL)
    assert browser.execute_script("return document.querySelector('#graph-0 .about').ariaLive") == "polite"
    beside = browser.find_element(By.CSS_SELECTOR, "#graph-0 input[type=checkbox]")
    beside.click()
    assert browser.execute_script("return document.querySelectorAll('#graph-0 .reference').length") == 0
    assert browser.execute_script(BOXES)[49][2]


def test_a_box_without_a_partner_says_why(browser: Chrome, file: str) -> None:
    show(browser, file)
    browser.execute_script(
        "document.querySelectorAll('#graph-0 .box')[60].dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert f"no partner: {values.NAME}" in browser.execute_script(PANEL)
    assert browser.execute_script("return typeof window.hacked") == "undefined"
    assert browser.execute_script("return document.querySelectorAll('#layers-0-table tr.chosen').length") == 0


def test_three_hundred_operators_are_drawn_at_once(browser: Chrome, tmp_path: Path) -> None:
    """Branches, shortcuts over all of it and a circle; what one box ends is laid out by itself."""
    many = 300
    layers = tuple(replace(values.layer(8), reference=f"layer {i}") for i in range(many))
    boxes = tuple(Box((("Conv2D", f"layer {i}"),), (("CONV_2D", f"t{i}"),), i) for i in range(many))
    pairs = (
        [(i, i + 1) for i in range(many - 1)] + [(i, i + 4) for i in range(0, many - 4, 4)] + [(0, many - 1), (9, 8)]
    )
    feeds = tuple((side, *pair) for pair in pairs for side in (0, 1))
    report = replace(values.report(), layers=layers, drawing=Drawing(boxes, feeds))
    path = tmp_path / "many.html"
    page_of(replace(values.outcome(), layers=(report,))).save(path)
    show(browser, path.as_uri())
    assert not [entry for entry in messages(browser) if entry["level"] in ("WARNING", "SEVERE")]
    assert len(browser.execute_script(BOXES)) == many
    script = """const boxes = [...document.querySelectorAll('#graph-0 .box')];
      const at = boxes.map((box) => box.transform.baseVal[0].matrix.f);
      const start = performance.now();
      boxes[200].dispatchEvent(new MouseEvent('click', {bubbles: true}));
      document.querySelector('#graph-0 [data-zoom="0.8"]').click();
      document.querySelector('#graph-0 .frame').getBoundingClientRect();
      return [at, performance.now() - start]"""
    heights, took = browser.execute_script(script)
    assert all(a < b for a, b in pairwise(heights[10:]))
    assert took < 1000


def test_names_in_the_graph_lose_the_end_that_all_share(browser: Chrome, tmp_path: Path) -> None:
    layers = tuple(replace(values.layer(8), reference=f"layer {i}") for i in range(2))
    long = [f"network/block_{i}/expand/BatchNorm/FusedBatchNormV3;network/block_{i}/Conv2D" for i in range(2)]
    boxes = tuple(Box((("Conv2D", f"layer {i}"),), (("CONV_2D", long[i]),), i) for i in range(2))
    report = replace(values.report(), layers=layers, drawing=Drawing(boxes, ((1, 0, 1),)))
    path = tmp_path / "named.html"
    page_of(replace(values.outcome(), layers=(report,))).save(path)
    show(browser, path.as_uri())
    script = "return [...document.querySelectorAll('#graph-0 .candidate .name')].map((each) => each.textContent)"
    shown = browser.execute_script(script)
    assert len({*shown}) == 2
    assert all(name.endswith("/…") for name in shown)


def test_plots_follow_the_theme_and_paper_is_white(browser: Chrome, file: str) -> None:
    show(browser, file, scheme="dark")
    script = """return Bokeh.documents.map((each) => [...each._all_models.values()])
      .flat().filter((each) => each.type === 'LinearAxis')[0].major_label_text_color"""
    assert colours(browser, script) == ["#e7ebef", "#e7ebef"]
    browser.execute_script("""
      window.printed = [];
      matchMedia('print').addEventListener('change', (event) => event.matches && printed.push(
        getComputedStyle(document.querySelector('.plot')).filter,
        getComputedStyle(document.documentElement).getPropertyValue('--text').trim()));""")
    paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert paper.startswith(b"%PDF")
    assert browser.execute_script("return printed") == ["invert(1) hue-rotate(180deg)", "#000000"]
    assert colours(browser, script) == ["#e7ebef", "#e7ebef"]
    light = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", light)
    WebDriverWait(browser, 10).until(lambda _: colours(browser, script) == ["#1b222a", "#1b222a"])


def colours(browser: Chrome, script: str) -> list[Any]:
    """A colour in a plot, and the page's own for text."""
    own = "return getComputedStyle(document.documentElement).getPropertyValue('--text').trim()"
    return [browser.execute_script(script), browser.execute_script(own)]


def test_the_page_of_a_study_draws(browser: Chrome, tmp_path: Path) -> None:
    trials = [cheap.trial(seed, "float", model) for seed in range(3) for model in ("dense1", "dense2")]
    scores = (Score("tflite:$$x$$", 100, 7),)  # no formula, for which Bokeh would ask a server
    rows = [Stored(trial, replace(cheap.result(trial), scores=scores, failures=()), "") for trial in trials]
    path = tmp_path / "study.html"
    study_page(summarize([*rows, Stored(cheap.trial(9), None, values.NAME)]), "quantdiff report study.db").save(path)
    requests(browser)
    show(browser, path.as_uri(), 390)
    assert not [entry for entry in messages(browser) if entry["level"] in ("WARNING", "SEVERE")]
    assert requests(browser) == {path.as_uri()}
    assert browser.execute_script("return document.querySelectorAll('.plot').length") == 3
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert ink(browser, "boxes-0") > 0.01


def test_the_pages_of_one_value_each_draw(browser: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    page_of(explanations=(values.explanation(),)).save(path)
    show(browser, path.as_uri())
    assert not [entry for entry in messages(browser) if entry["level"] in ("WARNING", "SEVERE")]


def test_two_runs_side_by_side(browser: Chrome, tmp_path: Path) -> None:
    sides = [
        {"command": "diff", "accuracy": {"qat": value}, "comparisons": [each]}
        for value, each in (
            (0.9, {"reference": "qat", "candidate": "tflite:x", "count": 100_000, "max_steps": 1, "step": None}),
            (0.8, {"reference": "qat", "candidate": "tflite:x", "count": 20_000, "max_steps": 9, "step": 0.5}),
        )
    ]
    path = tmp_path / "moved.html"
    movement_page(movement(sides[0], sides[1], ("run A", "run B"))).save(path)
    requests(browser)
    show(browser, path.as_uri(), 390)
    assert not [entry for entry in messages(browser) if entry["level"] in ("WARNING", "SEVERE")]
    assert requests(browser) == {path.as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert browser.execute_script(BROKEN) == []
    found = {row[0]: row[3:] for row in rows(browser, "moved-table-table")}
    assert found["count"] == ["100,000", "20,000", "-80,000"]
    assert found["step"] == ["–", "0.5", ""]
    browser.execute_script("[...document.querySelectorAll('thead button')].at(-1).click()")
    assert [row[0] for row in rows(browser, "moved-table-table")] == ["count", "max_steps", "qat", "step"]
