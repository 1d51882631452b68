"""What the trials of a store come to: error rates, paired differences, how far outputs lie apart, ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantdiff.experiment.statistics import Box, Interval
from quantdiff.shown import Shown


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
