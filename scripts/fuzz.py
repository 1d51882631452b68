"""Damage files of every kind that is read in this process, and count what became of them.

    uv run python scripts/fuzz.py --seconds 600 --seed 1 [--count]

Prints each failure by the number that makes its file again (``--save SEED/NUMBER FILE``); status 1 if there is one.
``--count`` adds the run to ``tests/fuzz/counts.csv``, and writes the table of all runs into ``docs/security.md``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "tests")  # the models are those of the tests

from fuzz.counting import append, table  # noqa: E402
from fuzz.fuzzing import make, run  # noqa: E402

PAGE = ROOT / "docs" / "security.md"
BLOCK = re.compile(r"(?<=<!-- fuzz -->\n).*?(?=<!-- end -->)", re.DOTALL)


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
    commit = _commit()
    counts = run(asked.seconds, asked.seed)
    print(
        f"{counts.tried.total():,} files, {counts.whole.total():,} through all that reads them",
        *counts.failures,
        sep="\n",
    )
    if asked.count:
        append(counts, commit, asked.seed)
        PAGE.write_text(BLOCK.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return int(bool(counts.failures))


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
