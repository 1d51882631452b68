"""What a data set of ImageNet's or COCO's size takes on 1, 2 and 16 workers: costs measured, the cluster simulated.

    uv run --extra dask python benchmarks/many_machines.py

Measured: processor seconds of each command, its children included, on two numbers of images of MobileNetV2 (float
beside int8, xnnpack), at 224 × 224 as for ImageNet and at 320 × 320 as detectors on COCO have it, which gives the cost
of a sample and of opening; and what a call costs a scheduler of ``distributed`` on this machine. Simulated: calls as
``quantdiff.api.parts`` cuts them, handed out one after the other to whoever is free, each worker one core.
"""

from __future__ import annotations

import heapq
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from networks import mobilenet_v2, smooth_images, write_pair

from quantdiff.api.engines import DEFAULTS
from quantdiff.api.parameters import ParamsQuestion
from quantdiff.api.parts import calls_of, cut
from quantdiff.api.shards import DiffQuestion
from quantdiff.api.verifications import VerifyQuestion
from quantdiff.load.data import Batch

SETS = {"ImageNet": (50_000, 224), "COCO": (5_000, 320)}
WORKERS = 1, 2, 16
FEW_AND_MANY = {"diff": (8, 40), "diff --layers": (8, 40), "params": (8, 40), "verify": (1, 4)}
NOTHING = 200  # calls that do nothing


def processor_seconds(command: Sequence[str]) -> float:
    """Of a command and its children."""
    before = os.times()
    words = [str(Path(sys.executable).parent / "quantdiff"), *command]
    assert subprocess.run(words, check=False, stdout=subprocess.DEVNULL).returncode in (0, 1), command
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def costs(name: str, folder: Path, images: np.ndarray) -> tuple[float, float]:
    """Processor seconds of opening, and of a sample."""
    files = [str(folder / "int8.tflite")]
    files = files if name == "verify" else [str(folder / "float.tflite"), *files]
    found = []
    for count in FEW_AND_MANY[name]:
        np.save(folder / "x.npy", images[:count])
        more = ["--samples", str(count)] if name == "verify" else []
        words = [*name.split(), *files, "--data", str(folder / "x.npy"), "--json", *more]
        found.append(processor_seconds(words))
    few, many = FEW_AND_MANY[name]
    sample = (found[1] - found[0]) / (many - few)
    return max(0.0, found[0] - few * sample), sample


def grain(name: str, folder: Path, images: np.ndarray) -> int:
    """Samples in a part, as the command has them."""
    pair, first = (folder / "float.tflite", folder / "int8.tflite"), Batch({"x": images[:8]})
    question = {
        "diff": lambda: DiffQuestion(*pair, DEFAULTS, layers=False, first=first),
        "diff --layers": lambda: DiffQuestion(*pair, DEFAULTS, layers=True, first=first),
        "params": lambda: ParamsQuestion(*pair, DEFAULTS, first),
        "verify": lambda: VerifyQuestion(pair[1], ("xnnpack",), DEFAULTS.timeout, drawn=False),
    }[name]()
    with question.opened() as ready:
        return ready.grain


def nothing(number: int) -> int:
    """A call without work."""
    return number


def seconds_a_call() -> float:
    """What handing a call out and taking its answer costs, on a local cluster."""
    import distributed

    from quantdiff.experiment.cluster import cluster

    local = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with local, cluster(local.scheduler_address) as on:
        list(on.map(nothing, range(10)))
        start = time.perf_counter()
        list(on.map(nothing, range(NOTHING)))
        return (time.perf_counter() - start) / NOTHING


def simulated(calls: Sequence[int], workers: int, opening: float, sample: float, hand_out: float) -> float:
    """Seconds until the last answer: one call after the other is handed out, to the worker that is free first."""
    free, now = [0.0] * workers, opening  # who asks opens the models, too
    for size in calls:
        now += hand_out
        start = max(now, heapq.heappop(free))
        heapq.heappush(free, start + opening + size * sample)
    return max(free)


def main() -> None:
    """One JSON document."""
    hand_out = seconds_a_call()
    found: dict[str, object] = {"seconds a call": round(hand_out, 5)}
    for title, (count, side) in SETS.items():
        with TemporaryDirectory() as name:
            folder, images = Path(name), smooth_images(max(map(max, FEW_AND_MANY.values())), (side, side, 3), seed=9)
            write_pair(mobilenet_v2(side), folder)
            for command in FEW_AND_MANY:
                opening, sample = costs(command, folder, images)
                parts = cut([Batch({"x": np.empty((count, 0))})], grain(command, folder, images))
                row: dict[str, float] = {"opening": round(opening, 2), "sample": round(sample, 4), "parts": len(parts)}
                for workers in WORKERS:
                    calls = [sum(map(len, call)) for call in calls_of(parts, workers)]
                    alone = opening + count * sample
                    seconds = alone if workers == 1 else simulated(calls, workers, opening, sample, hand_out)
                    row[f"{workers} workers, s"] = round(seconds)
                found[f"{title}, {command}"] = row
                print(title, command, row, file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
