"""The smallest part of a model, and the fewest samples, that still show a fault: bisection, then delta debugging."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TypeVar

from quantdiff.errors import NotConfirmed
from quantdiff.files import scratch
from quantdiff.graph import Graph
from quantdiff.load.data import Batch
from quantdiff.run.runner import Progress, silent
from quantdiff.search.cuts import Cutter
from quantdiff.search.fault import Fault, Models

T = TypeVar("T")


def window(items: Sequence[T], shows: Callable[[Sequence[T]], bool], fits: Callable[[Sequence[T]], bool]) -> list[T]:
    """The shortest beginning that shows, and of that the shortest end; about 2 log2(n) questions.

    ``items`` as a whole are known to show. Only what ``fits`` is tried: it costs nothing to ask.
    """
    ends = [k for k in range(1, len(items)) if fits(items[:k])] + [len(items)]
    end = ends[_first(len(ends), lambda i: shows(items[: ends[i]]))]
    starts = [k for k in range(end - 1, 0, -1) if fits(items[k:end])] + [0]
    return [*items[starts[_first(len(starts), lambda i: shows(items[starts[i] : end]))] : end]]


def _first(count: int, holds: Callable[[int], bool]) -> int:
    """The first number for which it holds, if it holds for all behind; it does for the last one."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high


def minimal(items: Sequence[T], shows: Callable[[Sequence[T]], bool]) -> list[T]:
    """Some of ``items`` that show, of which none can be left out alone; all of them are known to show."""
    kept, parts = [*items], 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        rests = ([*kept[:at], *kept[at + size :]] for at in range(0, len(kept), size))
        smaller = next((rest for rest in rests if rest and shows(rest)), None)
        if smaller is not None:
            kept, parts = smaller, max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(len(kept), 2 * parts)
    return kept


@dataclass(frozen=True, slots=True)
class Found:
    """A part that shows the fault.

    Attributes:
        models: the bytes of each file, by its name.
        batch: what goes in.
        says: what shows, ``max_steps is 7``.
        operators: those of the whole that are left, ``3 CONV_2D``.
        rows: the samples that are left, as numbers of those that were recorded.
    """

    models: Models = field(repr=False)
    batch: Batch
    says: str
    operators: tuple[str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """What was found, in how many tries, and why it ended: ``smallest``, ``time`` or ``interrupted``."""

    found: Found
    tries: int
    ended: str


class _TimeIsUp(Exception):
    """The search has taken as long as it may."""


class _Trials:
    """Tries parts in a folder, and keeps the last that showed: each is smaller than the one before."""

    def __init__(self, cutter: Cutter, fault: Fault, folder: Path, limit: float, progress: Progress) -> None:
        self._cutter, self._fault, self._folder, self._progress = cutter, fault, folder, progress
        self._end, self._limit, self._start = monotonic() + limit, limit, monotonic()
        self.tries, self.best = 0, None

    best: Found | None

    def shows(self, chosen: Collection[int], rows: Sequence[int]) -> bool:
        """Whether the fault shows in these operators for these samples, in all that they give or in the last of it."""
        if self.shows_in(chosen, rows):
            return True
        graph = self._cutter.file.model.main
        last = graph.operators[max(chosen)].outputs[0]
        several = len(ends_of(graph, chosen)) > 1  # of which the others may outweigh it
        return several and self.shows_in(behind(graph, chosen, last), rows, (last,))

    def shows_in(self, chosen: Collection[int], rows: Sequence[int], wanted: Sequence[int] = ()) -> bool:
        """Whether it shows in what is wanted of them."""
        if self.best is not None and monotonic() > self._end:
            raise _TimeIsUp
        if not self._cutter.fits(chosen, wanted):
            return False
        models, batch = self._cutter.cut(chosen, rows, wanted)
        self.tries += 1
        self._progress("reduce", int(min(monotonic() - self._start, self._limit)), int(self._limit))
        says = ask(self._fault, models, batch, self._folder)
        if says:
            operators = self._cutter.file.model.main.operators
            names = tuple(f"{i} {operators[i].op}" for i in sorted(chosen))
            self.best = Found(models, batch, says, names, tuple(rows))
        return bool(says)


def ask(fault: Fault, models: Models, batch: Batch, folder: Path) -> str:
    """What a fault says of these files."""
    for name, content in models.items():
        (folder / name).unlink(missing_ok=True)  # the file before may still be mapped
        (folder / name).write_bytes(content)
    return fault.shows(folder, batch)


def smallest(cutter: Cutter, fault: Fault, rows: Sequence[int], limit: float, progress: Progress = silent) -> Search:
    """Cut at tensors, bisect, leave operators out, then outputs, then samples; what is there at the end of the time.

    Raises:
        NotConfirmed: the fault does not show in the whole, fed with what was recorded.
    """
    everything = range(len(cutter.file.model.main.operators))
    ended = "smallest"
    with scratch() as folder:
        trials = _Trials(cutter, fault, folder, limit, progress)
        try:
            _shrink(trials, cutter, everything, rows)
            _confirm(trials.best, fault, folder)
        except _TimeIsUp:
            ended = "time"
            _confirm(trials.best, fault, folder)
        except KeyboardInterrupt:
            if trials.best is None:
                raise
            ended = "interrupted"
    assert trials.best is not None
    return Search(trials.best, trials.tries, ended)


def _confirm(best: Found | None, fault: Fault, folder: Path) -> None:
    """Ask once more, where no other model has run."""
    assert best is not None
    fault.begin_again()
    if ask(fault, best.models, best.batch, folder) != best.says:
        raise NotConfirmed(f"{', '.join(best.operators)}: {best.says} was not seen again in a fresh process; try again")


def _shrink(trials: _Trials, cutter: Cutter, everything: Sequence[int], rows: Sequence[int]) -> None:
    if not cutter.fits(everything):
        raise NotConfirmed("inputs or outputs of the two models are not known as the same: diff --layers shows what is")
    if not trials.shows(everything, rows):
        raise NotConfirmed("the fault does not show when the model runs sample by sample, as on a device")
    kept = window(everything, lambda some: trials.shows(some, rows), cutter.fits)
    kept = minimal(kept, lambda some: trials.shows(some, rows))
    kept, wanted = _one_output(trials, cutter, kept, rows)
    minimal(rows, lambda some: trials.shows_in(kept, some, wanted))


def _one_output(
    trials: _Trials, cutter: Cutter, kept: list[int], rows: Sequence[int]
) -> tuple[list[int], tuple[int, ...]]:
    """The operators behind the first output that shows alone."""
    graph = cutter.file.model.main
    ends = ends_of(graph, kept)
    for output in ends if len(ends) > 1 else ():
        some = behind(graph, kept, output)
        if trials.shows_in(some, rows, (output,)):
            return some, (output,)
    return kept, ()


def ends_of(graph: Graph, chosen: Collection[int]) -> list[int]:
    """What these operators give to others, or to the caller."""
    made = [i for k in sorted(chosen) for i in graph.operators[k].outputs if i >= 0]
    return [i for i in made if graph.is_output(i) or any(op.index not in chosen for op in graph.readers(i))]


def behind(graph: Graph, chosen: Collection[int], output: int) -> list[int]:
    """Those of these operators on which an output hangs."""
    found, waiting = set[int](), [output]
    for tensor in waiting:  # grows while it is walked
        maker = graph.producer(tensor)
        if maker is not None and maker.index in chosen and maker.index not in found:
            found.add(maker.index)
            waiting += [i for i in maker.inputs if i >= 0]
    return sorted(found)
