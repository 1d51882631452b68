"""The releases that the kernels' rules were checked with: rules drift between releases."""

from __future__ import annotations

from collections.abc import Mapping

from quantdiff.sim.runtime import Runtime

CHECKED = {
    "ai-edge-litert": ("2.3.0",),
    "tflite-micro": ("0.dev20261023182759",),
}
"""Versions by package; a release joins when the golden tests pass on it."""


def doubt(runtime: Runtime, installed: Mapping[str, str]) -> str:
    """What to know where the package behind ``runtime`` is not one that was checked; empty where it is."""
    package = "tflite-micro" if runtime is Runtime.TFLM else "ai-edge-litert"
    version, checked = installed.get(package, "an unknown version"), CHECKED[package]
    if version in checked:
        return ""
    return f"the rules were checked with {package} {', '.join(checked)}; {version} is installed and may round otherwise"
