"""The releases that the kernels' rules were checked with: rules drift between releases."""

from __future__ import annotations

from collections.abc import Mapping

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
