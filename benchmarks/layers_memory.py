"""Peak memory of ``diff --layers`` on 10,000 and on 100,000 images: it must not grow with the data.

    uv run python benchmarks/layers_memory.py RUN_DIR

RUN_DIR is the folder of ``quantdiff run --model CNN --quantize``: its models, and its digits again and again.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

SIZES = 10_000, 100_000


def one(run: Path, data: Path) -> None:
    """In a process of its own: peak MB."""
    from quantdiff import api

    outcome = api.diff(run / "qat.h5", run / "model.tflite", data, layers=True)
    assert outcome.layers[0].layers
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(run: Path) -> None:
    """One JSON document: peak MB by number of images, and the ratio."""
    with np.load(run / "data.npz") as archive:
        x, y = archive["x"], archive["y"]
    peaks = {}
    with TemporaryDirectory() as folder:
        for size in SIZES:
            data, times = Path(folder) / f"{size}.npz", -(-size // len(x))
            np.savez(data, allow_pickle=False, x=np.tile(x, (times, 1, 1))[:size], y=np.tile(y, times)[:size])
            command = [sys.executable, __file__, str(run), str(data)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            peaks[size] = round(float(done.stdout.split()[-1]), 1)
    print(json.dumps({"peak MB": peaks, "ratio": round(peaks[SIZES[1]] / peaks[SIZES[0]], 3)}))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        one(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]))
