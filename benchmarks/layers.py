"""``diff --layers`` beside its peers, on MobileNetV2 int8 and the float ``.tflite`` that it was made from, 224 × 224.

    uv run --group bench python benchmarks/layers.py [SAMPLES]

Seconds per sample, the best of some rounds taken in turns; the ratio counts. ``bare`` runs both models in this
process, one thread each, and reads every tensor. ``accumulated`` has all figures of every pair as it happens, ``all``
those of each layer alone too, for which the float model runs once more on the int8 model's values. ``compare_model``
is that of ``litert-quantizer`` with all its metrics; ``QuantizationDebugger`` is TensorFlow's, on Keras' own
MobileNetV2, its start apart, with ours on the same files.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import model_validator
from litert_quantizer.utils.validation_utils import ValidationErrorMetric
from networks import mobilenet_v2, smooth_images, write_pair

from quantdiff.align.models import align_models
from quantdiff.api.shards import compare_layers
from quantdiff.load.data import make_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.recording import bound
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.reference import converter_of
from quantdiff.references.tflite.reference import TfliteRecorder, TfliteReference
from quantdiff.run.runner import silent

ROUNDS = 5


def interpreter_of(path: Path) -> tuple[Interpreter, int, list[int]]:
    """An interpreter, its input, and all tensors that can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.invoke()
    readable = []
    for detail in interpreter.get_tensor_details():
        with contextlib.suppress(ValueError):
            interpreter.get_tensor(detail["index"])
            readable.append(detail["index"])
    return interpreter, interpreter.get_input_details()[0]["index"], readable


def bare(models: list[tuple[Interpreter, int, list[int]]], feeds: list[Array]) -> None:
    """Run both models on each sample and read every tensor."""
    for i in range(len(feeds[0])):
        for (interpreter, given, readable), feed in zip(models, feeds, strict=True):
            interpreter.set_tensor(given, feed[i : i + 1])
            interpreter.invoke()
            for index in readable:
                interpreter.get_tensor(index)


def compare_model(paths: tuple[Path, Path], images: Array) -> None:
    """The peer, with all its metrics."""
    data = {"serving_default": [{"input": image[None]} for image in images]}
    contents = [path.read_bytes() for path in paths]
    model_validator.compare_model(*contents, data, [*ValidationErrorMetric], num_threads=1)


def timed(*ways: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The best seconds of each way, in turns."""
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        for i, way in enumerate(ways):
            start = time.perf_counter()
            way()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


@contextlib.contextmanager
def ours(paths: tuple[Path, Path], images: Array) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Functions that compare everything, and the accumulated figures alone; alignment done, children started."""
    batch = make_batch({"input": images}, "waves")
    reference, candidate = (TfliteReference(load_tflite(path)) for path in paths)
    with reference.recorder() as one, candidate.recorder() as other:
        sides = bound(reference, one, batch), bound(candidate, other, batch)
        alignment = align_models(*sides)
        print(len(alignment.matches), "pairs", alignment.unrelated, file=sys.stderr)

        def everything() -> object:
            return compare_layers(*sides, silent, alignment)

        def accumulated() -> object:
            with patch.object(TfliteRecorder, "computable", lambda self, given: []):
                return compare_layers(*sides, silent, alignment)

        everything()
        yield everything, accumulated


def against_compare_model(samples: int, folder: Path) -> dict[str, float]:
    network, images = mobilenet_v2(), smooth_images(samples, (224, 224, 3), seed=9)
    paths = write_pair(network, folder)
    stored = network.tensor("input")
    integers = np.clip(np.rint(images / np.float32(stored.scale)) + stored.zero_point, -128, 127).astype(np.int8)
    models = [interpreter_of(path) for path in paths]
    with ours(paths, images) as (everything, accumulated):
        alone, all_figures, some_figures = timed(lambda: bare(models, [images, integers]), everything, accumulated)
        (peer,) = timed(lambda: compare_model(paths, images[:2]), rounds=2)
    return {
        "bare": alone / samples,
        "all": all_figures / samples,
        "accumulated": some_figures / samples,
        "compare_model": peer / 2,
        "all / bare": all_figures / alone,
        "accumulated / bare": some_figures / alone,
        "compare_model / all": peer / 2 / (all_figures / samples),
    }


def against_debugger(samples: int, folder: Path) -> dict[str, float]:
    used = frameworks()
    model = used.keras.applications.MobileNetV2(weights=None)
    dice = np.random.default_rng(0)
    for weight in model.weights:
        if "gamma" in weight.name or "variance" in weight.name:
            weight.assign(dice.uniform(0.5, 1.5, weight.shape))
    images = smooth_images(samples, (224, 224, 3), seed=9)

    def converter() -> object:
        made = converter_of(model)
        made.optimizations = [used.tf.lite.Optimize.DEFAULT]
        made.representative_dataset = lambda: ([image[None]] for image in images[:2])
        return made

    paths = folder / "keras-float.tflite", folder / "keras-int8.tflite"
    with quiet():
        paths[0].write_bytes(converter_of(model).convert())
        paths[1].write_bytes(converter().convert())  # type: ignore[attr-defined]
        start = time.perf_counter()
        debugger = used.tf.lite.experimental.QuantizationDebugger(
            converter=converter(), debug_dataset=lambda: ([image[None]] for image in images)
        )
        started = time.perf_counter() - start
    with ours(paths, images) as (everything, _):
        theirs, all_figures = timed(debugger.run, everything, rounds=2)
    return {
        "QuantizationDebugger": theirs / samples,
        "its start": started,
        "all, same files": all_figures / samples,
        "QuantizationDebugger / all": theirs / all_figures,
    }


def main(samples: int) -> None:
    """One JSON document."""
    with TemporaryDirectory() as folder:
        found = against_compare_model(samples, Path(folder))
        found |= against_debugger(samples, Path(folder))
    print(json.dumps({key: round(value, 4) for key, value in found.items()}, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
