"""A newcomer's path: from a machine with Python and git to the first report, in seconds per step.

    uv run python benchmarks/newcomer.py [--cold] [COMMIT]

Installs uv, clones this repository into a scratch folder, sets up a fresh environment there and runs the first command
of README.
``--cold`` begins with an empty cache of packages, so that all are fetched; else the cache of this machine is used.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORT = "quantdiff run --model dense4 --quantize"
GOAL = 180.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="an empty cache of packages")
    parser.add_argument("commit", nargs="?", default="HEAD")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, environment = Path(scratch) / "quantdiff", fresh_environment(Path(scratch), cold=arguments.cold)
        tools = Path(scratch) / "tools"
        subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
        uv = str(tools / "bin/uv")
        steps = {
            "pip install uv": [str(tools / "bin/pip"), "install", "--quiet", "uv"],
            "git clone": ["git", "clone", "--quiet", str(ROOT), str(folder)],
            "choose the commit": ["git", "-C", str(folder), "checkout", "--quiet", commit_of(arguments.commit)],
            "uv sync (the first part of uv run)": [uv, "sync", "--quiet"],
            f"uv run {REPORT}": [uv, "run", *REPORT.split()],
            "the same, once more": [uv, "run", *REPORT.split()],
        }
        took = {name: seconds(command, folder, environment) for name, command in steps.items()}
    *first, _ = took.values()
    print(f"cache of packages: {'empty' if arguments.cold else 'warm'}; cores: {os.cpu_count()}; load {load()}")
    for name, (passed, busy) in took.items():
        print(f"{passed:7.1f} s, {busy:6.1f} s of a core  {name}")
    passed, busy = (sum(each) for each in zip(*first, strict=True))
    print(f"{passed:7.1f} s, {busy:6.1f} s of a core  from nothing to the first report (goal: under {GOAL:.0f} s)")


def fresh_environment(scratch: Path, *, cold: bool) -> dict[str, str]:
    """Nothing of this repository's own environment; no data sets, and with ``cold`` no packages at hand."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT")}
    cache = {"UV_CACHE_DIR": str(scratch / "cache"), "PIP_NO_CACHE_DIR": "1"} if cold else {}
    return {**kept, **cache, "KERAS_HOME": str(scratch / "keras")}


def commit_of(name: str) -> str:
    done = subprocess.run(["git", "rev-parse", name], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def seconds(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """How long a step takes, and for how long it kept a core busy; its output is shown only if it fails."""
    start, before = time.monotonic(), busy_so_far()
    where = folder if folder.is_dir() else folder.parent
    done = subprocess.run(command, check=False, cwd=where, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return time.monotonic() - start, busy_so_far() - before


def busy_so_far() -> float:
    """Seconds of a core that steps have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def load() -> str:
    """How busy the machine was over the last minute: processes that wanted a core."""
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
