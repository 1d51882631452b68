"""The quantization parameters of two models, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from quantdiff.align.models import align_pair, align_weights
from quantdiff.api.comparisons import ITS_OWN, Layouts, Names, check_inputs, laid_out
from quantdiff.api.engines import DEFAULTS, Opened, OpenedPair, Settings, children, open_model, open_pair
from quantdiff.api.parts import anywhere_settings, ask, stream_of, undivided
from quantdiff.errors import NotComparable
from quantdiff.experiment.datasets import load_dataset
from quantdiff.experiment.parameters import compare_parameters
from quantdiff.experiment.trial import Trial
from quantdiff.load.data import Batch
from quantdiff.parameters.params import SAMPLES_AT_ONCE, observe, parameters
from quantdiff.parameters.quantizers import ModelPair, Observed, Parameters
from quantdiff.recording import Recorder, bound, tflite_flow
from quantdiff.references.tflite.reference import TfliteReference
from quantdiff.run.data_in_parts import FIRST, InParts, Part, count_of, first_of
from quantdiff.run.inputs import data_warnings, load_data
from quantdiff.run.random_input import random_batch
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import entry_of, versions


def params(
    reference: str | Path | None,
    model: str | Path,
    data: str | Path | Batch | InParts | None = None,
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
) -> Parameters:
    """Min, max, scale and zero point of every quantizer on both sides; observed values where there is data.

    The rules that make a scale of a range are the functions of ``quantdiff.nudge``, each with its source.

    Args:
        reference: the trained model, or None: then the file stands alone.
        model: the ``.tflite``.
        data: an ``.npz`` or ``.npy`` file or a ``Batch``, samples along axis 0; or ``InParts``, many of these, and who
            works on them; or None.
        settings: the first runtime shows what comes out of the file's layers.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        A row per quantizer, ranges in real units, scales in real units per step, and what explains a difference.

    Raises:
        QuantdiffError: a model or the data cannot be read, do not fit each other, or cannot run.
    """
    settings = replace(settings, runtimes=settings.runtimes[:1])
    if data is None or (isinstance(data, InParts) and not data.data):
        question = ParamsQuestion(reference, model, settings)
        with question.opened() as ready:
            answer, source, samples = parameters(ready.pair), None, 0
    else:
        parts = data if isinstance(data, InParts) else InParts((load_data(data, model),))
        sources = parts.sources
        if parts.on is not None:
            reference, model = None if reference is None else Path(reference).resolve(), Path(model).resolve()
            settings = anywhere_settings(settings)
        known = count_of(sources) if any(entry_of(name).file for name in settings.runtimes) else FIRST
        question = ParamsQuestion(reference, model, settings, first_of(sources, known))
        whole = ask(question, sources, parts.on, progress)
        answer, samples = parameters(replace(whole.ready.pair, observed=whole.answer)), whole.samples
        answer = replace(answer, warnings=whole.ready.told_of(question.first))
        source = parts.named if len(sources) > 1 else first_of(sources, 1).source
    artifacts = {"reference": reference, "model": model, "data": source}
    named = {name: str(value) for name, value in artifacts.items() if value is not None}
    return replace(answer, made_by=_made_by(samples), artifacts=named)


@dataclass(frozen=True, slots=True)
class ReadyParams:
    """Both sides, open; without data there is nothing to observe them on, without a reference one side."""

    pair: ModelPair
    opened: OpenedPair
    recorder: Recorder | None = None
    undivided: str = ""
    grain: int = SAMPLES_AT_ONCE
    names: Names = ITS_OWN

    def told_of(self, first: Batch | None) -> tuple[str, ...]:
        """What a reader must know of the data, by the first of them."""
        model = self.opened.candidate.wanted("params")
        return () if first is None else data_warnings(model, self.names.of(first))

    def answer(self, part: Part, progress: Progress) -> Observed:
        """What the samples of a part reach."""
        batch, model = self.names.of(part.read()), self.opened.candidate.wanted("params")
        engine = self.opened.candidate.engines[0]
        process = engine.process if isinstance(engine, TfliteReference) else None
        assert process is not None
        side = None
        if self.recorder is not None:
            side = bound(self.opened.reference.engines[0], self.recorder, batch)
        found = observe(self.pair, side, model, batch, process)
        progress("params", len(part), part.total)
        return found


@dataclass(frozen=True, slots=True)
class ParamsQuestion:
    """What data reach on both sides, or of the file alone; the ``first`` samples tell which layer is which tensor."""

    reference: str | Path | None
    model: str | Path
    settings: Settings
    first: Batch | None = field(default=None, repr=False)

    @contextmanager
    def opened(self) -> Iterator[ReadyParams]:
        """Open both; raises as ``params_opened``."""
        if self.reference is None:
            runtimes = self.settings.runtimes if self.first is not None else ()
            with children(replace(self.settings, runtimes=runtimes)) as processes:
                yield _file(open_model(self.model, self.settings, processes))
        else:
            with (
                open_pair(self.reference, self.model, self.settings, self.first) as pair,
                _both(pair, self.first, self.settings.layouts) as ready,
            ):
                yield ready


def _file(opened: Opened) -> ReadyParams:
    """A file by itself."""
    model = opened.wanted("params")
    pair = ModelPair((), model.main, align_weights((), tflite_flow(model, "tflite")), Observed())
    return ReadyParams(pair, OpenedPair(opened, opened), undivided=stream_of(model))


@contextmanager
def _both(opened: OpenedPair, first: Batch | None, layouts: Layouts) -> Iterator[ReadyParams]:
    names = ITS_OWN
    if first is not None:
        names, _ = check_inputs(opened, first)
        first = names.of(first)
    rows = first or random_batch(opened.candidate.wanted("params"), opened.reference.engines[0].inputs)
    opened = laid_out(opened, rows, layouts)
    model = opened.candidate.wanted("params")
    reference, engine = opened.reference.engines[0], opened.candidate.engines[0]
    alignment = align_pair(reference, engine, rows)
    if alignment.unrelated:
        raise NotComparable(f"these are not the same model: {alignment.unrelated}; give the one that it was made from")
    sides = ModelPair(reference.layers(), model.main, alignment, Observed())
    ready = ReadyParams(sides, opened, grain=alignment.at_once, names=names)
    if first is None:
        yield ready
        return
    with reference.recorder() as recorder:
        yield replace(ready, recorder=recorder, undivided=undivided(opened))


def file_parameters(opened: Opened, batch: Batch | None) -> Parameters:
    """What a file holds by itself, and what is observed of it on data."""
    return _observed(_file(opened), batch)


def params_opened(opened: OpenedPair, batch: Batch | None, layouts: Layouts = ()) -> Parameters:
    """Both sides; without data, seeded random input tells which layer is which tensor, and nothing else.

    Raises:
        NotComparable: the two are not made from each other.
        QuantdiffError: a model cannot run.
    """
    with _both(opened, batch, layouts) as ready:
        return _observed(ready, batch)


def _observed(ready: ReadyParams, batch: Batch | None) -> Parameters:
    pair, samples = ready.pair, 0 if batch is None else len(batch)
    if batch is not None:
        pair = replace(pair, observed=ready.answer(Part(batch, 0, samples, 0, samples), silent))
    return replace(parameters(pair), made_by=_made_by(samples))


def _made_by(samples: int) -> dict[str, object]:
    return {"command": "params", "samples": samples, "versions": versions()}


def params_experiment(trial: Trial, settings: Settings = DEFAULTS, progress: Progress = silent) -> Parameters:
    """Train a model, calibrate QAT and TFLite on the whole training set, and compare their parameters.

    Args:
        trial: what to train, and how.
        settings: the first runtime shows what comes out of the file's layers.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        As ``params``, with accuracies (shares) and how fake-quant treats 0.0 here.

    Raises:
        QuantdiffError: the data set cannot be read, a step of the training fails, or a model does not run.
    """
    data = load_dataset(trial.data)
    with children(settings) as processes:
        answer = compare_parameters(trial, data, processes[0], progress)
    return replace(answer, made_by={**answer.made_by, "versions": versions()})
