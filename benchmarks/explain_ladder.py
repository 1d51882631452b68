"""``explain`` on MobileNetV2 of 224 × 224 pixels, float to int8, beside running both files once with every tensor read.

    uv run --extra keras python benchmarks/explain_ladder.py FOLDER [IMAGES]

FOLDER gets the two files, of random weights and images, where they are not there yet. Prints seconds of one run each:
both models with all their tensors (the peer, the better of two), the ladder alone, the ladder with the frontier; and
the ratios to the peer. Processor seconds, of all processes, stand beside: the ladder has two threads and more, the peer
one, and beside other work only these tell anything. Needs Linux.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from converted import seconds, write_pair

from quantdiff.ladder import attribution, pair_ladder
from quantdiff.ladder.set_up import Question
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.inner_tensors import read_tensors, readable_tensors
from quantdiff.run.runner import RuntimeProcess
from quantdiff.sim.runtime import Runtime

SIDE, CALIBRATION = 224, 8


def images(count: int, seed: int) -> np.ndarray:
    """Smooth random pictures, −1 … 1."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, (count, SIDE // 16, SIDE // 16, 3))
    return np.kron(coarse, np.ones((1, 16, 16, 1))).astype(np.float32)


def write_models(folder: Path) -> None:
    """``float.tflite`` and ``int8.tflite``."""
    from quantdiff.references.keras.frameworks import frameworks, quiet

    keras = frameworks().keras
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNetV2((SIDE, SIDE, 3), weights=None)
    with quiet():
        model(images(32, 2), training=True)
    write_pair(model, folder, images(CALIBRATION, 3))


def processor() -> float:
    """Seconds of this process and of all that it started and that still run."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                stats[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    ours, before = {os.getpid()}, 0
    while len(ours) > before:
        before = len(ours)
        ours |= {pid for pid, (parent, _) in stats.items() if parent in ours}
    return sum(stats[pid][1] for pid in ours if pid in stats) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of processors."""
    before = processor()
    return seconds(work), processor() - before


def main(folder: Path, count: int) -> None:
    """One JSON document."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "int8.tflite").exists():
        write_models(folder)
    trained, model = load_tflite(folder / "float.tflite"), load_tflite(folder / "int8.tflite")
    batch = Batch({"x": images(count, 4)})
    with RuntimeProcess("xnnpack") as first, RuntimeProcess("xnnpack") as second:
        question = Question(
            "tflite:xnnpack", partial(trace_tflite, trained, process=first), trained, model, batch, 0.01
        )

        def both() -> None:
            for each, process in ((trained, first), (model, second)):
                for reading in read_tensors(each, readable_tensors(each.main, Runtime.XNNPACK), batch, process):
                    assert reading.values

        both()
        found = {"both models, all tensors": min(timed(both), timed(both))}
        whole = attribution.SAMPLES, attribution.WORK
        for name, looked_at in (("ladder", (0, 0)), ("ladder and frontier", whole)):
            attribution.SAMPLES, attribution.WORK = looked_at
            found[name] = timed(lambda: pair_ladder.explain_pair(question, second))
    peer = found["both models, all tensors"]
    for place, kind in enumerate(("clock", "processor")):
        ratios = {f"{name} / both models": round(found[name][place] / peer[place], 1) for name in list(found)[1:]}
        taken = {name: round(each[place], 2) for name, each in found.items()}
        print(json.dumps({"images": count, "seconds": kind, **taken, **ratios}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 64)
