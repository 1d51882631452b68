"""What the trials of a store come to, setting by setting: error rates, paired differences, ranges, by bootstrap."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from quantdiff.errors import NotComparable
from quantdiff.experiment.store import Stored
from quantdiff.experiment.trial import CONDITIONS, DENSE, StoredRange, SweepResult, SweepTrial, Training, depth
from quantdiff.lazy import Shown

CONFIDENCE, RESAMPLES, SEED = 0.95, 10_000, 0
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval that holds it with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Box:
    """The five numbers of a box plot: extremes, quartiles, median."""

    low: float
    lower: float
    median: float
    upper: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Percentile bootstrap of the mean (Efron 1979): 10,000 resamples with replacement, seeded.

    Of one value the interval is that value: nothing is known about its spread.
    """
    sample = np.asarray(values, np.float64)
    drawn = np.random.default_rng(SEED).integers(0, len(sample), (RESAMPLES, len(sample)))
    low, high = np.quantile(sample[drawn].mean(axis=1), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(math.fsum(values) / len(values), float(low), float(high))


def sign_test(worse: int, better: int) -> float:
    """Two-sided p-value of the exact sign test; pairs without a difference are left out, as is usual.

    ``min(1, 2 · Σ C(n, k) / 2ⁿ)`` over k up to the smaller count; 1 where there is no difference at all.
    """
    n = worse + better
    tail = sum(math.comb(n, k) for k in range(min(worse, better) + 1))
    return float(min(1.0, 2 * tail / (1 << n)))


def box(values: Sequence[float]) -> Box:
    """Quartiles interpolated linearly between ordered values."""
    return Box(*(float(q) for q in np.quantile(np.asarray(values, np.float64), QUARTERS)))


@dataclass(frozen=True, slots=True)
class Engine:
    """Whose numbers these are: model, condition with its calibration, and what ran it."""

    model: str
    condition: str
    engine: str


@dataclass(frozen=True, slots=True)
class Rates:
    """The error rates of all seeds; ``depth`` is the number of dense layers of ``denseN``."""

    engine: Engine
    depth: int | None
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    interval: Interval
    box: Box


@dataclass(frozen=True, slots=True)
class Difference:
    """Error rate of ``engine`` minus that of ``against``, seed by seed."""

    engine: Engine
    against: Engine
    pairs: int
    interval: Interval
    worse: int
    better: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Gap:
    """How far outputs lie apart, over all seeds: means of shares, the largest of steps; None without a grid."""

    model: str
    condition: str
    reference: str
    candidate: str
    runs: int
    differing: float | None
    max_steps: int | None
    not_close: float
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class OwnMeans:
    """A number of the user's metric on both sides, means over all seeds; ``interval`` is candidate minus reference."""

    model: str
    condition: str
    reference: str
    candidate: str
    metric: str
    runs: int
    means: tuple[float, float]
    interval: Interval


@dataclass(frozen=True, slots=True)
class RangePair:
    """One quantizer in two files of the same training, means over ``runs`` seeds; ``equal`` in how many."""

    model: str
    calibration: str
    layer: str
    role: str
    own: tuple[float, float]
    copied: tuple[float, float]
    runs: int
    equal: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A trial without a result."""

    engine: Engine
    seed: int
    error: str


@dataclass(frozen=True, slots=True)
class Summary(Shown):
    """Everything that ``report`` shows of a study."""

    trials: int
    data: tuple[str, ...]
    versions: tuple[Mapping[str, str], ...]
    rates: tuple[Rates, ...]
    differences: tuple[Difference, ...]
    gaps: tuple[Gap, ...]
    ranges: tuple[RangePair, ...]
    failed: tuple[Failed, ...]
    metrics: tuple[OwnMeans, ...] = ()


PAIRS = (  # condition, and what it is held against, seed by seed
    ("qat", "float"),
    ("qat-bias", "qat"),
    ("qat-tflite", "qat"),
    ("qat-ptq", "qat"),
    ("copied-ptq", "qat"),
    ("copied-ptq", "qat-tflite"),
    ("ptq", "float"),
)
COPIED, OWN = "copied-ptq", "qat-tflite"  # whose ranges are shown side by side

K = TypeVar("K")
V = TypeVar("V")
Finished = Sequence[tuple[SweepTrial, SweepResult]]
Names = Mapping[Training, str]


def summarize(stored: Iterable[Stored]) -> Summary:
    """Sum up what is stored.

    Raises:
        NotComparable: nothing is.
    """
    everything = tuple(stored)
    if not everything:
        raise NotComparable("the store holds no trials yet: quantdiff sweep puts them there")
    names = _names(each.trial.training for each in everything)
    finished = [(each.trial, each.result) for each in everything if each.result is not None]
    finished.sort(key=lambda pair: _place(pair[0], names))
    rates = _rates(finished, names)
    trainings = {replace(each.trial.training, seed=0) for each in everything}
    return Summary(
        trials=len(everything),
        data=tuple(sorted({training.data.name for training in trainings})),
        versions=tuple(dict(versions) for versions in sorted({training.versions for training in trainings})),
        rates=rates,
        differences=tuple(_differences(rates)),
        gaps=tuple(_gaps(finished, names)),
        ranges=tuple(_range_pairs(finished, names)),
        failed=tuple(_failed(everything, names)),
        metrics=tuple(_metrics(finished, names)),
    )


def _names(trainings: Iterable[Training]) -> dict[Training, str]:
    """A name for every setting: the model's, and whatever else tells it from the others in the store."""
    settings = list(dict.fromkeys(replace(training, seed=0) for training in trainings))
    parts: tuple[Callable[[Training], str], ...] = (
        lambda s: f"on {s.data.name}",
        lambda s: f"{s.epochs} epochs",
        lambda s: "with bias" if s.bias else "no bias",
        lambda s: f"file {s.model.sha256[:8]}",
        lambda s: f"data {s.data.sha256[:8]}",
        lambda s: f"versions {sorted({s.versions for s in settings}).index(s.versions) + 1}",
    )
    telling = [part for part in parts if any(len(set(map(part, same))) > 1 for same in _by_model(settings))]
    return {s: ", ".join([s.model.name, *(part(s) for part in telling)]) for s in settings}


def _by_model(settings: Iterable[Training]) -> Iterable[list[Training]]:
    return _grouped((setting.model.name, setting) for setting in settings).values()


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    groups: dict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def _place(trial: SweepTrial, names: Names) -> tuple[object, ...]:
    name = trial.training.model.name
    is_dense = DENSE.fullmatch(name) is not None
    order = (not is_dense, depth(name) if is_dense else 0, names[replace(trial.training, seed=0)])
    return (*order, [*CONDITIONS].index(trial.condition), trial.calibration, trial.training.seed)


def _engine(trial: SweepTrial, names: Names, engine: str) -> Engine:
    return Engine(names[replace(trial.training, seed=0)], trial.label, engine)


def _rates(finished: Finished, names: Names) -> tuple[Rates, ...]:
    groups = _grouped(
        (_engine(trial, names, score.engine), (trial.training, score.error_rate))
        for trial, result in finished
        for score in result.scores
    )
    return tuple(
        Rates(
            engine,
            depth(match[0]) if (match := DENSE.fullmatch(runs[0][0].model.name)) else None,
            tuple(training.seed for training, _ in runs),
            (values := tuple(rate for _, rate in runs)),
            mean_interval(values),
            box(values),
        )
        for engine, runs in groups.items()
    )


def _differences(rates: Sequence[Rates]) -> Iterator[Difference]:
    """Every condition against its partner; of two with runtimes those of one runtime."""
    for ours in rates:
        for theirs in rates:
            pair = ours.engine.condition.split(" ")[0], theirs.engine.condition.split(" ")[0]
            same_runtime = ":" not in theirs.engine.engine or theirs.engine.engine == ours.engine.engine
            if ours.engine.model == theirs.engine.model and pair in PAIRS and same_runtime:
                difference = _difference(ours, theirs)
                if difference is not None:
                    yield difference


def _difference(ours: Rates, theirs: Rates) -> Difference | None:
    others = dict(zip(theirs.seeds, theirs.rates, strict=True))
    differences = [rate - others[seed] for seed, rate in zip(ours.seeds, ours.rates, strict=True) if seed in others]
    if not differences:
        return None
    worse, better = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    interval = mean_interval(differences)
    return Difference(ours.engine, theirs.engine, len(differences), interval, worse, better, sign_test(worse, better))


def _gaps(finished: Finished, names: Names) -> Iterator[Gap]:
    groups = _grouped(
        ((_engine(trial, names, c.candidate), c.reference), c.figures)
        for trial, result in finished
        for c in result.comparisons
    )
    for (engine, reference), runs in groups.items():
        shares = [f.differing / f.count for f in runs if f.differing is not None]
        steps = [f.max_steps for f in runs if f.max_steps is not None]
        yield Gap(
            engine.model,
            engine.condition,
            reference,
            engine.engine,
            len(runs),
            _mean(shares) if len(shares) == len(runs) else None,
            max(steps) if len(steps) == len(runs) else None,
            _mean([f.not_close for f in runs]),
            max(f.max_abs_error for f in runs),
        )


def _metrics(finished: Finished, names: Names) -> Iterator[OwnMeans]:
    """The user's own numbers, of the runs in which both are finite."""
    groups = _grouped(
        ((_engine(trial, names, c.candidate), c.reference, own.name), own)
        for trial, result in finished
        for c in result.comparisons
        for own in c.own
        if math.isfinite(own.reference) and math.isfinite(own.candidate)
    )
    for (engine, reference, name), runs in groups.items():
        means = _mean([own.reference for own in runs]), _mean([own.candidate for own in runs])
        whose = engine.model, engine.condition, reference, engine.engine
        yield OwnMeans(*whose, name, len(runs), means, mean_interval([own.difference for own in runs]))


def _range_pairs(finished: Finished, names: Names) -> Iterator[RangePair]:
    """Ranges of ``qat-tflite`` and ``copied-ptq``, quantizer by quantizer."""
    own = {trial.training: _by_place(result) for trial, result in finished if trial.condition == OWN}
    groups = _grouped(
        ((_engine(trial, names, ""), trial.calibration, *place), (own[trial.training][place], ours))
        for trial, result in finished
        if trial.condition == COPIED and trial.training in own
        for place, ours in _by_place(result).items()
        if place in own[trial.training]
    )
    for (engine, calibration, layer, role), runs in groups.items():
        left, right = zip(*runs, strict=True)
        equal = sum((a.low, a.high) == (b.low, b.high) for a, b in runs)
        yield RangePair(engine.model, calibration, layer, role, _ends(left), _ends(right), len(runs), equal)


def _by_place(result: SweepResult) -> dict[tuple[str, str], StoredRange]:
    return {(each.layer, each.role): each for each in result.ranges}


def _ends(ranges: Sequence[StoredRange]) -> tuple[float, float]:
    return _mean([each.low for each in ranges]), _mean([each.high for each in ranges])


def _failed(everything: Sequence[Stored], names: Names) -> Iterator[Failed]:
    for each in everything:
        seed = each.trial.training.seed
        if each.result is None:
            yield Failed(_engine(each.trial, names, ""), seed, each.error)
            continue
        for failure in each.result.failures:
            yield Failed(_engine(each.trial, names, failure.runtime), seed, failure.error)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
