"""``explain`` of a quantization-aware dense network on 10,000 digits, beside ``diff`` of the same.

    uv run --extra keras python benchmarks/explain_dense.py RUN_DIR MNIST_NPZ [ROUNDS]

RUN_DIR is the folder of ``quantdiff run --model dense4 --quantize``, MNIST_NPZ holds ``x_test``. Prints seconds of
processor time of each whole command with its children, the least of ROUNDS, taken in turns; and the ratio.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory

import numpy as np

IMAGES, GOAL = 10_000, 2.0


def processor_time(command: list[str]) -> float:
    """Seconds of one whole command, its children included."""
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode in (0, 1), done.stderr.decode()
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(run: Path, digits: Path, rounds: int) -> None:
    """One JSON document."""
    here = shutil.which("quantdiff") or str(Path(sys.executable).parent / "quantdiff")
    least = {"diff": float("inf"), "explain": float("inf")}
    with TemporaryDirectory() as folder, np.load(digits) as archive:
        data = Path(folder) / "data.npz"
        np.savez(data, allow_pickle=False, x=(archive["x_test"][:IMAGES] / 255).astype(np.float32))
        about = [str(run / "qat.h5"), str(run / "model.tflite"), "--data", str(data), "--runtime", "reference"]
        for _ in range(rounds):
            for command, known in least.items():
                taken = processor_time([here, command, *about, "--timeout", "1200"])
                least[command] = min(known, taken)
    print(json.dumps({**least, "explain / diff": round(least["explain"] / least["diff"], 2), "goal": GOAL}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
