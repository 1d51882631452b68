"""``quantdiff sweep`` against the original script, and how its cost grows.

    uv run python benchmarks/sweep.py [MNIST_NPZ] [--peers N]

(a) the 16 runs of the original, dense1 to dense4 with seeds 0 to 3 on full MNIST: one sweep with two workers against 16
processes of ``plain_script.py``, one after the other as ``run.sh`` had them; ``--peers N`` runs only every 16/N-th;
(b) processor seconds a trial, of 8 trials and of 64, after the first of every worker, which imports TensorFlow;
(c) 10,000 trials into one store.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from keras_home import with_mnist

from quantdiff import api
from quantdiff.compare.comparison import Comparison, Figures
from quantdiff.experiment.datasets import cache_path
from quantdiff.experiment.store import Stored, open_store
from quantdiff.experiment.study import Study, make_study
from quantdiff.experiment.trial import Score, SweepResult, SweepTrial
from quantdiff.experiment.workers import Workers

QUANTDIFF = str(Path(sys.executable).parent / "quantdiff")
PLAIN = str(Path(__file__).parent / "plain_script.py")
RUNS = [(layers, seed) for seed in range(4) for layers in range(1, 5)]
JOBS, FEW, MANY = 2, 8, 64


def main() -> None:
    """Run all three and print what they show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", nargs="?", type=Path, default=cache_path())
    parser.add_argument("--peers", type=int, default=len(RUNS), choices=(4, 8, 16))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with_mnist(Path(folder), arguments.mnist)
        store_of_many(Path(folder))
        original(Path(folder), arguments.mnist, arguments.peers)
        growth(Path(folder))


def original(folder: Path, mnist: Path, peers: int) -> None:
    """(a): whole processes; the peers in two halves around the sweep, so that both meet the same company."""
    sweep = [QUANTDIFF, "sweep", "--models", "dense1,dense2,dense3,dense4", "--seeds", "0-3", "--data", "mnist"]
    sweep += ["--conditions", "qat-tflite", "--jobs", str(JOBS), "--store", str(folder / "original.db")]
    # Every model once per seed: any four in a row weigh the same.
    commands = [[sys.executable, PLAIN, str(mnist), str(n), str(seed)] for n, seed in RUNS[:peers]]
    first = seconds(lambda: [run(command) for command in commands[: peers // 2]])
    ours = seconds(lambda: run(sweep))
    theirs = (first + seconds(lambda: [run(command) for command in commands[peers // 2 :]])) * len(RUNS) / peers
    print(f"(a) 16 runs: sweep {ours:.1f} s, {peers} plain scripts × {16 // peers} {theirs:.1f} s", end="; ")
    print(f"{theirs / ours:.2f} times faster (goal: 4)", flush=True)


def growth(folder: Path) -> None:
    """(b): processor seconds a trial, children included, of the same two workers: 8 trials, then 64 others."""
    with Workers(JOBS) as on:

        def cost(first: int, trials: int) -> float:
            before = used(on)
            api.sweep(study(first, trials), folder / f"growth{first}.db", on)
            return (used(on) - before) / trials

        start = cost(0, JOBS)
        few, many = cost(JOBS, FEW), cost(JOBS + FEW, MANY)
    print(f"(b) a trial: {few:.2f} s of {FEW}, {many:.2f} s of {MANY}", end="; ")
    print(f"ratio {many / few:.3f} (goal: 0.9 to 1.1); {start:.1f} s for the first of each worker", flush=True)


def used(on: Workers) -> float:
    """Processor seconds of all workers so far."""
    told = dict(future.result() for future in [on.submit(used_here) for _ in range(JOBS)])
    assert len(told) == JOBS, "one worker answered for another"
    return sum(told.values())


def used_here() -> tuple[int, float]:
    """This process and the seconds that it and its children computed; slow enough for every worker to take a turn."""
    time.sleep(1)
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return os.getpid(), sum(each.ru_utime + each.ru_stime for each in both)


def study(first: int, trials: int) -> Study:
    """One condition of dense1, a seed a trial, on the small data set."""
    seeds = f"{first}-{first + trials - 1}"
    return make_study({"models": "dense1", "seeds": seeds, "conditions": "qat-tflite", "data": "mnist-small"})


def store_of_many(folder: Path) -> None:
    """(c): results of the size that real ones have; thousand by thousand."""
    ((trial,),) = make_study({"models": "dense4", "conditions": "qat-tflite", "data": "mnist-small"}).groups()
    figures = Figures(100_000, False, 0.1, 0.01, 1.0, 0.01, 0.05, 1337, 1, 50.0, 0.999, 1.0)
    comparison = Comparison("qat", "tflite:xnnpack", 0.01, figures, ())
    result = SweepResult((Score("tflite:xnnpack", 10_000, 1_000),), (comparison,))
    with open_store(folder / "many.db", create=True) as store:

        def add(thousand: int) -> None:
            for seed in range(1000 * thousand, 1000 * (thousand + 1)):
                store.add(Stored(seeded(trial, seed), result))

        times = [seconds(lambda n=thousand: add(n), time.process_time) for thousand in range(10)]  # type: ignore[misc]
        reading = seconds(store.keys)
    shown = ", ".join(f"{t:.2f}" for t in times)
    print(f"(c) 10,000 trials: {sum(times):.1f} s of processor time; by thousands {shown} s", end="; ")
    print(f"last half / first half {sum(times[5:]) / sum(times[:5]):.2f}; all keys in {reading:.3f} s", flush=True)


def seeded(trial: SweepTrial, seed: int) -> SweepTrial:
    """The same trial with another seed."""
    return replace(trial, training=replace(trial.training, seed=seed))


def run(command: list[str]) -> None:
    """A whole process; raises ``CalledProcessError`` when it fails, so that its time says nothing."""
    subprocess.run(command, check=True, capture_output=True)


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, by the clock on the wall or by the processor's."""
    start = clock()
    call()
    return clock() - start


if __name__ == "__main__":
    main()
