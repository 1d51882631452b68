"""A question over parts of the data: asked here or on many machines, with the same answer to the last bit.

What is opened once, what is done for a part, and how two answers add up: a ``Question`` says that, and nothing else
differs between commands. The data are cut by the question and the data alone, never by who works on them; sums are
exact, so it does not matter who was asked what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from typing import Any, Generic, Protocol, TypeVar

from quantdiff.api.engines import OpenedPair, Settings
from quantdiff.errors import NotComparable, QuantdiffError
from quantdiff.experiment.workers import carry_out
from quantdiff.graph import Model, keeps_resources
from quantdiff.run.data_in_parts import Part, Sources, anywhere, count_of, cut
from quantdiff.run.runner import Progress, silent
from quantdiff.run.runtimes import versions

CALLS = 4
"""For each worker: models are opened once a call, and who is done early takes another one."""


class Adds(Protocol):
    """What adds up."""

    def __add__(self, other: Any, /) -> Any:
        """Both together."""


A = TypeVar("A", bound=Adds)
A_co = TypeVar("A_co", bound=Adds, covariant=True)


class Ready(Protocol[A_co]):
    """A question whose models are open.

    ``grain``: samples that are computed together, so that no cut parts them. ``undivided``: why the data cannot be
    parted; empty where they can.
    """

    @property
    def grain(self) -> int:
        """See above."""

    @property
    def undivided(self) -> str:
        """See above."""

    def answer(self, part: Part, progress: Progress) -> A_co:
        """What the part says."""


class Question(Protocol[A_co]):
    """What is asked of data, as a value that can travel."""

    def opened(self) -> AbstractContextManager[Ready[A_co]]:
        """Open what it needs, once for many parts."""


@dataclass(frozen=True, slots=True)
class Whole(Generic[A]):
    """The answer over all data, of how many samples, and how the question was opened for it."""

    answer: A
    samples: int
    ready: Any


def ask(
    question: Question[A],
    data: Sources,
    on: Executor | None = None,
    progress: Progress = silent,
    *,
    at_most: int | None = None,
) -> Whole[A]:
    """The answer over all data; with ``on`` its workers are asked, which read models and data under the same names.

    A worker that dies is asked again elsewhere, three times.

    Raises:
        QuantdiffError: what the question raises; or workers with other versions than this process.
    """
    with question.opened() as ready:
        alone = bool(ready.undivided) and on is None and len(data) == 1
        parts = cut(data, count_of(data) if alone else ready.grain, at_most)
        return Whole(reduce(add, answers(question, ready, parts, on, progress)), parts[0].total, ready)


def answers(
    question: Question[A], ready: Ready[A], parts: Sequence[Part], on: Executor | None, progress: Progress
) -> Iterator[A]:
    """The answers of some of the parts, in their order: of those whose models are ``ready``, or of the workers.

    Raises:
        QuantdiffError: as ``ask``.
    """
    if on is not None or len(parts) > 1:
        check_divided(ready)
    if on is None:
        yield from (ready.answer(part, offset(progress, part)) for part in parts)
        return
    calls = [tuple(part.sent() for part in call) for call in calls_of(parts, _workers(on))]
    yield from _spread(question, calls, on, progress)


def calls_of(parts: Sequence[Part], workers: int) -> list[Sequence[Part]]:
    """The parts, some in each call, for so many workers."""
    size = max(1, -(-len(parts) // (CALLS * workers)))
    return [parts[at : at + size] for at in range(0, len(parts), size)]


def check_divided(ready: Ready[Any]) -> None:
    """Refuse to part what does not add up; raises ``NotComparable``."""
    if ready.undivided:
        raise NotComparable(f"{ready.undivided}; give one data file, without --jobs and --dask")


def offset(progress: Progress, part: Part) -> Progress:
    """Progress over all data, told from within a part."""

    def told(stage: str, done: int, total: int) -> None:
        del total
        progress(stage, part.first + done, part.total)

    return told


def _workers(on: Executor) -> int:
    client = getattr(on, "_client", None)
    return sum(client.nthreads().values()) if client is not None else getattr(on, "_max_workers", 1)


@dataclass(frozen=True, slots=True)
class _Said(Generic[A]):
    """What a worker says of a call: an answer of its parts together, or the error that it ended with."""

    answer: A | None
    versions: tuple[tuple[str, str], ...]
    error: QuantdiffError | None = None


def _spread(question: Question[A], calls: Sequence[tuple[Part, ...]], on: Executor, progress: Progress) -> Iterator[A]:
    """Answers in the order of the calls, each as soon as those before it are there."""
    total, done, following = (calls[0][0].total if calls else 0), 0, 0
    here, waiting = tuple(versions().items()), dict[int, A]()
    order = {call[0].first: place for place, call in enumerate(calls)}
    for finished in carry_out(partial(_answer_calls, question), [(call,) for call in calls], on):
        said = finished.result
        if said is None:
            raise QuantdiffError(f"samples from {finished.trial[0].first} on: {finished.error}")
        if said.error is not None:
            raise said.error
        if said.versions != here:
            raise NotComparable("the workers have other versions of the packages; give all of them one environment")
        done += sum(map(len, finished.trial))
        progress("samples", done, total)
        assert said.answer is not None
        waiting[order[finished.trial[0].first]] = said.answer
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _answer_calls(question: Question[A], calls: Sequence[tuple[Part, ...]]) -> list[_Said[A]]:
    """On a worker: each call with models that are opened once for it."""
    return [_answer_call(question, call) for call in calls]


def _answer_call(question: Question[A], call: tuple[Part, ...]) -> _Said[A]:
    found = tuple(versions().items())
    try:
        with question.opened() as ready:
            return _Said(reduce(add, (ready.answer(part, silent) for part in call)), found)
    except QuantdiffError as error:
        return _Said(None, found, error)


def undivided(pair: OpenedPair) -> str:
    """Why data cannot be parted for two models; empty where they can."""
    for opened in (pair.reference, pair.candidate):
        if opened.file is not None and (why := stream_of(opened.file)):
            return why
    dumps = [each.runtime for each in pair.processes if each.of_one_file]
    return f"{dumps[0]}: a dump has all samples at once" if dumps else ""


def stream_of(model: Model) -> str:
    """Why the samples of a file cannot be parted; empty where they can."""
    if not keeps_resources(model.main):
        return ""
    return f"{model.path}: what it gives for a sample depends on those before it, so parts do not add up"


def anywhere_settings(settings: Settings) -> Settings:
    """The same for workers in other folders."""
    metric, objects = settings.metric, settings.custom_objects
    return replace(
        settings,
        metric=anywhere(metric) if isinstance(metric, str) else metric,
        custom_objects=None if objects is None else objects.resolve(),
    )
