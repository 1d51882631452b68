"""Write ``docs/images/graph.png``: the graph in the page of a small network, as a browser shows it.

    uv run python scripts/draw_graph.py

It needs chromium, chromedriver and the extra [keras]. The network is not trained: its errors are those of quantization
all the same. It is calibrated on a few samples, so that a little is clipped.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

TARGET = Path(__file__).parents[1] / "docs/images/graph.png"
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
SIZE = {"width": 1180, "height": 900, "deviceScaleFactor": 1.5, "mobile": False}
CALIBRATED = 4  # samples
PREFERS = {"color-scheme": "light", "reduced-motion": "reduce"}
FEATURES = {"features": [{"name": f"prefers-{name}", "value": value} for name, value in PREFERS.items()]}
CHOOSE = """
const views = document.querySelector('.graph select');
views.selectedIndex = 1;
views.dispatchEvent(new Event('change'));
const boxes = [...document.querySelectorAll('.graph .box')];
const figure = (box) => Number(box.querySelector('.value')?.textContent) || 0;
const most = boxes.reduce((a, b) => (figure(b) > figure(a) ? b : a));
most.dispatchEvent(new MouseEvent('click'));
document.querySelector('.graph').scrollIntoView();
"""


def main() -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        page = page_of_pair(Path(folder))
        options = Options()
        options.binary_location = str(shutil.which("chromium"))
        for option in OPTIONS:
            options.add_argument(option)
        with Chrome(options, Service(shutil.which("chromedriver"))) as browser:
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", FEATURES)
            browser.get(page.resolve().as_uri())
            ready = "return document.documentElement.dataset.ready === 'yes'"
            WebDriverWait(browser, 60).until(lambda _: browser.execute_script(ready))
            browser.execute_script(CHOOSE)
            browser.find_element(By.CSS_SELECTOR, ".graph").screenshot(str(TARGET))


def page_of_pair(folder: Path) -> Path:
    """The page of the network and its integers."""
    import tensorflow as tf
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")
    x = layers.ReLU(6)(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="stem")(image)))
    for block in range(2):
        wide = layers.ReLU(6, name=f"block{block}_relu")(layers.Conv2D(24, 1, name=f"block{block}_expand")(x))
        deep = layers.DepthwiseConv2D(3, padding="same", name=f"block{block}_depthwise")(wide)
        x = layers.Add(name=f"block{block}_add")([x, layers.Conv2D(8, 1, name=f"block{block}_project")(deep)])
    scores = layers.Dense(10, name="scores")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Softmax(name="softmax")(scores))
    model.save(folder / "float.keras")
    data = np.random.default_rng(0).normal(size=(64, 32, 32, 3)).astype(np.float32)
    np.savez(folder / "data.npz", x=data)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([each[None]] for each in data[:CALIBRATED])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (folder / "model.tflite").write_bytes(converter.convert())
    page = folder / "page.html"
    files = folder / "float.keras", folder / "model.tflite", "--data", folder / "data.npz"
    subprocess.run(("quantdiff", "diff", *files, "--html", page), check=False, stdout=subprocess.DEVNULL)
    return page


if __name__ == "__main__":
    main()
