"""Damage files of every kind that is read in this process, and count what became of them.

    uv run python scripts/fuzz.py --seconds 600 --seed 1 [--table]

Prints the counts, and each failure by the number that makes its file again (``--save SEED/NUMBER FILE``); status 1 if
there is one. ``--table`` writes the counts into ``docs/security.md``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "tests")  # the models are those of the tests

from fuzz.fuzzing import Counts, make, run  # noqa: E402

PAGE = ROOT / "docs" / "security.md"
BLOCK = re.compile(r"(?<=<!-- fuzz -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--save", nargs=2, metavar=("SEED/NUMBER", "FILE"))
    asked = parser.parse_args()
    if asked.save:
        seed, number = map(int, asked.save[0].split("/"))
        Path(asked.save[1]).write_bytes(make(seed, number)[2])
        return 0
    counts = run(asked.seconds, asked.seed)
    text = table(counts, asked.seed)
    print(text, *(failure for failures in counts.failed.values() for failure in failures), sep="\n")
    if asked.table:
        PAGE.write_text(BLOCK.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return int(bool(counts.failed))


def table(counts: Counts, seed: int) -> str:
    """Attack × tried × failed, in Markdown."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = [f"{counts.tried.total():,} files, seed {seed}, commit {commit}:", ""]
    lines += ["| file | attack | tried | read | refused | failed |", "|---|---|--:|--:|--:|--:|"]
    for key, tried in sorted(counts.tried.items()):
        refused, failed = counts.refused[key], len(counts.failed.get(key, ()))
        lines.append(f"| `{key[0]}` | {key[1]} | {tried:,} | {tried - refused - failed:,} | {refused:,} | {failed:,} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
