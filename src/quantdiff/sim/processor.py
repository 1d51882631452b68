"""What of this machine's processor decides how floats are summed, where kernels do not agree.

XNNPACK: ``src/configs/unary-elementwise-config.c``, ``src/configs/binary-elementwise-config.c``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@cache
def has_avx512() -> bool:
    """Whether XNNPACK takes its AVX-512 kernels; False where that cannot be told."""
    return _has("avx512f")


@cache
def has_avx512_vnni() -> bool:
    """Whether XNNPACK takes its kernels for AVX-512 with VNNI; False where that cannot be told."""
    return _has("avx512f") and _has("avx512vnni")


def _has(feature: str) -> bool:
    from llvmlite import binding  # noqa: PLC0415 (heavy, and seldom needed)

    try:
        return bool(binding.get_host_cpu_features().get(feature, False))
    except RuntimeError:  # LLVM does not know the processor
        return False


@cache
def level_1_data_cache() -> int | None:
    """Bytes of the first cache, by which Eigen cuts long sums; None where the system does not tell."""
    try:
        for index in CACHES.glob("index*"):
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if (level, kind) == ("1", "Data"):
                return int(size.removesuffix("K")) * 1024
    except (OSError, ValueError):
        pass
    return None
