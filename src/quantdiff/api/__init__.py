"""The pipeline, one file per question; each function is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantdiff.api.arithmetic import verify, work
    from quantdiff.api.comparisons import diff
    from quantdiff.api.experiments import run
    from quantdiff.api.explanations import explain
    from quantdiff.api.files import inspect, lint
    from quantdiff.api.overlays import Overlays, overlay
    from quantdiff.api.pages import diff_page, diff_with_page, explain_with_page, read_run, run_page
    from quantdiff.api.parameters import params, params_experiment
    from quantdiff.api.parity import check_parity
    from quantdiff.api.settings import DEFAULTS, Settings
    from quantdiff.api.shards import diff_shards
    from quantdiff.api.sweeps import count_stored, report_study, sweep
    from quantdiff.ladder.explanation import Explanations

__all__ = [
    "DEFAULTS",
    "Explanations",
    "Overlays",
    "Settings",
    "check_parity",
    "count_stored",
    "diff",
    "diff_page",
    "diff_shards",
    "diff_with_page",
    "explain",
    "explain_with_page",
    "inspect",
    "lint",
    "overlay",
    "params",
    "params_experiment",
    "read_run",
    "report_study",
    "run",
    "run_page",
    "sweep",
    "verify",
    "work",
]

HOMES = {
    "DEFAULTS": "settings",
    "Explanations": "explanations",
    "Overlays": "overlays",
    "Settings": "settings",
    "check_parity": "parity",
    "count_stored": "sweeps",
    "diff": "comparisons",
    "diff_page": "pages",
    "diff_shards": "shards",
    "diff_with_page": "pages",
    "explain": "explanations",
    "explain_with_page": "pages",
    "inspect": "files",
    "lint": "files",
    "overlay": "overlays",
    "params": "parameters",
    "params_experiment": "parameters",
    "read_run": "pages",
    "report_study": "sweeps",
    "run": "experiments",
    "run_page": "pages",
    "sweep": "sweeps",
    "verify": "arithmetic",
    "work": "arithmetic",
}


def __getattr__(name: str) -> Any:
    """Import a stage when it is asked for: ``diff`` does not pay for what ``run`` needs."""
    if name not in HOMES:
        raise AttributeError(f"module 'quantdiff.api' has no attribute {name!r}")
    return getattr(import_module(f"quantdiff.api.{HOMES[name]}"), name)
