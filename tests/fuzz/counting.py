"""What became of the damaged files, added up over all runs: ``counts.csv``, and its table for the docs."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).with_name("counts.csv")
COLUMNS = ("commit", "seed", "file", "attack", "tried", "whole", "refused", "failed")
Attacked = tuple[str, str]  # the suffix, the attack


@dataclass
class Counts:
    """How often each attack was tried, through all that reads the file, refused in one line, and failed."""

    tried: Counter[Attacked] = field(default_factory=Counter)
    whole: Counter[Attacked] = field(default_factory=Counter)
    refused: Counter[Attacked] = field(default_factory=Counter)
    failed: Counter[Attacked] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def append(counts: Counts, commit: str, seed: int) -> None:
    """Add a run to the file."""
    with FILE.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for key, tried in sorted(counts.tried.items()):
            writer.writerow([commit, seed, *key, tried, counts.whole[key], counts.refused[key], counts.failed[key]])


def total() -> tuple[Counts, dict[str, list[str]], Counter[str]]:
    """All runs together, the seeds of each commit, and how often it failed."""
    counts, seeds, failed = Counts(), defaultdict[str, list[str]](list), Counter[str]()
    with FILE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name in COLUMNS[4:]:
                getattr(counts, name)[row["file"], row["attack"]] += int(row[name])
            failed[row["commit"]] += int(row["failed"])
            if row["seed"] not in seeds[row["commit"]]:
                seeds[row["commit"]].append(row["seed"])
    return counts, seeds, failed


def table() -> str:
    """Attack × tried × failed of all runs, in Markdown."""
    counts, seeds, failed = total()
    models = [sum(of[key] for key in of if key[0] == ".tflite") for of in (counts.tried, counts.whole)]
    runs = "; ".join(f"{', '.join(each)} of commit {commit}" for commit, each in seeds.items())
    lines = [
        f"{counts.tried.total():,} files; {models[0]:,} of them are `.tflite`, {models[1]:,} of those went through"
    ]
    lines += [f"`inspect` and `lint`. Seeds: {runs}.", "", "| file | attack | tried | read | refused | failed |"]
    lines += ["|---|---|--:|--:|--:|--:|"]
    for (suffix, attack), tried in sorted(counts.tried.items()):
        refused, wrong = (of[suffix, attack] for of in (counts.refused, counts.failed))
        read = tried - refused - wrong
        lines.append(f"| `{suffix}` | {attack} | {tried:,} | {read:,} | {refused:,} | {wrong:,} |")
    mended = [f"{number} of commit {commit}" for commit, number in failed.items() if number]
    lines += ["", f"What failed, {', '.join(mended)}, is mended since, and a test."] if mended else []
    return "\n".join(lines) + "\n"
