"""Pages: what ``diff``, ``explain``, ``run`` and ``report`` show in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from quantdiff.api.comparisons import diff, diff_opened
from quantdiff.api.engines import (
    DEFAULTS,
    OpenedPair,
    Settings,
    Source,
    of_its_own,
    open_model,
    open_pair,
    trace_everywhere,
    trace_first,
    trace_one,
)
from quantdiff.api.experiments import FILES, read_run
from quantdiff.api.explanations import PLAIN, Asked, explain, explain_opened
from quantdiff.api.parameters import file_parameters, params, params_opened
from quantdiff.api.shards import layer_reports
from quantdiff.compare.evidence import evidence_of
from quantdiff.compare.outcome import Failure, Outcome, hold_together
from quantdiff.errors import BadData, QuantdiffError
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.ladder.rungs import one_thread_a_product
from quantdiff.linting.lint import checks, lint_model
from quantdiff.load.data import Batch, load_batch
from quantdiff.load.written import schema
from quantdiff.parameters.quantizers import Parameters
from quantdiff.references.formats import started_early
from quantdiff.report.html.document import Page, Provenance, page_of
from quantdiff.report.json.outcome import outcome_document
from quantdiff.report.json.text import json_text
from quantdiff.run.data_in_parts import InParts
from quantdiff.run.inputs import load_data
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import starts_nothing, versions
from quantdiff.sim.node import kernels, reals

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
    files = [outcome.artifacts[name] for name in names]
    data = Path(outcome.artifacts["data"])
    batch = load_batch(data) if data.is_file() else None
    return _page((files[0], files[1], batch), settings, outcome, command, explanations)


def _page(
    files: tuple[Source, Source, Batch | InParts | None],
    settings: Settings,
    outcome: Outcome,
    command: str,
    explanations: Sequence[Explanation] = (),
) -> Page:
    """The page of an outcome for whose rest the files are opened again."""
    batch = None if isinstance(files[2], InParts) else files[2]
    with open_pair(*files[:2], settings, batch) as pair:
        if not isinstance(files[2], InParts):
            return page_opened(pair, outcome, batch, command, explanations)
        return _shown(pair, outcome, lambda: params(*files, settings), command, explanations)


def page_opened(
    pair: OpenedPair,
    outcome: Outcome,
    batch: Batch | None,
    command: str = "",
    explanations: Sequence[Explanation] = (),
) -> Page:
    """As ``diff_page``, of models that are open; without ``batch`` nothing is observed for the parameters."""
    return _shown(pair, outcome, lambda: params_opened(pair, batch), command, explanations, batch)


def _shown(
    pair: OpenedPair,
    outcome: Outcome,
    observed: Callable[[], Parameters],
    command: str,
    explanations: Sequence[Explanation],
    batch: Batch | None = None,
) -> Page:
    failures, parameters, findings = list(outcome.failures), None, None
    model = pair.candidate.file
    if model is not None:
        parameters = _tried("params", failures, observed) or _tried(
            "params", failures, lambda: file_parameters(pair.candidate, batch)
        )
        findings = _tried("lint", failures, lambda: lint_model(model, pair.reference.engines[0]))
    provenance = Provenance(outcome.made_by, outcome.artifacts, outcome.notes, tuple(dict.fromkeys(failures)), command)
    return page_of(outcome, explanations, parameters, findings, provenance)


def diff_with_page(
    reference: Source,
    candidate: Source,
    data: str | Path | Batch | InParts,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    command: str = "",
) -> tuple[Outcome, Page]:
    """``diff`` layer by layer and its page; each model is opened once.

    Args:
        reference: as in ``diff``.
        candidate: as in ``diff``.
        data: the data file, or ``InParts``.
        settings: runtimes, tolerance, time limit.
        progress: called with what is done, how much of it, and how much there is.
        command: the command that asked for it, to be shown.

    Returns:
        What ``diff`` gives, and one HTML document that needs no network.

    Raises:
        QuantdiffError: as ``diff``.
    """
    if isinstance(data, InParts):
        outcome = diff(reference, candidate, data, settings, progress, layers=True)
        return outcome, _page((reference, candidate, data), settings, outcome, command)
    batch = load_data(data, candidate)
    with open_pair(reference, candidate, settings, batch) as pair:
        outcome = diff_opened(pair, batch, settings, progress, layers=True)
        return outcome, page_opened(pair, outcome, batch, command)


def explain_with_page(
    files: tuple[Source, Source, str | Path | Batch | InParts],
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    command: str = "",
    asked: Asked = PLAIN,
) -> tuple[Explanations, Page]:
    """``explain``, and a page with its ladders and what ``diff`` finds; each model is opened once.

    Args:
        files: reference, candidate and data, which may be ``InParts``.
        settings: runtimes, tolerance, time limit.
        progress: called with what is done, how much of it, and how much there is.
        command: the command that asked for it, to be shown.
        asked: as in ``explain``.

    Returns:
        What ``explain`` gives, and one HTML document that needs no network.

    Raises:
        QuantdiffError: as ``diff`` and ``explain``.
    """
    if isinstance(files[2], InParts):
        answer = explain(*files, settings, progress, asked)
        outcome = _with_failures(diff(*files, settings, progress, layers=True), answer)
        return answer, _page((*files[:2], files[2]), settings, outcome, command, answer.found)
    batch = load_data(files[2], files[1])
    # The thread ends after the children do: where nothing can be explained, nobody need compare everything.
    with one_thread_a_product(), ThreadPoolExecutor(1) as beside:
        beside.submit(_load)  # while the reference's framework is loaded
        with open_pair(*files[:2], settings, batch) as pair, of_its_own(pair) as other:
            threads, hear = (None, progress) if other is None else (beside, silent)
            compared = _begun(partial(diff_opened, other or pair, batch, settings, hear, layers=True), threads)
            observed = _begun(partial(params_opened, other or pair, batch), threads)
            answer = explain_opened(pair, batch, settings, progress, asked)
            outcome = _with_failures(compared(), answer)
            return answer, _shown(pair, outcome, observed, command, answer.found, batch)


def _load() -> None:
    """What the questions import when they come to it."""
    kernels()
    reals()
    checks()
    schema()


def _begun(work: Callable[[], T], threads: Executor | None) -> Callable[[], T]:
    """The work, which somebody else begins where there is one."""
    return work if threads is None else threads.submit(work).result


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
    batch = load_batch(home / FILES["data"])
    with (
        started_early(home / FILES["qat"], home / FILES["float"]),
        open_pair(home / FILES["qat"], home / FILES["tflite"], settings) as pair,
    ):
        outcome = _measure(home, pair, batch, settings, progress)
        facts = {key: value for key, value in recorded.items() if key in RECORDED}
        notes = outcome.notes if same_figures(outcome, recorded) else (*outcome.notes, OTHER)
        outcome = replace(outcome, made_by={**facts, "versions": versions()}, notes=notes)
        answer = explain_opened(pair, batch, settings, progress)
        return page_opened(pair, _with_failures(outcome, answer), batch, command, answer.found)


RECORDED = ("model", "seed", "data", "quantize", "bias", "epochs", "samples")
"""What the folder of a run says of itself, and is not measured."""


def _measure(home: Path, pair: OpenedPair, batch: Batch, settings: Settings, progress: Progress) -> Outcome:
    """Both Keras models against the file, as ``run`` compares them; layer by layer the one that was converted."""
    engine, trained, _ = trace_first(pair.reference, batch, progress)
    (base,) = open_model(home / FILES["float"], settings).engines
    references = trace_one(base, batch, progress), trained
    ran, failures = trace_everywhere(pair.candidate, batch, progress)
    reports, without = layer_reports((engine, trained), ran, batch, progress)
    candidates = tuple(trace for _, trace in ran)
    return replace(
        hold_together(references, candidates, batch.labels, settings.tolerance, settings.own_metric),
        failures=(*failures, *without),
        artifacts={name: str(home / file) for name, file in FILES.items()},
        layers=reports,
        evidence=tuple(each for trace in candidates for each in evidence_of(trained, trace, batch)),
    )


def _settings_of(recorded: Mapping[str, Any]) -> Settings:
    """The runtimes and the tolerance of the run."""
    names = [each["candidate"] for each in recorded["comparisons"] if each["candidate"].startswith(KIND)]
    names += [KIND + each["runtime"] for each in recorded.get("failures", ())]
    runtimes = tuple(dict.fromkeys(name.removeprefix(KIND) for name in names))
    for name in runtimes:
        if starts_nothing(name):
            continue
        raise BadData(
            f"the results name the runtime {name!r}, which a file of results does not start; "
            f"name it yourself: quantdiff diff … --runtime {name} --html FILE"
        )
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
