"""Write ``docs/images/graph.png``: the graph in the page of a small network, as a browser shows it.

    uv run python scripts/draw_graph.py [PAGE.html]

Without a page it trains the CNN first. It needs chromium and chromedriver.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

TARGET = Path(__file__).parents[1] / "docs/images/graph.png"
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
SIZE = {"width": 1180, "height": 900, "deviceScaleFactor": 1.5, "mobile": False}
LIGHT = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
CHOOSE = """
const views = document.querySelector('.graph select');
views.selectedIndex = 1;
views.dispatchEvent(new Event('change'));
const boxes = [...document.querySelectorAll('.graph .box')];
const figure = (box) => Number(box.querySelector('.value')?.textContent) || 0;
const most = boxes.reduce((a, b) => (figure(b) > figure(a) ? b : a));
most.dispatchEvent(new MouseEvent('click'));
"""


def main() -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(sys.argv[1]) if len(sys.argv) > 1 else trained(Path(folder))
        options = Options()
        options.binary_location = str(shutil.which("chromium"))
        for option in OPTIONS:
            options.add_argument(option)
        with Chrome(options, Service(shutil.which("chromedriver"))) as browser:
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", LIGHT)
            browser.get(page.resolve().as_uri())
            ready = "return document.documentElement.dataset.ready === 'yes'"
            WebDriverWait(browser, 60).until(lambda _: browser.execute_script(ready))
            browser.execute_script(CHOOSE)
            browser.find_element(By.CSS_SELECTOR, ".graph").screenshot(str(TARGET))


def trained(folder: Path) -> Path:
    """The page of a run."""
    page = folder / "page.html"
    subprocess.run(
        ("quantdiff", "run", "--model", "CNN", "--quantize", "--data", "mnist-small", "--out", folder, "--html", page),
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    return page


if __name__ == "__main__":
    main()
