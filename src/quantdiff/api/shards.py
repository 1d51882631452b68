"""Two models on a data set in parts, here or anywhere: the figures are the same to the last bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from pathlib import Path

from quantdiff.api.engines import DEFAULTS, Settings, open_pair, trace_everywhere, trace_first
from quantdiff.api.layouts import laid_out
from quantdiff.compare.outcome import Failure, Outcome, Part, outcome_of, part_of
from quantdiff.compare.own_metric import metric_of
from quantdiff.errors import NotComparable
from quantdiff.load.data import find_shards, load_batch
from quantdiff.progress import Progress, silent
from quantdiff.run.versions import versions


@dataclass(frozen=True, slots=True)
class Examined:
    """What one shard showed, with which versions, and the runtimes that failed on it."""

    part: Part
    failures: tuple[Failure, ...]
    versions: tuple[tuple[str, str], ...]


def diff_shards(
    reference: str | Path,
    candidate: str | Path,
    data: Sequence[str | Path],
    settings: Settings = DEFAULTS,
    progress: Progress = silent,
    on: Executor | None = None,
) -> Outcome:
    """As ``diff``, over all files of ``data`` and of the folders among them; with ``on``, a shard a call.

    Counts and sums of the shards are exact, so that the outcome does not depend on who examined which. The workers
    of ``on`` read models and shards under the same paths.

    Args:
        reference: ``.keras``, ``.h5``, a SavedModel folder or ``.tflite``.
        candidate: as ``reference``.
        data: ``.npz`` and ``.npy`` files and folders of such; samples along axis 0.
        settings: runtimes, tolerance, time limit.
        progress: called with ``shards``, how many are done, and how many there are.
        on: any executor; without one the shards are examined here, one after the other.

    Returns:
        As ``diff``, of all samples taken together.

    Raises:
        QuantdiffError: as ``diff``; or workers with other versions than each other.
    """
    shards = find_shards([Path(path) for path in data])
    paths = Path(reference).resolve(), Path(candidate).resolve()
    if on is None:
        every = examine(*paths, shards, settings)
    else:
        call = partial(_examine_one, *paths, settings)
        every = on.map(call, [shard.resolve() for shard in shards])
    examined = tuple(_told(every, len(shards), progress))
    whole = reduce(add, (each.part for each in examined))
    failures = tuple(dict.fromkeys(failure for each in examined for failure in each.failures))
    if len({each.versions for each in examined}) > 1:
        raise NotComparable("the workers have different versions of the packages; give all of them one environment")
    return replace(
        outcome_of(whole),
        failures=failures,
        made_by={"command": "diff", "samples": whole.samples, "shards": len(shards), "versions": versions()},
        artifacts={"reference": str(reference), "candidate": str(candidate), "data": ", ".join(map(str, data))},
    )


def examine(reference: Path, candidate: Path, shards: Iterable[Path], settings: Settings) -> Iterator[Examined]:
    """Run both models on one shard after the other.

    Raises:
        QuantdiffError: a model or a shard cannot be read, do not fit each other, or the reference cannot run.
    """
    parts, metric = [*shards], metric_of(settings.metric)
    with open_pair(reference, candidate, settings, load_batch(parts[0])) as pair:
        for shard in parts:
            batch = load_batch(shard)
            laid = laid_out(pair, batch, settings.layouts)
            _, first, unfit = trace_first(laid.reference, batch, silent)
            ran, failures = trace_everywhere(laid.candidate, batch, silent)
            candidates = tuple(trace for _, trace in ran)
            if first.engine in {trace.engine for trace in candidates}:
                first = replace(first, engine=f"reference:{first.engine}")
            part = part_of((first,), candidates, batch.labels, settings.tolerance, metric, channels=settings.channels)
            yield Examined(part, unfit + failures, tuple(versions().items()))


def _examine_one(reference: Path, candidate: Path, settings: Settings, shard: Path) -> Examined:
    """One shard, on a worker."""
    (examined,) = examine(reference, candidate, [shard], settings)
    return examined


def _told(every: Iterable[Examined], total: int, progress: Progress) -> Iterator[Examined]:
    for done, examined in enumerate(every, start=1):
        progress("shards", done, total)
        yield examined
