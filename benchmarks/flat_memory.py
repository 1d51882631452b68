"""Memory, descriptors, threads and children of one process over many calls: none of them may grow.

    uv run python benchmarks/flat_memory.py RUN_DIR [--calls 500] [--epochs 50]

Three processes, one after another: ``quantdiff.diff`` of RUN_DIR's file with itself, again and again; a training
with ``ParityCallback`` that measures after each epoch; and the converter alone, on the same model as often, which keeps
memory of each call. Prints, as JSON, what each held after its first tenth and at its end. Needs Linux and the extra
``[keras]``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SAMPLES, WIDTH, CLASSES = 64, 16, 4
RNG = np.random.default_rng(0)
X, Y = RNG.random((SAMPLES, WIDTH), np.float32), RNG.integers(0, CLASSES, SAMPLES)


def held() -> dict[str, int]:
    """What this process holds now."""
    gc.collect()
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        "kilobytes": int(said["VmRSS"].split()[0]),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
        "threads": int(said["Threads"]),
        "children": len(children),
    }


def network() -> object:
    """A small quantization-aware model, compiled."""
    from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot

    keras = frameworks().keras
    layers = [keras.layers.InputLayer(input_shape=(WIDTH,)), keras.layers.Dense(8, activation="relu")]
    with quiet():
        model = tfmot().quantization.keras.quantize_model(keras.Sequential([*layers, keras.layers.Dense(CLASSES)]))
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(X, Y, verbose=0)
    return model


def diffs(count: int, run: Path) -> Iterator[None]:
    """A child comes and goes each time."""
    import quantdiff

    with np.load(run / "data.npz") as data:
        some = quantdiff.Batch({"x": data["x"][:SAMPLES]})
    for _ in range(count):
        quantdiff.diff(run / "model.tflite", run / "model.tflite", some)
        yield


def epochs(count: int, _: Path) -> Iterator[None]:
    """One training for each epoch, so that what ``fit`` takes is taken each time."""
    from quantdiff import ParityCallback
    from quantdiff.references.keras.frameworks import quiet

    model = network()
    warnings.simplefilter("error", UserWarning)  # a gap that could not be measured
    for _ in range(count):
        with quiet():
            model.fit(X, Y, verbose=0, callbacks=[ParityCallback((X, Y))])  # type: ignore[attr-defined]
        yield


def conversions(count: int, _: Path) -> Iterator[None]:
    """The converter of TensorFlow, and nothing of ours."""
    import tensorflow as tf

    from quantdiff.references.keras.frameworks import quiet

    model = network()
    for _ in range(count):
        with quiet():
            model.fit(X, Y, verbose=0)  # type: ignore[attr-defined]
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.convert()
        yield


WORK = {"diff": diffs, "ParityCallback": epochs, "the converter alone": conversions}


def one(name: str, count: int, run: Path) -> None:
    """In a process of its own: what it held after a tenth of the calls, after the next, and at the end."""
    tenth = max(1, count // 10)
    for number, _ in enumerate(WORK[name](count, run), 1):
        if number % tenth == 0:
            print(json.dumps({"after": number, **held()}), flush=True)


def main() -> None:
    """One JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--one", choices=WORK)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one, asked.calls, asked.run)
        return
    found = {}
    for name in WORK:
        count = asked.calls if name == "diff" else asked.epochs
        command = [sys.executable, __file__, str(asked.run), "--one", name, "--calls", str(count)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found[name] = json.loads(lines[0]), json.loads(lines[-1])
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
