"""What of this machine's processor decides which of XNNPACK's kernels run, where they do not agree.

XNNPACK: ``src/configs/unary-elementwise-config.c``, ``src/configs/binary-elementwise-config.c``.
"""

from __future__ import annotations

from functools import cache


@cache
def has_avx512() -> bool:
    """Whether XNNPACK takes its AVX-512 kernels; False where that cannot be told."""
    from llvmlite import binding  # noqa: PLC0415 (heavy, and seldom needed)

    try:
        return bool(binding.get_host_cpu_features().get("avx512f", False))
    except RuntimeError:  # LLVM does not know the processor
        return False
