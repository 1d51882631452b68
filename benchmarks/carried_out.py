"""What ``advise`` promises beside what converters make of it: five networks, a denylist and a recipe each.

    uv run --extra keras python benchmarks/carried_out.py FOLDER PYTHON

PYTHON is an interpreter that has litert-quantizer, in an environment of its own: it wants other packages than this one.
The file to be mended is made by the tool, from the calibration, that carries the advice out. Prints a table.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from networks import SIDE, dense4, mobilenet, resnet, shaped, zoo_cnn

from quantdiff import api
from quantdiff.compare.conditions import parse
from quantdiff.experiment.datasets import load_dataset
from quantdiff.experiment.zoo import seed_everything
from quantdiff.load.data import Batch
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet

CALIBRATED_ON, TRIED_ON, BETTER_DB = 100, 256, 3.0
EVERYTHING = [{
    "regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize",
    "op_config": {
        "activation_tensor_config": {"num_bits": 8, "symmetric": False, "granularity": "TENSORWISE", "dtype": "INT"},
        "weight_tensor_config": {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"},
        "compute_precision": "INTEGER", "explicit_dequantize": False, "skip_checks": False, "min_weight_elements": 0,
    },
}]  # fmt: skip
QUANTIZER = """
import json, sys
import numpy as np
from litert_quantizer import quantizer
source, recipe, data, out = sys.argv[1:]
tool = quantizer.Quantizer(source)
tool.load_quantization_recipe(json.load(open(recipe)))
runner = __import__("ai_edge_litert.interpreter", fromlist=["Interpreter"]).Interpreter(source).get_signature_runner()
(name,) = runner.get_input_details()
samples = [{name: image[None]} for image in np.load(data)["x"]]
tool.quantize(tool.calibrate({"serving_default": samples})).export_model(out, overwrite=True)
"""


def head() -> Any:
    """A detection head: boxes in pixels and scores from 0 to 1, joined in one output."""
    layers = frameworks().keras.layers
    image = layers.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(x)
    box = layers.Conv2D(4, 1, activation="sigmoid", name="box")(x)
    score = layers.Conv2D(1, 1, activation="sigmoid", name="score")(x)
    both = layers.Concatenate(name="both")([layers.Rescaling(416.0, name="pixels")(box), score])
    return frameworks().keras.Model(image, both)


NETS: dict[str, Callable[[], Any]] = {
    "dense4": dense4, "CNN": zoo_cnn, "MobileNetV2-like": mobilenet, "ResNet-like": resnet, "detection head": head,
}  # fmt: skip


def trained(make: Callable[[], Any]) -> tuple[Any, Array, Array]:
    """The model, what it is calibrated on and what it is tried on."""
    seed_everything(4)
    data, model = load_dataset("mnist-small"), make()
    x, x_test = (shaped(images, model.input_shape) for images in (data.x_train, data.x_test))
    if model.output_shape[-1] == 10:
        loss: Any = frameworks().keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        model.fit(x[:3200], data.y_train[:3200], epochs=2, verbose=0)
    return model, x[:CALIBRATED_ON], x_test[:TRIED_ON]


def converter(model: Any, samples: Array | None) -> Any:
    """TensorFlow's, to int8 where there are samples."""
    tf = frameworks().tf
    made = tf.lite.TFLiteConverter.from_keras_model(model)
    if samples is not None:
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = lambda: ([image[None]] for image in samples)
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        made.inference_input_type = made.inference_output_type = tf.int8
    return made


def by_denylist(folder: Path, model: Any, samples: Array, batch: Batch) -> tuple[api.Advised, float]:
    """The advice for TensorFlow's file, and the SQNR of what its debugger makes."""
    experimental = frameworks().tf.lite.experimental
    with quiet():
        (folder / "int8.tflite").write_bytes(converter(model, samples).convert())
    found = advice(folder, "int8.tflite", batch, denylist=folder / "denylist.json")
    options = experimental.QuantizationDebugOptions(**json.loads((folder / "denylist.json").read_text()))
    with quiet():
        plain = converter(model, samples)
        debugger = experimental.QuantizationDebugger(
            converter=plain, debug_dataset=plain.representative_dataset, debug_options=options
        )
        (folder / "denied.tflite").write_bytes(debugger.get_nondebug_quantized_model())
    return found, sqnr(folder, "denied.tflite", batch)


def by_recipe(folder: Path, python: str, samples: Array, batch: Batch) -> tuple[api.Advised, float]:
    """The advice for litert-quantizer's file, and the SQNR of what its recipe makes."""
    np.savez(folder / "calibration.npz", x=samples)
    (folder / "everything.json").write_text(json.dumps(EVERYTHING))

    def quantized(recipe: str, out: str) -> None:
        words = [str(folder / name) for name in ("float.tflite", recipe, "calibration.npz", out)]
        subprocess.run([python, "-c", QUANTIZER, *words], check=True, capture_output=True)

    quantized("everything.json", "quantized.tflite")
    found = advice(folder, "quantized.tflite", batch, recipe=folder / "recipe.json")
    quantized("recipe.json", "mixed.tflite")
    return found, sqnr(folder, "mixed.tflite", batch)


def advice(folder: Path, candidate: str, batch: Batch, **files: Path) -> api.Advised:
    """For ``BETTER_DB`` more than the file has."""
    pair = folder / "float.tflite", folder / candidate
    asked = f"sqnr_db>={sqnr(folder, candidate, batch) + BETTER_DB}"
    return api.advise(*pair, batch, api.Wanted((parse(asked, "--until"),), **files))


def sqnr(folder: Path, candidate: str, batch: Batch) -> float:
    """Of a file beside the float one, in dB."""
    return api.diff(folder / "float.tflite", folder / candidate, batch).comparisons[0].figures.sqnr_db


def rows(folder: Path, python: str) -> Iterator[str]:
    """A line for each network and tool."""
    for name, make in NETS.items():
        here = folder / name.replace(" ", "-")
        here.mkdir(parents=True, exist_ok=True)
        model, samples, tried = trained(make)
        batch = Batch({"x": tried})
        with quiet():
            (here / "float.tflite").write_bytes(converter(model, None).convert())
        for tool in ("TensorFlow's converter", "litert-quantizer"):
            own = python if tool == "litert-quantizer" else ""
            found, real = by_recipe(here, own, samples, batch) if own else by_denylist(here, model, samples, batch)
            assert found.chosen is not None
            figures = found.now.figures.sqnr_db, found.plain.figures.sqnr_db, found.chosen.then.figures.sqnr_db, real
            shown = " | ".join(f"{value:.2f}" for value in figures)
            yield f"| {name} | {tool} | {len(found.chosen.choices)} | {shown} | {real - figures[2]:+.2f} |"


if __name__ == "__main__":
    print("| network | tool | changes | the file | predicted as it is | predicted | carried out | apart |")
    print("|---|---|---|---|---|---|---|---|")
    for line in rows(Path(sys.argv[1]), sys.argv[2]):
        print(line, flush=True)
