"""The releases that the kernels' rules were checked with: rules drift between releases."""

from __future__ import annotations

from collections.abc import Mapping

CHECKED = {
    "ai-edge-litert": ("2.3.0",),
    "tflite-micro": ("0.dev20261023182759",),
}
"""Versions by package; a release joins when the golden tests pass on it."""


def doubt(package: str, installed: Mapping[str, str]) -> str:
    """What to know where this package of a runtime is not in a release that was checked; empty where it is."""
    version, checked = installed.get(package, "an unknown version"), CHECKED[package]
    if version in checked:
        return ""
    return f"the rules were checked with {package} {', '.join(checked)}; {version} is installed and may round otherwise"
