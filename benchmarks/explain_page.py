"""``explain --html`` of one checkout next to another, in turns: what opening each model once is worth.

    uv run python benchmarks/explain_page.py RUN_DIR MNIST_NPZ [OTHER_QUANTDIFF]

RUN_DIR is the folder of ``quantdiff run --model dense4 --quantize``, MNIST_NPZ holds ``x_test``. OTHER_QUANTDIFF is the
command of another checkout (``…/.venv/bin/quantdiff``), the peer; without it the peer is ``diff --layers --html`` of
this one. Prints seconds, the best of each, and the ratio peer / this.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

ROUNDS, IMAGES = 3, 10_000


def seconds(command: list[str]) -> float:
    """One run of a whole process."""
    start = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode in (0, 1), done.stderr.decode()
    return time.perf_counter() - start


def main(run: Path, digits: Path, other: str | None) -> None:
    """One JSON document."""
    here = shutil.which("quantdiff") or str(Path(sys.executable).parent / "quantdiff")
    with TemporaryDirectory() as folder, np.load(digits) as archive:
        data = Path(folder) / "data.npz"
        np.savez(data, allow_pickle=False, x=(archive["x_test"][:IMAGES] / 255).astype(np.float32))
        files = [str(run / "qat.h5"), str(run / "model.tflite"), "--data", str(data)]
        page = ["--html", str(Path(folder) / "page.html")]
        ours = [here, "explain", *files, *page]
        peer = [other, "explain", *files, *page] if other else [here, "diff", *files, "--layers", *page]
        best = [float("inf"), float("inf")]
        for _ in range(ROUNDS):
            best = [min(known, seconds(command)) for known, command in zip(best, (ours, peer), strict=True)]
    names = "explain --html", "the other explain --html" if other else "diff --layers --html"
    print(json.dumps({**dict(zip(names, best, strict=True)), "peer / this": round(best[1] / best[0], 3)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
