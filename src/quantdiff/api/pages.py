"""Pages: what ``diff``, ``explain``, ``run`` and ``report`` show in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from quantdiff.api.comparisons import diff
from quantdiff.api.engines import is_tflite, trace_everywhere, trace_one
from quantdiff.api.experiments import FILES, RESULTS
from quantdiff.api.explanations import explain
from quantdiff.api.files import lint
from quantdiff.api.layers import layer_reports
from quantdiff.api.parameters import params
from quantdiff.api.settings import DEFAULTS, Settings, children
from quantdiff.compare.evidence import evidence_of
from quantdiff.compare.outcome import Failure, Outcome, hold_together
from quantdiff.errors import BadData, QuantdiffError
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.load.data import load_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.progress import Progress, silent
from quantdiff.references.keras.model import load_keras
from quantdiff.report.html.document import page_of
from quantdiff.report.html.page import Page
from quantdiff.report.html.provenance import Provenance
from quantdiff.report.json.outcome import outcome_document
from quantdiff.report.plain import json_text
from quantdiff.run.versions import versions

T = TypeVar("T")
KIND = "tflite:"
OTHER = "these figures are not those of results.json: the files, or the versions of the packages, are others by now"


def diff_page(
    outcome: Outcome, settings: Settings = DEFAULTS, command: str = "", explanations: Sequence[Explanation] = ()
) -> Page:
    """The page of a ``diff`` that was made with ``layers``; reads the files again for the rest.

    What cannot be read or run for the parameters or for lint is said on the page.

    Args:
        outcome: the comparison; its ``artifacts`` say where the files are.
        settings: as the comparison was made.
        command: the command that asked for it, to be shown.
        explanations: ladders to be shown above the layers.

    Returns:
        One HTML document that needs no network.

    Raises:
        KeyError: ``outcome.artifacts`` names no files.
    """
    names = ("reference", "candidate") if "candidate" in outcome.artifacts else ("qat", "tflite")
    reference, candidate = (Path(outcome.artifacts[name]) for name in names)
    data = outcome.artifacts["data"]
    files = (None if is_tflite(reference) else reference), candidate
    failures, parameters, findings = list(outcome.failures), None, None
    if is_tflite(candidate):
        one_file = Path(data).is_file()
        parameters = _tried("params", failures, lambda: params(*files, data if one_file else None, settings))
        findings = _tried("lint", failures, lambda: lint(candidate, files[0], settings))
    provenance = Provenance(outcome.made_by, outcome.artifacts, outcome.notes, tuple(dict.fromkeys(failures)), command)
    return page_of(outcome, explanations, parameters, findings, provenance)


def explain_page(
    answer: Explanations,
    files: tuple[Path, Path, Path],
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    command: str = "",
) -> Page:
    """The page of an ``explain``: its ladders, and what ``diff`` finds on the same reference, candidate and data.

    Args:
        answer: what ``explain`` gave.
        files: reference, candidate and data.
        settings: as the explanation was made.
        progress: called with what is done, how much of it, and how much there is.
        command: the command that asked for it, to be shown.

    Returns:
        One HTML document that needs no network.

    Raises:
        QuantdiffError: as ``diff``.
    """
    outcome = diff(*files, settings, progress, layers=True)
    return diff_page(_with_failures(outcome, answer), settings, command, answer.found)


def run_page(folder: str | Path, progress: Progress = silent, command: str = "") -> Page:
    """The page of a run, from its folder: models and data are there, so everything is measured anew.

    Args:
        folder: what ``quantdiff run --out`` made.
        progress: called with what is done, how much of it, and how much there is.
        command: the command that asked for it, to be shown.

    Returns:
        One HTML document that needs no network; it says so where the figures are not those that the run wrote.

    Raises:
        QuantdiffError: not the folder of a run, or what ``diff`` and ``explain`` raise.
    """
    home = Path(folder)
    recorded = read_run(home)
    settings = _settings_of(recorded)
    outcome = _measure(home, settings, progress)
    facts = {key: value for key, value in recorded.items() if key in RECORDED}
    notes = outcome.notes if same_figures(outcome, recorded) else (*outcome.notes, OTHER)
    outcome = replace(outcome, made_by={**facts, "versions": versions()}, notes=notes)
    answer = explain(home / FILES["qat"], home / FILES["tflite"], home / FILES["data"], settings, progress)
    return diff_page(_with_failures(outcome, answer), settings, command, answer.found)


RECORDED = ("model", "seed", "data", "quantize", "bias", "epochs", "samples")
"""What the folder of a run says of itself, and is not measured."""


def _measure(home: Path, settings: Settings, progress: Progress) -> Outcome:
    """Both Keras models against the file, as ``run`` compares them; layer by layer the one that was converted."""
    batch, converted = load_batch(home / FILES["data"]), load_tflite(home / FILES["tflite"])
    models = [load_keras(home / FILES[name]) for name in ("float", "qat")]
    with children(settings) as processes:
        references = tuple(trace_one(model, batch, progress) for model in models)
        candidates, failures = trace_everywhere(converted, batch, processes, progress)
    reports, without = layer_reports(models[1], converted, batch, (references[1], candidates), settings, progress)
    return replace(
        hold_together(references, candidates, batch.labels, settings.tolerance),
        failures=(*failures, *without),
        artifacts={name: str(home / file) for name, file in FILES.items()},
        layers=reports,
        evidence=tuple(each for trace in candidates for each in evidence_of(references[1], trace, batch)),
    )


def read_run(folder: str | Path) -> Mapping[str, Any]:
    """What a run wrote as its results.

    Args:
        folder: what ``quantdiff run --out`` made.

    Returns:
        The document of ``quantdiff run --json``; ``docs/reference/json.md`` explains the keys.

    Raises:
        BadData: not the folder of a run.
    """
    path = Path(folder) / RESULTS
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}; give the folder that `quantdiff run` made") from error
    except ValueError as error:
        raise BadData(f"{path}: not a JSON document; make the run again") from error
    comparisons = document.get("comparisons") if isinstance(document, dict) else None
    if not comparisons or not all("candidate" in each and "tolerance" in each for each in comparisons):
        raise BadData(f"{path}: not the results of a `quantdiff run`; give the folder that it made")
    return dict(document)


def _settings_of(recorded: Mapping[str, Any]) -> Settings:
    """The runtimes and the tolerance of the run."""
    names = [each["candidate"] for each in recorded["comparisons"] if each["candidate"].startswith(KIND)]
    names += [KIND + each["runtime"] for each in recorded.get("failures", ())]
    runtimes = tuple(dict.fromkeys(name.removeprefix(KIND) for name in names))
    return Settings(runtimes or DEFAULTS.runtimes, recorded["comparisons"][0]["tolerance"])


def same_figures(outcome: Outcome, recorded: Mapping[str, Any]) -> bool:
    """Whether the run wrote the same accuracies and comparisons."""
    now: Mapping[str, Any] = json.loads(json_text(outcome_document(outcome)))
    return all(now[key] == recorded.get(key) for key in ("accuracy", "comparisons"))


def _with_failures(outcome: Outcome, answer: Explanations) -> Outcome:
    return replace(outcome, failures=tuple(dict.fromkeys((*outcome.failures, *answer.failures))))


def _tried(what: str, failures: list[Failure], make: Callable[[], T]) -> T | None:
    """What ``make`` gives, or a line in ``failures``."""
    try:
        return make()
    except QuantdiffError as error:
        failures.append(Failure(what, str(error)))
        return None
