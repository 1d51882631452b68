"""Damage files of every kind that is read in this process, and count what became of them.

    uv run python scripts/fuzz.py --seconds 600 --seed 1 [--count]

Prints each failure by the number that makes its file again (``--save SEED/NUMBER FILE``); status 1 if there is one.
``--count`` adds the run to ``tests/fuzz/counts.csv``, and writes the table of all runs into ``docs/security.md``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1] / "tests")  # the models are those of the tests

from fuzz.counting import append, commit  # noqa: E402
from fuzz.fuzzing import make, run  # noqa: E402


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--save", nargs=2, metavar=("SEED/NUMBER", "FILE"))
    asked = parser.parse_args()
    if asked.save:
        seed, number = map(int, asked.save[0].split("/"))
        Path(asked.save[1]).write_bytes(make(seed, number)[2])
        return 0
    tried = commit()
    counts = run(asked.seconds, asked.seed)
    print(
        f"{counts.tried.total():,} files, {counts.whole.total():,} through all that reads them",
        *counts.failures,
        sep="\n",
    )
    if asked.count:
        append(counts, tried, asked.seed)
    return int(bool(counts.failures))


if __name__ == "__main__":
    sys.exit(main())
