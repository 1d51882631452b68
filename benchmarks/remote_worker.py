"""``diff`` over a stream against ``diff`` by a local child: whole processes, in turns; at load the least counts.

    uv run python benchmarks/remote_worker.py RUN_DIR [COMMAND]

RUN_DIR is what ``quantdiff run`` wrote. COMMAND starts a worker, this Python on this machine unless told:
``ssh 127.0.0.1 python3 -m quantdiff.run.worker`` for loopback.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROUNDS = 5
HERE = f"{sys.executable} -P -m quantdiff.run.worker"
CONSOLE = "from quantdiff.cli import console; console()"


def seconds(home: Path, folder: str, runtime: str) -> float:
    """Of one run."""
    model, data = str(home / "model.tflite"), str(home / "data.npz")
    words = [sys.executable, "-P", "-c", CONSOLE, "diff", model, model, "--data", data, "--runtime", runtime]
    start = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print medians and least times of both, and their ratios."""
    home, command = Path(sys.argv[1]).resolve(), " ".join(sys.argv[2:]) or HERE
    with TemporaryDirectory() as folder:
        (Path(folder) / "quantdiff.toml").write_text(f"[runtimes.there]\ncommand = {json.dumps(command)}\n")
        taken: dict[str, list[float]] = {"builtin": [], "builtin@there": []}
        for _ in range(ROUNDS):
            for runtime, times in taken.items():
                times.append(seconds(home, folder, runtime))
    for name, of_all in (("median", median), ("least", min)):
        local, there = map(of_all, taken.values())
        print(f"{name}: local {local:.2f} s, stream {there:.2f} s, ratio {there / local:.2f}", flush=True)


if __name__ == "__main__":
    main()
