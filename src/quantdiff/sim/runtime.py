"""The four runtimes whose arithmetic is simulated."""

from __future__ import annotations

from enum import Enum


class Runtime(Enum):
    """Which kernels compute: see ``docs/numerics.md``."""

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"
    TFLM = "tflm"
