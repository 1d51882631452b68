"""The main job against its peers, side by side in one run: ratios, not seconds, are the result.

    uv run python benchmarks/main_job.py [MNIST_NPZ] [--rounds N]

(a) ``quantdiff run --model dense4 --quantize`` against ``plain_script.py``, whole processes, full MNIST;
(b) ``quantdiff --help`` against a bare ``python -c pass``, and ``diff`` of two ``.tflite`` files;
(c) the child process against the same interpreter in-process, 10,000 digits, quantization included.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from keras_home import with_mnist

from quantdiff.experiment.datasets import cache_path, load_dataset
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import quantize
from quantdiff.run.batches import Engine
from quantdiff.run.runner import RuntimeProcess

QUANTDIFF = [str(Path(sys.executable).parent / "quantdiff")]
PEER = [sys.executable, str(Path(__file__).parent / "plain_script.py")]


def main() -> None:
    """Run all three and print what they show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", nargs="?", type=Path, default=cache_path())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with_mnist(Path(folder), arguments.mnist)
        out = Path(folder) / "run"
        whole_job(out, arguments.mnist, arguments.rounds)
        start_up(out, arguments.rounds)
        child_process(out)


def whole_job(out: Path, mnist: Path, rounds: int) -> None:
    """(a): medians of whole processes, taken in turns."""
    ours = [*QUANTDIFF, "run", "--model", "dense4", "--quantize", "--data", "mnist", "--out", str(out)]
    pairs = [(wall(ours), wall([*PEER, str(mnist)])) for _ in range(rounds)]
    show(
        "(a) run --model dense4 --quantize", "plain script", *zip(*pairs, strict=True), goal="at least 1.5 times faster"
    )


def start_up(out: Path, rounds: int) -> None:
    """(b): the help page, and a comparison that needs no TensorFlow."""
    bare = [wall([sys.executable, "-c", "pass"]) for _ in range(5 * rounds)]
    help_page = [wall([*QUANTDIFF, "--help"]) for _ in range(5 * rounds)]
    ours, least = statistics.median(help_page), statistics.median(bare)
    print(f"(b) --help {ours:.3f} s, bare Python {least:.3f} s (goal: under 0.15 s)")
    model = str(out / "model.tflite")
    command = [*QUANTDIFF, "diff", model, model, "--data", str(out / "data.npz")]
    took = statistics.median(wall(command) for _ in range(rounds))
    print(f"    diff of two .tflite files, 10,000 digits: {took:.2f} s, TensorFlow never imported")


def child_process(out: Path) -> None:
    """(c): the same engine here and in the child, in turns, best of many: what is left is the cost of the process."""
    digits = load_dataset("mnist").x_test
    path = out / "model.tflite"
    tensor = load_tflite(path).main.tensors[load_tflite(path).main.inputs[0]]
    assert tensor.quant is not None
    quant, dtype = tensor.quant, tensor.dtype
    for runtime in ("xnnpack", "reference"):
        engine = Engine(runtime, str(path), batch=True)
        with RuntimeProcess(runtime) as process:
            process.load(path)
            here: Callable[[], object] = lambda: in_process(engine, quantize(digits, quant, dtype))  # noqa: B023, E731
            there: Callable[[], object] = lambda: process.run([quantize(digits, quant, dtype)], 1, lambda done: None)  # noqa: E731
            here(), there()
            times = [(seconds(there), seconds(here)) for _ in range(15)]
        show(f"(c) child process, {runtime}", "in-process", *zip(*times, strict=True), goal="ratio under 1.1")


def in_process(engine: Engine, inputs: Any) -> dict[int, Any]:
    """The engine's outputs, by number, without a child."""
    outputs: dict[int, Any] = {}

    def take(output: int, count: int, start: int, values: Any) -> None:
        if start == 0:
            outputs[output] = np.empty((count, *values.shape[1:]), values.dtype)
        outputs[output][start : start + len(values)] = values

    engine.run([inputs], lambda done: None, take)
    return outputs


def show(name: str, peer: str, ours: tuple[float, ...], theirs: tuple[float, ...], goal: str) -> None:
    """One line: both medians and their ratio."""
    a, b = statistics.median(ours), statistics.median(theirs)
    spread = f"{min(ours):.3f}–{max(ours):.3f} s against {min(theirs):.3f}–{max(theirs):.3f} s"
    print(f"{name}: {a:.3f} s, {peer}: {b:.3f} s; ours/peer {a / b:.3f}, peer/ours {b / a:.2f} ({goal}; {spread})")


def wall(command: list[str]) -> float:
    """Seconds of a whole process.

    Raises:
        subprocess.CalledProcessError: it failed, so its time says nothing.
    """
    return seconds(lambda: subprocess.run(command, check=True, capture_output=True))


def seconds(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
