"""What a child of a runtime costs: forked from a process that has imported the worker, and started.

    uv run python benchmarks/children.py MODEL.tflite [--children 20]

Each loads the file on ``xnnpack`` and ends. Prints, as JSON, processor seconds a child, a share of the process that
forks among them, and their ratio. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from quantdiff.run import process
from quantdiff.run.runner import RuntimeProcess


def seconds(work: Callable[[], object]) -> float:
    """Processor time, of ended children too; the process that forks ends with the work."""
    process.end_servers()
    before = os.times()
    work()
    process.end_servers()
    return sum(os.times()[:4]) - sum(before[:4])


def load(model: Path, count: int) -> None:
    """One child after another."""
    for _ in range(count):
        with RuntimeProcess("xnnpack") as child:
            child.load(model)


def main() -> None:
    """See the module's description."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--children", type=int, default=20)
    given = parser.parse_args()
    forked = seconds(lambda: load(given.model, given.children)) / given.children
    with patch.object(process, "forked", lambda *_: None):
        started = seconds(lambda: load(given.model, given.children)) / given.children
    print(json.dumps({"forked": forked, "started": started, "ratio": started / forked}, indent=2))


if __name__ == "__main__":
    main()
