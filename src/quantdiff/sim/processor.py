"""What of this machine's processor decides how floats are summed, where kernels do not agree.

XNNPACK: ``src/configs/unary-elementwise-config.c``, ``src/configs/binary-elementwise-config.c``.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

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
