"""What it costs that Keras opens and runs a file in a child: ``diff`` so, and with Keras in the same process.

    uv run python benchmarks/child_of_keras.py RUN_DIR DATA.npz [--times 5]

RUN_DIR is the folder of ``quantdiff run --quantize``. Both take turns as whole commands. Prints, as JSON, the smallest
elapsed and processor seconds of each, children among them, and their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

CHILD = "import sys; from quantdiff.cli import console; sys.exit(console())"
HERE = """
from dataclasses import replace
from quantdiff.references.formats import FORMATS, formats
for name, known in formats().items():
    FORMATS._entries[name] = replace(known, framework=None)
"""
WAYS = {"child": CHILD, "here": HERE + CHILD}


def cost(way: str, command: list[str]) -> tuple[float, float]:
    """Elapsed and processor seconds of a command that Keras takes part in."""
    start, before = time.monotonic(), os.times()
    status = subprocess.run([sys.executable, "-c", WAYS[way], *command], check=False, capture_output=True).returncode
    if status not in (0, 1):
        raise SystemExit(f"{way}: status {status}")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - start, used


def main() -> None:
    """See the module's description."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    command = ["diff", str(given.run / "qat.h5"), str(given.run / "model.tflite"), "--data", str(given.data)]
    costs = [{way: cost(way, command) for way in WAYS} for _ in range(given.times)]
    smallest = {way: [min(each[way][k] for each in costs) for k in (0, 1)] for way in WAYS}
    found = {
        what: {way: smallest[way][k] for way in WAYS} | {"ratio": smallest["child"][k] / smallest["here"][k]}
        for k, what in enumerate(("elapsed", "processor"))
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
