"""End commands at random moments, and look at what they leave: no process, nothing half-written, nothing for good.

    uv run python scripts/end_at_random.py RUN_DIR [--moments 200] [--seconds 3600] [--seed 1] [--count]

RUN_DIR is the folder of ``quantdiff run``. Each command of ``COMMANDS`` runs once in peace, to learn how long it takes;
then it gets SIGTERM, SIGINT or SIGKILL at a random moment of that time. Right after it no process may be left and
nothing in shared memory; what it writes must be whole or not there; and when ``quantdiff inspect`` has run, no
temporary file. ``--count`` adds the run to ``tests/fuzz/counts.csv`` and writes the tables of ``docs/security.md``;
status 1 if anything was left. Needs Linux and the extra ``[keras]``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1] / "tests")

from fuzz.counting import Counts, append, commit  # noqa: E402

QUANTDIFF = Path(sys.executable).with_name("quantdiff")
PAIR = "model.tflite model.tflite --data x.npz"
COMMANDS = {
    "diff": f"diff {PAIR} --html out.html",
    "explain": f"explain {PAIR} --html out.html",
    "run": "run --model dense1 --data mnist-small --out out",
    "vectors": "vectors model.tflite --data x.npz --out out",
    "record": "record model.tflite --data x.npz --every-tensor --out out.npz",
    "reduce": f"reduce {PAIR} --check max_steps>=0 --for 3s --out out",
    "worst": f"worst {PAIR[:25]} --for 3s --out out.npz",
    "verify": "verify model.tflite --samples 8 --runtime all",
    "sweep": "sweep --models dense1 --seeds 0 --conditions float --data mnist-small --store out.db",
}
SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
SETTLES = 10.0  # seconds until the system has ended what was told to end, on a busy machine
ENDED_EARLY = (143, 130, -signal.SIGKILL)


def processes(mark: str) -> list[int]:
    """Those that have ``mark`` in their environment, and run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def shared() -> set[str]:
    """What has a name of ours in shared memory."""
    return {str(each) for each in Path("/dev/shm").glob("quantdiff*")}


def left(folder: Path, mark: str, before: set[str]) -> list[str]:
    """What is there now that should not be, and was not before."""
    end = time.monotonic() + SETTLES
    while processes(mark) and time.monotonic() < end:
        time.sleep(0.05)
    found = [f"process {pid}" for pid in processes(mark)]
    return (
        found
        + sorted(shared() - before)
        + [f"{path.name} is cut off" for path in folder.rglob("out*") if not whole(path)]
    )


def whole(path: Path) -> bool:
    """Whether a file was written to its end."""
    if path.suffix == ".npz":
        return zipfile.is_zipfile(path)
    return path.suffix != ".html" or path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def one(command: str, number: signal.Signals | None, moment: float, run: Path) -> tuple[float, int, list[str]]:
    """Seconds, status, and what is left: at once, or after the next start."""
    with tempfile.TemporaryDirectory() as name:
        folder, temporary = Path(name, "here"), Path(name, "tmp")
        for each in (folder, temporary):
            each.mkdir()
        for file in ("model.tflite", "x.npz"):
            shutil.copy(run / file, folder)
        mark = f"QUANTDIFF_ENDED_AT_RANDOM={name}"
        environment = {**os.environ, "TMPDIR": str(temporary), **dict([mark.split("=")])}
        words = [str(QUANTDIFF), *command.split()]
        start, before = time.monotonic(), shared()
        with (temporary.parent / "said").open("wb") as said:
            child = subprocess.Popen(words, cwd=folder, env=environment, stdout=said, stderr=said)
            if number is not None:
                try:
                    child.wait(moment)
                except subprocess.TimeoutExpired:
                    child.send_signal(number)
            status = child.wait()
        took, found = time.monotonic() - start, left(folder, mark, before)
        subprocess.run(
            [QUANTDIFF, "inspect", "model.tflite"], cwd=folder, env=environment, check=True, capture_output=True
        )
        if "--out out " not in f"{command} ":  # a folder is swept by the next command that writes there
            found += [each.name for each in folder.glob(".unfinished-*")] if number is not signal.SIGKILL else []
        found += [f"tmp/{each.name}" for each in temporary.iterdir()]
        text = (temporary.parent / "said").read_text(errors="replace")
        found += ["a traceback"] if "Traceback" in text else []
        return took, status, found


def main() -> int:
    """A row for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", action="store_true")
    asked = parser.parse_args()
    tried_commit = commit()
    rng, counts, takes = random.Random(asked.seed), Counts(), dict[str, float]()
    end = time.monotonic() + asked.seconds
    for moment in range(asked.moments):
        if time.monotonic() > end:
            break
        name = [*COMMANDS][moment % len(COMMANDS)]
        if name not in takes:
            takes[name] = one(COMMANDS[name], None, 0, asked.run)[0]
        number = rng.choice(SIGNALS)
        at = rng.random() * takes[name]
        _, status, found = one(COMMANDS[name], number, at, asked.run)
        row = f"quantdiff {name}", number.name
        counts.tried[row] += 1
        counts.whole[row] += 1
        counts.refused[row] += status in ENDED_EARLY
        counts.failed[row] += bool(found)
        counts.failures += [f"{name}, {number.name} after {at:.2f} s: {', '.join(found)}"] if found else []
        print("\r", moment + 1, file=sys.stderr, end="", flush=True)
    for row, tried in sorted(counts.tried.items()):
        print(*row, f"{tried} tried, {counts.refused[row]} ended early, {counts.failed[row]} left something")
    print(*counts.failures, sep="\n")
    if asked.count:
        append(counts, tried_commit, asked.seed)
    return int(bool(counts.failures))


if __name__ == "__main__":
    sys.exit(main())
