"""What a data set of ImageNet's or COCO's size takes on 1, 2 and 16 workers: costs measured, the cluster simulated.

    uv run --extra dask python benchmarks/many_machines.py

Measured on MobileNetV2 (float beside int8, xnnpack), at 224 × 224 as for ImageNet and at 320 × 320 as detectors on COCO
have it: processor seconds, those of the children included, of opening, of a part and of a sample; and what a call costs
a scheduler of ``distributed`` on this machine. Simulated: calls as ``quantdiff.api.parts`` cuts them, handed out one
after the other to whoever is free, each worker one core.
"""

from __future__ import annotations

import heapq
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from quantdiff.api.engines import DEFAULTS
from quantdiff.api.parameters import ParamsQuestion
from quantdiff.api.parts import calls_of
from quantdiff.api.shards import DiffQuestion
from quantdiff.api.verifications import VerifyQuestion
from quantdiff.load.data import Batch
from quantdiff.run.data_in_parts import Part, cut
from quantdiff.run.runner import silent

SETS = {"ImageNet": (50_000, 224), "COCO": (5_000, 320)}
WORKERS = 1, 2, 16
FEW_AND_MANY = {"diff": (2, 18), "diff --layers": (2, 18), "params": (2, 18), "verify": (1, 3)}
NOTHING = 200  # calls that do nothing
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Processor seconds of opening, of a part, of a sample; and how many samples a part has."""

    opening: float
    part: float
    sample: float
    grain: int

    def of(self, parts: int, samples: int) -> float:
        """Of one call."""
        return self.opening + parts * self.part + samples * self.sample


def spent() -> float:
    """Processor seconds of this process, of its children that ended, and of those that are alive, with theirs."""
    ended, total, waiting = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time(), [os.getpid()]
    parents: dict[int, list[tuple[int, float]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            own = sum(map(int, words[11:15])) / TICK
            parents.setdefault(int(words[1]), []).append((int(entry.name), own))
    for parent in waiting:  # grows while it is walked
        for child, own in parents.get(parent, ()):
            total += own
            waiting.append(child)
    return total + ended.ru_utime + ended.ru_stime


def cost(name: str, folder: Path, images: np.ndarray, total: int) -> Cost:
    """What a command costs, in this process, on parts of so many samples."""
    pair, first = (folder / "float.tflite", folder / "int8.tflite"), Batch({"input": images[:4]})
    questions: dict[str, Any] = {
        "diff": DiffQuestion(*pair, DEFAULTS, layers=False, first=first),
        "diff --layers": DiffQuestion(*pair, DEFAULTS, layers=True, first=first),
        "params": ParamsQuestion(*pair, DEFAULTS, first),
        "verify": VerifyQuestion(pair[1], ("xnnpack",), DEFAULTS.timeout, drawn=False),
    }
    few, many = FEW_AND_MANY[name]
    times = [spent()]
    with questions[name].opened() as ready:
        times.append(spent())
        for count in (few, few, many):  # the first one loads what all need
            ready.answer(Part(Batch({"input": images[:count]}), 0, count, 0, total), silent)
            times.append(spent())
        opening, loading, small, large = np.diff(times).tolist()
        sample = (large - small) / (many - few)
        return Cost(opening + max(0.0, loading - small), max(0.0, small - few * sample), sample, ready.grain)


def nothing(number: int) -> int:
    """A call without work."""
    return number


def seconds_a_call() -> float:
    """What handing a call out and taking its answer costs, on a local cluster."""
    import distributed

    from quantdiff.experiment.workers import cluster

    local = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with local, cluster(local.scheduler_address) as on:
        list(on.map(nothing, range(10)))
        start = time.perf_counter()
        list(on.map(nothing, range(NOTHING)))
        return (time.perf_counter() - start) / NOTHING


def simulated(calls: Sequence[Sequence[Part]], workers: int, each: Cost, start: float, hand_out: float) -> float:
    """Seconds until the last answer: one call after the other is handed out, to the worker that is free first."""
    free, now = [0.0] * workers, start + each.opening  # who asks opens the models, too
    for call in calls:
        now += hand_out
        begin = max(now, heapq.heappop(free))
        heapq.heappush(free, begin + each.of(len(call), sum(map(len, call))))
    return max(free)


def main() -> None:
    """One JSON document."""
    from networks import mobilenet_v2, smooth_images, write_pair  # not in the workers, which read this file again

    start, hand_out = spent(), seconds_a_call()
    found: dict[str, object] = {"start": round(start, 2), "seconds a call": round(hand_out, 5)}
    for title, (count, side) in SETS.items():
        with TemporaryDirectory() as name:
            folder, images = Path(name), smooth_images(max(map(max, FEW_AND_MANY.values())), (side, side, 3), seed=9)
            write_pair(mobilenet_v2(side), folder)
            for command in FEW_AND_MANY:
                each = cost(command, folder, images, count)
                parts = cut([Batch({"input": np.empty((count, 0))})], each.grain)
                row = {"opening": each.opening, "part": each.part, "sample": each.sample, "parts": len(parts)}
                row[f"{WORKERS[0]} worker"] = start + each.of(len(parts), count)
                for workers in WORKERS[1:]:
                    row[f"{workers} workers"] = simulated(calls_of(parts, workers), workers, each, start, hand_out)
                found[f"{title}, {command}"] = {key: round(value, 4) for key, value in row.items()}
                print(title, command, found[f"{title}, {command}"], file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
