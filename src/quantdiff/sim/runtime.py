"""The runtimes whose arithmetic is simulated, each on an architecture, and the releases that they were checked with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


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


def doubt(package: str, installed: Mapping[str, str], machine: str = ARCHITECTURES[0]) -> str:
    """What to know where a runtime's package is not in a release, or runs on no machine, that was checked; or empty."""
    if package not in CHECKED:
        return ""
    if machine not in ARCHITECTURES:
        return f"the rules were checked on {', '.join(ARCHITECTURES)}; {machine} may round otherwise"
    version, checked = installed.get(package, "an unknown version"), CHECKED[package]
    if version in checked:
        return ""
    return f"the rules were checked with {package} {', '.join(checked)}; {version} is installed and may round otherwise"
