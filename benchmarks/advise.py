"""``advise`` on a MobileNetV2-like net with 256 samples and 60 choices, beside one ``diff`` of the same pair.

    uv run --extra keras python benchmarks/advise.py FOLDER [SAMPLES]

FOLDER gets the two files, of random weights and images, where they are not there yet. Prints seconds and their ratio,
on the clock and of processor time, that of children with it: on a busy machine only the latter says anything.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from converted import seconds, write_pair

from quantdiff import api
from quantdiff.load.data import Batch
from quantdiff.run import process

SIDE, CALIBRATION, AT_MOST = 96, 64, 20.0


def images(count: int, seed: int) -> np.ndarray:
    """Smooth random pictures, −1 … 1."""
    dice = np.random.default_rng(seed)
    coarse = np.kron(dice.normal(size=(count, 6, 6, 3)), np.ones((1, SIDE // 6, SIDE // 6, 1)))
    return np.clip(0.4 * coarse + 0.1 * dice.normal(size=(count, SIDE, SIDE, 3)), -1, 1).astype(np.float32)


def write_models(folder: Path) -> None:
    """``float.tflite`` and ``int8.tflite``: MobileNetV2, alpha 0.35, ten outputs."""
    from quantdiff.references.keras.frameworks import frameworks, quiet

    keras = frameworks().keras
    keras.utils.set_random_seed(1)
    base = keras.applications.MobileNetV2((SIDE, SIDE, 3), alpha=0.35, weights=None, include_top=False, pooling="avg")
    model = keras.Model(base.input, keras.layers.Dense(10)(base.output))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    with quiet():
        for _ in range(3):
            model(images(64, 1), training=True)
    write_pair(model, folder, images(CALIBRATION, 2))


def main(folder: Path, count: int) -> int:
    """One JSON document; 1 where ``advise`` takes longer than 20 times one ``diff``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "int8.tflite").exists():
        write_models(folder)
    pair = folder / "float.tflite", folder / "int8.tflite"
    batch = Batch({"x": images(count, 3)})
    found: list[api.Advised] = []
    once = min(both(lambda: api.diff(*pair, batch)) for _ in range(3))
    advise = both(lambda: found.append(api.advise(*pair, batch)))
    document = {"samples": count, "choices": len(found[0].alone)}
    for name, (mine, whole) in {"": (once[1], advise[1]), "_processor": (once[0], advise[0])}.items():
        document |= {f"diff{name}_s": mine, f"advise{name}_s": whole, f"ratio{name}": whole / mine}
    print(json.dumps({key: round(value, 3) for key, value in document.items()}))
    return int(advise[0] > AT_MOST * once[0])


def both(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor time, this process's and its children's, and of the clock.

    The process that forks children ends with the work, since its time counts, and theirs, once it has ended.
    """
    before = sum(os.times()[:4])
    clock = seconds(work)
    process.end_servers()
    return sum(os.times()[:4]) - before, clock


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 256))
