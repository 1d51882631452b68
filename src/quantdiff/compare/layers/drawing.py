"""What is drawn of two models: one graph in which matched values share a box, and histograms of their errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantdiff.align.alignment import Alignment, Match
from quantdiff.quant import Array, Value
from quantdiff.recording import BoundModel, FlowValue, returned, value_at
from quantdiff.tally.stats import ExactSum, exact_sum

SAMPLES = 16
"""At most so many are looked at again for the histograms: they show a shape, the figures count all samples."""


Feed = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """What both sides compute there, ``(op, name)`` each, the value that is compared last; a side may have nothing.

    ``layer`` is the place among the layers of the report. Without one nothing is compared, and ``why`` says why there
    is no partner; what stands at the same place of both models shares such a box.
    """

    reference: tuple[tuple[str, str], ...]
    candidate: tuple[tuple[str, str], ...]
    layer: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Histograms:
    """The errors of a pair in steps, as it happens and alone; None where they lie on no grid or cannot be fed."""

    accumulated: StepHistogram | None = None
    local: StepHistogram | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """Both models as one graph. ``feeds`` are ``(side, from, to)``: side 0 the reference, boxes by number.

    ``histograms`` are those of the layers, of the first ``samples`` samples.
    """

    boxes: tuple[Box, ...]
    feeds: tuple[Feed, ...]
    histograms: tuple[Histograms, ...] = field(default=(), repr=False)
    samples: int = 0


def drawing_of(alignment: Alignment, reference: BoundModel, candidate: BoundModel) -> Drawing | None:
    """Draw the pairs, what lies inside them, and what has no partner; both models run a few samples again.

    Nothing of two models that are unrelated.

    Raises:
        RuntimeFailed: a model does not run.
    """
    if alignment.unrelated:
        return None
    boxes, feeds = graph_of(alignment)
    samples = min(SAMPLES, alignment.at_once, len(reference))
    histograms = tuple(_histograms(alignment, reference, candidate, samples))
    return Drawing(boxes, feeds, histograms, samples)


def graph_of(alignment: Alignment) -> tuple[tuple[Box, ...], tuple[Feed, ...]]:
    """Boxes and what feeds what; every value of both models stands in one box, the pairs' boxes first."""
    flows, matches = (alignment.reference, alignment.candidate), alignment.matches
    left = tuple({each.key: each.why for each in side} for side in (alignment.only_reference, alignment.only_candidate))
    homes = _homes(matches, left)
    values: list[tuple[list[FlowValue], list[FlowValue]]] = [([], []) for _ in matches]
    for side, flow in enumerate(flows):
        for place in flow.places:
            home = homes[side].get(place.key)
            if home is None:
                home = homes[side][place.key] = _beside(side, place, homes, values, len(matches))
            values[home][side].append(place)
    feeds = (
        (side, homes[side][key], homes[side][place.key])
        for side, flow in enumerate(flows)
        for place in flow.places
        for key in place.feeds
    )
    boxes = tuple(_box(each, i if i < len(matches) else None, left) for i, each in enumerate(values))
    return boxes, tuple(dict.fromkeys(each for each in feeds if each[1] != each[2]))


def _beside(
    side: int,
    place: FlowValue,
    homes: tuple[dict[int, int], dict[int, int]],
    values: list[tuple[list[FlowValue], list[FlowValue]]],
    matched: int,
) -> int:
    """The box of a value without a partner: one of the other side's that is fed by the same boxes, or a new one."""
    fed = {homes[side][key] for key in place.feeds}
    for home in range(matched, len(values)) if side else ():
        ours, theirs = values[home]
        if not theirs and {homes[0][key] for each in ours for key in each.feeds} == fed:
            return home
    values.append(([], []))
    return len(values) - 1


def _homes(matches: Sequence[Match], left: Sequence[Mapping[int, str]]) -> tuple[dict[int, int], dict[int, int]]:
    """The pair in whose box a value stands, by side and key: its own, or the first inside which it lies."""
    homes: tuple[dict[int, int], dict[int, int]] = {}, {}
    for i, match in enumerate(matches):
        for side, inside in enumerate((match.reference_inside, match.candidate_inside)):
            homes[side].update({key: i for key in inside if key not in left[side] and key not in homes[side]})
            homes[side][match.keys[side]] = i
    return homes


def _box(
    values: tuple[Sequence[FlowValue], Sequence[FlowValue]], layer: int | None, left: Sequence[Mapping[int, str]]
) -> Box:
    mine, other = (tuple((place.kind or place.op, place.name) for place in side) for side in values)
    whys = dict.fromkeys(left[side].get(place.key, "") for side in (0, 1) for place in values[side])
    return Box(mine, other, layer, "; ".join(filter(None, whys)) if layer is None else "")


def _histograms(
    alignment: Alignment, reference: BoundModel, candidate: BoundModel, samples: int
) -> Iterator[Histograms]:
    theirs, ours = candidate.run(0, samples), reference.run(0, samples)
    places, grids = alignment.values(), alignment.grids()
    matched = zip(places, alignment.matches, strict=True)
    given = {mine.key: returned(value_at(theirs, other), match.order) for (mine, other), match in matched}
    alone = ours.local(given)
    for (mine, _), grid in zip(places, grids, strict=True):
        scale: Sequence[float] = () if grid is None else grid.params.scale
        if len(scale) != 1:
            yield Histograms()
            continue
        real = given[mine.key].real
        accumulated = _histogram(value_at(ours, mine).real, real, scale[0])
        fed = alone.get(mine.key)
        local = None if fed is None else Value(mine.name, fed, mine.quant, mine.grid).real
        yield Histograms(accumulated, None if local is None else _histogram(local, real, scale[0]))


def _histogram(ours: Array, theirs: Array, step: float) -> StepHistogram:
    return step_histogram(lambda: [theirs.reshape(ours.shape).astype("f8") - ours], step)


NOTHING = ExactSum()


FINEST, BINS = 1 / 8, 64  # steps; bins at most, but for the one in the middle


@dataclass(frozen=True, slots=True)
class StepHistogram:
    """Counts of (candidate − reference) / scale, before rounding to the grid.

    Bins are ``width`` steps wide and centred on multiples of it, so that a whole step falls in the middle of a bin;
    ``first`` is the lowest centre. A value between two bins belongs to the upper one. ``rmse`` is the root of the
    mean squared error in steps: 1/√12 where errors are those of rounding alone.
    """

    step: float
    width: float
    first: float
    counts: tuple[int, ...]
    rmse: float

    @property
    def centres(self) -> tuple[float, ...]:
        """The middle of each bin, in steps."""
        return tuple(self.first + self.width * i for i in range(len(self.counts)))


def step_histogram(errors: Callable[[], Iterable[Array]], step: float) -> StepHistogram:
    """The histogram of errors (real units) over the scale ``step``; they are asked for twice, part by part.

    The first pass finds how far they reach, the second counts.
    """
    reach = max(float(np.abs(part).max()) for part in errors()) / step
    width = max(FINEST, 2.0 ** math.ceil(math.log2(2 * reach / BINS))) if reach else FINEST
    last = math.floor(reach / width + 0.5) + 1
    counts, squares, count = np.zeros(2 * last + 1, np.int64), NOTHING, 0
    for part in errors():
        steps = part.astype(np.float64).ravel() / step
        bins = np.floor(steps / width + 0.5).astype(np.int64)
        counts += np.bincount(bins + last, minlength=len(counts))
        squares, count = squares + exact_sum(np.square(steps)), count + steps.size
    filled = np.flatnonzero(counts)
    kept = counts[filled[0] : filled[-1] + 1]
    return StepHistogram(
        step, width, int(filled[0] - last) * width, tuple(kept.tolist()), math.sqrt(squares.over(count))
    )
