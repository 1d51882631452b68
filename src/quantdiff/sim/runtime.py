"""The runtimes whose arithmetic is simulated, each on an architecture, and what this machine's processor decides.

``CHECKED`` has the releases that they were checked with. Where kernels do not agree, the processor decides how floats
are summed; XNNPACK: ``src/configs/unary-elementwise-config.c``, ``src/configs/binary-elementwise-config.c``.
"""

from __future__ import annotations

import platform
from enum import Enum
from functools import cache
from pathlib import Path


class Runtime(Enum):
    """Which kernels compute: see ``docs/numerics.md``.

    A plain value is a runtime on x86-64, ``NAME@arm64`` the same one on ARM64. TensorFlow Lite Micro has no wheel for
    ARM64, so nobody has measured it there.

    Attributes:
        family: the same runtime on x86-64.
        on_arm64: whether these are the rules of ARM64.
    """

    family: Runtime
    on_arm64: bool

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"
    TFLM = "tflm"
    XNNPACK_ARM64 = "xnnpack@arm64"
    BUILTIN_ARM64 = "builtin@arm64"
    REFERENCE_ARM64 = "reference@arm64"

    def __init__(self, name: str) -> None:
        self.on_arm64 = name.endswith("@arm64")

    @property
    def neighbours(self) -> tuple[Runtime, ...]:
        """The runtimes of its architecture, itself too."""
        return tuple(each for each in Runtime if each.on_arm64 == self.on_arm64)

    __hash__ = object.__hash__  # each is one object: kernels ask often


for each in Runtime:
    each.family = Runtime(each.value.partition("@")[0])


ARM64 = {runtime.family: runtime for runtime in Runtime if runtime.on_arm64}
"""The same runtime on ARM64, where it is known there."""


CHECKED = {
    "ai-edge-litert": ("2.3.0",),
    "tflite-micro": ("0.dev20261023182759",),
}
"""Versions by package; a release joins when the golden tests pass on it."""


ARCHITECTURES = ("x86_64", "arm64")
"""Those on which they were checked."""


CACHES, PROCESSOR = Path("/sys/devices/system/cpu/cpu0/cache"), Path("/proc/cpuinfo")


def is_arm64() -> bool:
    """Whether this very machine is one, whose C library is that of its runtimes."""
    return platform.machine().lower() in ("aarch64", "arm64")


@cache
def has_avx512() -> bool:
    """Whether XNNPACK takes its AVX-512 kernels; False where the system does not tell."""
    return "avx512f" in _features()


@cache
def has_avx512_vnni() -> bool:
    """Whether XNNPACK takes its kernels for AVX-512 with VNNI; False where the system does not tell."""
    return {"avx512f", "avx512_vnni"} <= _features()


@cache
def _features() -> frozenset[str]:
    """Of the processor, by Linux' names."""
    try:
        lines = PROCESSOR.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


@cache
def level_1_data_cache() -> int | None:
    """Bytes of the first cache, by which Eigen cuts long sums; None where the system does not tell."""
    try:
        for index in CACHES.glob("index*"):
            level, kind, size = (
                (index / name).read_text(encoding="utf-8").strip() for name in ("level", "type", "size")
            )
            if (level, kind) == ("1", "Data"):
                return int(size.removesuffix("K")) * 1024
    except (OSError, ValueError):
        pass
    return None
