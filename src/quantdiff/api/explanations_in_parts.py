"""Why two models differ, on data in parts: what the first samples tell is asked here, the rest anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path

from quantdiff.api.comparisons import ITS_OWN, Names, check_inputs, laid_out
from quantdiff.api.engines import OpenedPair, Settings, open_pair
from quantdiff.api.explanations import Asked, asked_question, same_file
from quantdiff.api.parts import answers, anywhere_settings, check_divided, offset, undivided
from quantdiff.compare.outcome import Failure
from quantdiff.errors import BadData, RuntimeFailed
from quantdiff.ladder.account import samples_in_part
from quantdiff.ladder.attribution import Attribution
from quantdiff.ladder.explanation import Explanation, Explanations
from quantdiff.ladder.pair_ladder import RunsOn, conclude, set_up_pair, sums_of
from quantdiff.ladder.prediction import Begun, Foreseen, Prediction, foreseen, predicted, set_up_prediction, unheard
from quantdiff.ladder.set_up import Ladder, Sums
from quantdiff.load.data import Batch
from quantdiff.run.data_in_parts import InParts, Part, count_of, cut, first_of, samples_of
from quantdiff.run.inputs import Reach, reaches, warnings_of
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import check_installed, entry_of, rules_of, versions

BETWEEN = "two runtimes of one file are explained on all samples at once"


@dataclass(frozen=True, slots=True)
class Said:
    """What some samples say, by runtime: sums of the account, or of the prediction; or why there are none."""

    sums: Mapping[str, Sums | Foreseen | Failure]
    reaches: tuple[Reach, ...] = ()

    def __add__(self, other: Said) -> Said:
        """With the samples behind."""
        both = {name: _both(ours, other.sums[name]) for name, ours in self.sums.items() if name in other.sums}
        return Said(both, tuple(map(add, self.reaches, other.reaches)))


def _both(ours: Sums | Foreseen | Failure, theirs: Sums | Foreseen | Failure) -> Sums | Foreseen | Failure:
    if isinstance(ours, Sums) and isinstance(theirs, Sums):
        return ours + theirs
    if isinstance(ours, Foreseen) and isinstance(theirs, Foreseen):
        return ours + theirs
    return ours if isinstance(ours, Failure) else theirs


@dataclass(frozen=True, slots=True)
class ReadyExplain:
    """Both models, open, and what their first samples tell on every runtime; or why one tells nothing."""

    pair: OpenedPair
    runs_on: Mapping[str, RunsOn]
    begun: Mapping[str, Ladder | Begun | Failure]
    grain: int
    names: Names = ITS_OWN

    @property
    def undivided(self) -> str:
        """Why the data cannot be parted; empty where they can."""
        same = same_file(self.pair.reference.file, self.pair.candidate.wanted("explain"))
        return BETWEEN if same else undivided(self.pair)

    def answer(self, part: Part, progress: Progress) -> Said:
        """What the samples of a part add, without shares."""
        return self.led(part, {}, progress)

    def led(self, part: Part, attributions: Mapping[str, Attribution], progress: Progress = silent) -> Said:
        """The same, with the shares of the first samples."""
        batch, found = self.names.of(part.read()), dict[str, Sums | Foreseen | Failure]()
        for name, begun in self.begun.items():
            try:
                found[name] = self._sums(name, begun, (batch, part.first), attributions.get(name), progress)
            except RuntimeFailed as error:
                found[name] = Failure(name, str(error))
        return Said(found, reaches(self.pair.candidate.wanted("explain"), batch))

    def _sums(
        self,
        name: str,
        begun: Ladder | Begun | Failure,
        part: tuple[Batch, int],
        attribution: Attribution | None,
        progress: Progress,
    ) -> Sums | Foreseen | Failure:
        if isinstance(begun, Ladder):
            sums = sums_of(begun, self.runs_on[name], part, attribution, progress)
            sums.attribution = None  # its owner has it; it does not travel
            return sums
        if isinstance(begun, Begun):
            return foreseen(begun, part[0]) or Failure(name, UNKNOWN)
        return begun


UNKNOWN = "its simulator lacks an operator"


@dataclass(frozen=True, slots=True)
class ExplainQuestion:
    """Why the outputs differ, or with ``predicting`` which will; the ``first`` samples tell what belongs to what."""

    reference: str | Path
    candidate: str | Path
    settings: Settings
    single: tuple[int, int] | None
    predicting: bool
    first: Batch = field(repr=False)

    @contextmanager
    def opened(self) -> Iterator[ReadyExplain]:
        """Open both; raises as ``explain``."""
        names = tuple(name for name in self.settings.runtimes if entry_of(name).installed)
        settings = replace(self.settings, runtimes=names)
        with open_pair(self.reference, self.candidate, settings, self.first) as both:
            model = both.candidate.wanted("explain")
            known, _ = check_inputs(both, self.first)
            samples = known.of(self.first)
            pair = laid_out(both, samples, self.settings.layouts)
            if same_file(pair.reference.file, model):
                yield ReadyExplain(pair, {}, {}, 1)
                return
            with asked_question(pair, samples, self.settings) as asked:
                question = replace(asked, single=self.single)
                runs = {process.runtime: process for process in pair.processes}
                runs_on, begun = dict[str, RunsOn](), dict[str, Ladder | Begun | Failure]()
                for name in self.settings.runtimes:
                    try:
                        rules = runs[name].rules if name in runs else entry_of(name).simulated
                        if rules is None:
                            check_installed((name,))
                        runs_on[name] = runs[name] if name in runs else rules_of(name)
                        if self.predicting:
                            first = None if rules is None else set_up_prediction(question, rules)
                            begun[name] = first or Failure(name, UNKNOWN)
                        else:
                            begun[name] = set_up_pair(question, runs_on[name])
                    except RuntimeFailed as error:
                        begun[name] = Failure(name, str(error))
                yield ReadyExplain(pair, runs_on, begun, samples_in_part(model), known)


def explain_in_parts(
    files: tuple[str | Path, str | Path],
    data: InParts,
    settings: Settings,
    progress: Progress,
    asked: Asked,
) -> Explanations:
    """As ``explain``. The first samples are looked at here, until their shares are known; the others anywhere.

    Raises:
        QuantdiffError: as ``explain``; the two are one file; or workers with other versions than this process.
    """
    sources, first = data.sources, first_of(data.sources)
    paths = files if data.on is None else (Path(files[0]).resolve(), Path(files[1]).resolve())
    settings = settings if data.on is None else anywhere_settings(settings)
    question = ExplainQuestion(*paths, settings, asked.single, predicting=False, first=first)
    expected = dict[str, Prediction]()
    if asked.tell is not unheard:
        expected = _expected(replace(question, predicting=True), data, progress)
        for each in expected.values():
            asked.tell(each)
    with question.opened() as ready:
        check_divided(ready)
        total = count_of(sources)
        if asked.single is not None and asked.single[0] >= total:
            raise BadData(f"{data.named}: has {total} samples, counted from 0; there is no sample {asked.single[0]}")
        attributions, said, at = _attributions(ready), list[Said](), 0
        while at < total and not all(each.full for each in attributions.values()):
            batch = samples_of(sources, at, at + ready.grain)
            part = Part(batch, 0, len(batch), at, total)
            said.append(ready.led(part, attributions, offset(progress, part)))
            at += len(batch)
        said += answers(question, ready, cut(sources, ready.grain, first=at), data.on, progress)
        whole = reduce(add, said)
        made_by = {"command": "explain", "samples": total, "versions": versions()}
        artifacts = {"reference": str(files[0]), "candidate": str(files[1]), "data": _named(data, first)}
        told = ready.names.told + warnings_of(whole.reaches, first.source)
        found = [
            replace(each, made_by=made_by, artifacts=artifacts, of_the_data=told)
            for each in _concluded(ready, whole, attributions, expected)
        ]
    return Explanations(tuple(found), tuple(each for each in whole.sums.values() if isinstance(each, Failure)))


def _attributions(ready: ReadyExplain) -> dict[str, Attribution]:
    """By runtime where the shares of the first samples are added up."""
    ladders = ((name, begun) for name, begun in ready.begun.items() if isinstance(begun, Ladder))
    return {name: own for name, each in ladders if (own := each.attribution()) is not None}


def _concluded(
    ready: ReadyExplain, whole: Said, attributions: Mapping[str, Attribution], expected: Mapping[str, Prediction]
) -> Iterator[Explanation]:
    """The explanation of every runtime, beside what was expected of it."""
    for name, sums in whole.sums.items():
        ladder = ready.begun[name]
        if isinstance(sums, Sums) and isinstance(ladder, Ladder):
            sums.attribution = attributions.get(name)
            explanation = conclude(ladder, sums, ready.runs_on[name])
            yield expected[name].beside(explanation) if name in expected else explanation


def _expected(question: ExplainQuestion, data: InParts, progress: Progress) -> dict[str, Prediction]:
    """By runtime what will differ, where its simulator has all operators."""
    with question.opened() as ready:
        found = reduce(add, answers(question, ready, cut(data.sources, ready.grain), data.on, progress))
        pairs = ((name, ready.begun[name], sums) for name, sums in found.sums.items())
        return {n: predicted(b, sums) for n, b, sums in pairs if isinstance(b, Begun) and isinstance(sums, Foreseen)}


def _named(data: InParts, first: Batch) -> str:
    return data.named if len(data.sources) > 1 else first.source
