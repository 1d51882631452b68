"""The closed form of the expected error against what is measured, on the zoo's models.

uv run python benchmarks/expected.py [MNIST_NPZ] [--seed N]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from quantdiff import api
from quantdiff.experiment.trial import Trial
from quantdiff.load.datasets import cache_path

MODELS = ("dense1", "dense2", "dense3", "dense4", "CNN")
RUNTIMES = ("reference", "builtin", "xnnpack", "tflm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", nargs="?", type=Path, default=cache_path())
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    print("| model | runtime | measured | expected | ratio |\n|---|---|---:|---:|---:|")
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            api.run(Trial(name, arguments.seed, str(arguments.mnist), quantize=True), out)
            answer = api.explain(
                out / "qat.h5", out / "model.tflite", out / "data.npz", api.Settings(runtimes=RUNTIMES)
            )
        for each in answer.found:
            closed = each.expected
            ratio = "" if closed is None or not each.differing else f"{closed / each.measured:.2f}"
            shown = "" if closed is None else f"{closed:.3%}"
            print(f"| {name} | {each.runtime} | {each.measured:.3%} | {shown} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
