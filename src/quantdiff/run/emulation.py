"""ARM64 on another machine: a folder with Python and LiteRT for it, and what runs them there. Imports no NumPy.

``run/emulation_root.py`` makes the folder; nothing here starts or downloads anything.
"""

from __future__ import annotations

import os
from pathlib import Path

PROCESSOR = "cortex-a76"
"""What is emulated. Others gave the same integers, but uint8 on XNNPACK may know its oldest ones."""
PYTHON, SITE, EMULATOR, COMPLETE = "usr/bin/python3", "site", "emulator", "complete"
"""What lies in the folder; ``COMPLETE`` is the last thing that is made."""
WORKER = """import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.path[:0] = sys.argv[1:]
runpy.run_module("quantdiff.run.worker", run_name="__main__")"""
BRINGS = "quantdiff runtimes --fetch arm64"


def cached() -> Path:
    """Where the folder is looked for: in the person's cache, or a link to it there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantdiff" / "arm64"


def root() -> Path | None:
    """The folder, if it is there and whole."""
    try:
        found = cached().resolve(strict=True)
        parts = [found / each for each in (COMPLETE, EMULATOR, PYTHON)]
        return found if all(part.is_file() and part.stat().st_size for part in parts) else None
    except (OSError, RuntimeError):
        return None


def python(folder: Path) -> tuple[str, ...]:
    """The words that start its Python, without anything of this machine's Python."""
    emulator = (str(folder / EMULATOR), "-cpu", PROCESSOR, "-L", str(folder))
    return *emulator, str((folder / PYTHON).resolve()), "-I", "-S"


def worker(folder: Path) -> tuple[str, ...]:
    """The words that start a worker there, of this very package."""
    source = Path(__file__).parents[2]
    return *python(folder), "-c", WORKER, str(folder / SITE), str(source)
