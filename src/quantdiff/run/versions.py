"""Which versions of what made the numbers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from quantdiff.run.runtimes import RUNTIMES

PACKAGES = ("quantdiff", "numpy", "tensorflow", "tf-keras", "tensorflow-model-optimization", "onnxruntime", "torch")
"""Those that take part beside the runtimes' own."""


def versions() -> dict[str, str]:
    """Version by name, of Python, the machine, and every installed package that takes part."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in dict.fromkeys((*PACKAGES, *(entry.package for entry in RUNTIMES.values()))):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
