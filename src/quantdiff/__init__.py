"""Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantdiff.api import Settings, diff, explain, inspect, lint, params, verify, work
    from quantdiff.errors import QuantdiffError
    from quantdiff.experiment.callback import ParityCallback
    from quantdiff.experiment.trial import Trial
    from quantdiff.load.data import Batch, load_batch, make_batch
    from quantdiff.load.tflite import load_tflite
    from quantdiff.report.notebook.explorer import explore

__all__ = [
    "Batch",
    "ParityCallback",
    "QuantdiffError",
    "Settings",
    "Trial",
    "diff",
    "explain",
    "explore",
    "inspect",
    "lint",
    "load_batch",
    "load_tflite",
    "make_batch",
    "params",
    "verify",
    "work",
]

HOMES = {
    "Batch": "load.data",
    "ParityCallback": "experiment.callback",
    "QuantdiffError": "errors",
    "Settings": "api",
    "Trial": "experiment.trial",
    "diff": "api",
    "explain": "api",
    "explore": "report.notebook.explorer",
    "inspect": "api",
    "lint": "api",
    "load_batch": "load.data",
    "load_tflite": "load.tflite",
    "make_batch": "load.data",
    "params": "api",
    "verify": "api",
    "work": "api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import quantdiff`` costs nothing."""
    if name not in HOMES:
        raise AttributeError(f"module 'quantdiff' has no attribute {name!r}")
    return getattr(import_module(f"quantdiff.{HOMES[name]}"), name)
