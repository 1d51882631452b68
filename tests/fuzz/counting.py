"""What became of damaged files and ended commands: all runs in ``counts.csv``, and its tables in the docs."""

from __future__ import annotations

import csv
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).with_name("counts.csv")
PAGE = Path(__file__).parents[2] / "docs" / "security.md"
COLUMNS = ("commit", "seed", "file", "attack", "tried", "whole", "refused", "failed", "ended")
LITERT = "LiteRT's verifier"
COMPILED = "The 4 of commit 5710502 are no fault of a file: a loop was compiled while the time of one ran."
UNEXPLAINED = "But one of commit 1791fb6 (102/139) was not: it has not come again, and why it failed was not found."
TRAINED = ".h5", ".keras", ".onnx", ".pt2"
Attacked = tuple[str, str]  # what was attacked, and how


@dataclass
class Counts:
    """How often each attack was tried, through all that reads the file, refused in one line, and failed.

    ``ended``: a library crashed, or went on for ever, in the process that read the file; in a child that is one line.
    """

    tried: Counter[Attacked] = field(default_factory=Counter)
    whole: Counter[Attacked] = field(default_factory=Counter)
    refused: Counter[Attacked] = field(default_factory=Counter)
    failed: Counter[Attacked] = field(default_factory=Counter)
    ended: Counter[Attacked] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def commit() -> str:
    """The commit that is tried."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=FILE.parent, capture_output=True, text=True, check=True).stdout.strip()


def append(counts: Counts, commit: str, seed: int) -> None:
    """Add a run to the file, and write the tables of all runs."""
    with FILE.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for key, tried in sorted(counts.tried.items()):
            others = (of[key] for of in (counts.whole, counts.refused, counts.failed, counts.ended))
            writer.writerow([commit, seed, *key, tried, *others])
    write_tables()


def write_tables() -> None:
    """The tables of all runs, into the docs."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        text = before + mark + table() + rest[rest.index("<!-- end -->") :]
    PAGE.write_text(text, encoding="utf-8")


def total(kind: str = "fuzz") -> tuple[Counts, dict[str, list[str]], Counter[str]]:
    """All runs of one table together, the seeds of each commit, and how often it failed."""
    counts, seeds, failed = Counts(), defaultdict[str, list[str]](list), Counter[str]()
    with FILE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if _table_of(row["file"]) != kind:
                continue
            for name in COLUMNS[4:]:
                getattr(counts, name)[row["file"], row["attack"]] += int(row[name] or 0)
            failed[row["commit"]] += int(row["failed"])
            if row["seed"] not in seeds[row["commit"]]:
                seeds[row["commit"]].append(row["seed"])
    return counts, seeds, failed


def _table_of(attacked: str) -> str:
    """``.npz`` is read in this process; ``verify .tflite`` in children; ``quantdiff verify`` is ended."""
    if attacked == LITERT:
        return "agreement"
    if " " in attacked:
        return "endings" if attacked.startswith("quantdiff ") else "children"
    return "trained" if attacked in TRAINED else "fuzz"


def fuzz() -> str:
    """Attack × tried × failed of the files that are read in this process, in Markdown."""
    counts, seeds, failed = total()
    models = [sum(of[key] for key in of if key[0] == ".tflite") for of in (counts.tried, counts.whole)]
    lines = [
        f"{counts.tried.total():,} files; {models[0]:,} of them are `.tflite`, {models[1]:,} of those went through",
        f"`inspect` and `lint`. Seeds: {_runs(seeds)}.",
    ]
    return "\n".join([*lines, *_rows(counts), *_mended(failed), COMPILED]) + "\n"


def trained() -> str:
    """Attack × tried × failed of trained models, in Markdown."""
    return _files("trained")


def children() -> str:
    """Attack × tried × failed of the files that are handed to children, in Markdown."""
    return _files("children") + UNEXPLAINED + "\n"


def _files(kind: str) -> str:
    counts, seeds, failed = total(kind)
    lines = [f"{counts.tried.total():,} files. Seeds: {_runs(seeds)}."]
    return "\n".join([*lines, *_rows(counts), *_mended(failed)]) + "\n"


def endings() -> str:
    """Signal × tried × left, in Markdown."""
    counts, seeds, failed = total("endings")
    lines = [f"{counts.tried.total():,} moments. Seeds: {_runs(seeds)}.", ""]
    lines += [
        "| command | signal | tried | ended by it | was done before | left something |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for (command, name), tried in sorted(counts.tried.items()):
        ended, left = counts.refused[command, name], counts.failed[command, name]
        lines.append(f"| `{command}` | {name} | {tried} | {ended} | {tried - ended} | {left} |")
    return "\n".join([*lines, *_mended(failed)]) + "\n"


def agreement() -> str:
    """What LiteRT's verifier and the reader here say of the same files, in Markdown."""
    counts, seeds, failed = total("agreement")
    lines = [f"{counts.tried.total():,} files. Seeds: {_runs(seeds)}.", ""]
    columns = "both read it alike | both refuse it | only the verifier takes it | only we take it, or read it otherwise"
    lines.append(f"| attack | files | {columns} |")
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for key, tried in sorted(counts.tried.items()):
        said = (f"{of[key]:,}" for of in (counts.whole, counts.refused, counts.ended, counts.failed))
        lines.append(f"| {key[1]} | {tried:,} | {' | '.join(said)} |")
    return "\n".join([*lines, *_mended(failed)]) + "\n"


def _runs(seeds: dict[str, list[str]]) -> str:
    return "; ".join(f"{', '.join(each)} of commit {commit}" for commit, each in seeds.items())


def _rows(counts: Counts) -> list[str]:
    ended = bool(counts.ended)
    lines = ["", f"| file | attack | tried | read | refused |{' library ended |' * ended} failed |"]
    lines += [f"|---|---|--:|--:|--:|{'--:|' * ended}--:|"]
    for key, tried in sorted(counts.tried.items()):
        refused, wrong, gone = (of[key] for of in (counts.refused, counts.failed, counts.ended))
        last = f" {gone:,} |" * ended
        read = tried - refused - wrong - gone
        lines.append(f"| `{key[0]}` | {key[1]} | {tried:,} | {read:,} | {refused:,} |{last} {wrong:,} |")
    return lines


def _mended(failed: Counter[str]) -> list[str]:
    mended = [f"{number} of commit {commit}" for commit, number in failed.items() if number]
    return ["", f"What failed, {', '.join(mended)}, is mended since, and a test."] if mended else []


TABLES: dict[str, Callable[[], str]] = {
    "fuzz": fuzz,
    "trained": trained,
    "children": children,
    "agreement": agreement,
    "endings": endings,
}
