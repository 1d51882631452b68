"""ARM64 on another machine: an emulator and a folder with Python and LiteRT for it."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantdiff"
CPU = "cortex-a76"


def command(architecture: str) -> list[str]:
    """What starts Python there."""
    root = CACHE / architecture
    return ["/usr/bin/env", f"PYTHONPATH={root / 'site'}", str(root / "qemu-aarch64"), "-cpu", CPU, "-L", str(root), str(root / "usr/bin/python3.11"), "-S"]
