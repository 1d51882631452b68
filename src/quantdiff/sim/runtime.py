"""The runtimes whose arithmetic is simulated, each on an architecture."""

from __future__ import annotations

from enum import Enum


class Runtime(Enum):
    """Which kernels compute: see ``docs/numerics.md``.

    A plain value is a runtime on x86-64, ``NAME@arm64`` the same one on ARM64. TensorFlow Lite Micro has no wheel for
    ARM64, so nobody has measured it there.
    """

    XNNPACK = "xnnpack"
    BUILTIN = "builtin"
    REFERENCE = "reference"
    TFLM = "tflm"
    XNNPACK_ARM64 = "xnnpack@arm64"
    BUILTIN_ARM64 = "builtin@arm64"
    REFERENCE_ARM64 = "reference@arm64"

    @property
    def family(self) -> Runtime:
        """The same runtime on x86-64."""
        return FAMILY[self]

    @property
    def neighbours(self) -> tuple[Runtime, ...]:
        """The runtimes of its architecture, itself too."""
        return tuple(each for each in Runtime if each.on_arm64 == self.on_arm64)

    @property
    def on_arm64(self) -> bool:
        """Whether these are the rules of ARM64."""
        return self.value.endswith("@arm64")

    __hash__ = object.__hash__  # each is one object: kernels ask often


FAMILY = {runtime: Runtime(runtime.value.partition("@")[0]) for runtime in Runtime}


ARM64 = {runtime.family: runtime for runtime in Runtime if runtime.on_arm64}
"""The same runtime on ARM64, where it is known there."""
