"""The closed form of the expected error against what is measured, on the zoo's models.

uv run python benchmarks/expected.py [MNIST_NPZ] [--models NAME …] [--seeds N …]

Shares are means over the seeds. A row is printed as soon as it is known; what is being done stands on standard error,
with the memory used so far. With 10,000 digits all of it takes seven minutes of one core, most of them for the CNN, and
2.9 GB.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from quantdiff import api
from quantdiff.experiment.datasets import cache_path
from quantdiff.experiment.trial import Trial
from quantdiff.ladder.explanation import Explanation

MODELS = ("dense1", "dense2", "dense3", "dense4", "CNN")
RUNTIMES = ("reference", "builtin", "xnnpack", "tflm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", nargs="?", type=Path, default=cache_path())
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[3])
    arguments = parser.parse_args()
    print("| model | runtime | outputs | differing | expected | ratio |\n|---|---|---:|---:|---:|---:|", flush=True)
    for name in arguments.models:
        trials = [Trial(name, seed, str(arguments.mnist), quantize=True) for seed in arguments.seeds]
        for each in zip(*(explanations(trial) for trial in trials), strict=True):
            print(row(name, each), flush=True)


def explanations(trial: Trial) -> Iterator[Explanation]:
    """Train once, then one runtime after the other."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        tell(f"{trial.model}: training")
        api.run(trial, out)
        for runtime in RUNTIMES:
            start = time.monotonic()
            files = out / "qat.h5", out / "model.tflite", out / "data.npz"
            answer = api.explain(*files, api.Settings(runtimes=(runtime,)))
            yield from answer.found
            for failure in answer.failures:
                tell(f"{trial.model}: {failure.runtime}: {failure.error}")
            tell(f"{trial.model}: {runtime} took {time.monotonic() - start:.0f} s")


def tell(line: str) -> None:
    """Say it on standard error, with the most memory that this process has had."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{line} (at most {used:,.0f} MB)", file=sys.stderr, flush=True)


def row(name: str, seeds: Sequence[Explanation]) -> str:
    """What the seeds of one model give together on one runtime."""
    count, differing = sum(each.count for each in seeds), sum(each.differing for each in seeds)
    closed = [each.expected * each.count for each in seeds if each.expected is not None]
    known = len(closed) == len(seeds)
    ratio = f"{sum(closed) / differing:.2f}" if known and differing else ""
    shown = f"{sum(closed) / count:.3%}" if known else ""
    return f"| {name} | {seeds[0].runtime} | {count:,} | {differing / count:.3%} | {shown} | {ratio} |"


if __name__ == "__main__":
    main()
