"""Count, slice by slice, what differs at each rung and at which rung each output comes right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantdiff.ladder.explanation import LISTED, Difference, LayerLadder, Rung
from quantdiff.quant import Array


@dataclass(frozen=True, slots=True)
class Target:
    """What the runtime gave for one output or one tensor: integers of its grid, or floats where there is none.

    Floats count as equal within ``tolerance``, in real units; any NaN equals any other.
    """

    values: Array
    tolerance: float | None = None

    def wrong(self, values: Array) -> Array:
        """Which elements are not the runtime's. Shape (samples, elements)."""
        mine = values.reshape(self.values.shape)
        if self.tolerance is None:
            return np.asarray(mine != self.values)
        with np.errstate(invalid="ignore", over="ignore"):  # a file may give infinities
            close = np.abs(mine.astype(np.float64) - self.values) <= self.tolerance
        wrong: Array = ~(close | (mine == self.values) | (np.isnan(mine) & np.isnan(self.values)))
        return wrong

    def distance(self, values: Array) -> int | None:
        """The largest difference in steps; None where there is no grid."""
        if self.tolerance is not None:
            return None
        wide = np.int16 if values.dtype.itemsize == self.values.dtype.itemsize == 1 else np.int64
        apart = np.subtract(values.reshape(self.values.shape), self.values, dtype=wide)
        return max(int(apart.max(initial=0)), -int(apart.min(initial=0)))


@dataclass(slots=True)
class Account:
    """Running sums over the data; nothing grows with it."""

    mechanisms: tuple[str, ...]
    count: int = 0
    differing: int = 0
    after: list[int] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    steps: list[int | None] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    listed: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.mechanisms)
        self.after, self.resolved, self.changed, self.steps = [0] * size, [0] * size, [0] * size, [0] * size

    def add(
        self, targets: Sequence[Target], rungs: Sequence[Sequence[Array]], start: int = 0, samples: int = 1
    ) -> None:
        """Outputs at every rung, each a sequence in the order of ``targets``, of ``samples`` beginning with ``start``.

        An output comes right at the first rung from which on it is the runtime's at every rung.
        """
        for k, target in enumerate(targets):
            wrong = np.stack([target.wrong(outputs[k]).ravel() for outputs in rungs])
            self.count += wrong.shape[1]
            self.differing += int(np.count_nonzero(wrong[0]))
            last_wrong = len(rungs) - 1 - np.argmax(wrong[::-1], axis=0)
            came_right = np.bincount(last_wrong[wrong[0]] + 1, minlength=len(rungs) + 1)
            self._list(k, target, rungs[0][k], last_wrong + 1, (start, samples))
            for r, outputs in enumerate(rungs):
                self.after[r] += int(np.count_nonzero(wrong[r]))
                self.resolved[r] += int(came_right[r])
                self.steps[r] = _larger(self.steps[r], target.distance(outputs[k]))
                if r > 0:
                    self.changed[r] += int(
                        np.count_nonzero(Target(rungs[r - 1][k], target.tolerance).wrong(outputs[k]))
                    )

    def _list(self, output: int, target: Target, first: Array, right: Array, samples: tuple[int, int]) -> None:
        """Where the first differing outputs are, and the rung from which on each is right."""
        start, count = samples
        size = right.size // count
        flat, truth = first.ravel(), target.values.ravel()
        for i in np.flatnonzero(target.wrong(first).ravel())[: LISTED - len(self.listed)].tolist():
            steps = None if target.tolerance is not None else int(flat[i]) - int(truth[i])
            mechanism = self.mechanisms[right[i]]
            self.listed.append(Difference(start + i // size, output, i % size, steps, mechanism))

    def __add__(self, other: Account) -> Account:
        """With the samples behind; what the first of them lack is not known of the others."""
        both = Account(self.mechanisms, self.count + other.count, self.differing + other.differing)
        both.after, both.resolved, both.changed = (
            [a + b for a, b in zip(*each, strict=True)]
            for each in ((self.after, other.after), (self.resolved, other.resolved), (self.changed, other.changed))
        )
        both.steps = [_larger(a, b) for a, b in zip(self.steps, other.steps, strict=True)]
        both.listed = [*self.listed, *other.listed][:LISTED]
        return both

    def rungs(self) -> tuple[Rung, ...]:
        """The ladder as values."""
        rows = zip(self.mechanisms, self.after, self.resolved, self.steps, self.changed, strict=True)
        return tuple(Rung(*row) for row in rows)


@dataclass(slots=True)
class LayerAccount:
    """The same for one layer: accumulated and local."""

    layer: str
    tensor: str
    op: str
    rungs: int
    count: int = 0
    after: list[int] = field(default_factory=list)
    local: list[int] = field(default_factory=list)
    local_steps: int = 0

    def __post_init__(self) -> None:
        self.after, self.local = [0] * self.rungs, [0] * self.rungs

    def add(self, target: Target, whole: Mapping[int, Array], local: Mapping[int, Array]) -> None:
        """The layer's output by rung; a rung that is left out differs nowhere."""
        self.count += target.values.size
        arrays = {id(values): values for values in (*whole.values(), *local.values())}  # many rungs change nothing
        wrong = {key: int(np.count_nonzero(target.wrong(values))) for key, values in arrays.items()}
        for r, values in whole.items():
            self.after[r] += wrong[id(values)]
        for r, values in local.items():
            self.local[r] += wrong[id(values)]
        if 0 in local:
            self.local_steps = max(self.local_steps, target.distance(local[0]) or 0)

    def __add__(self, other: LayerAccount) -> LayerAccount:
        """With the samples behind."""
        both = LayerAccount(self.layer, self.tensor, self.op, self.rungs, self.count + other.count)
        both.after = [a + b for a, b in zip(self.after, other.after, strict=True)]
        both.local = [a + b for a, b in zip(self.local, other.local, strict=True)]
        both.local_steps = max(self.local_steps, other.local_steps)
        return both

    def value(self) -> LayerLadder:
        """The layer's ladder as a value."""
        return LayerLadder(
            self.layer,
            self.tensor,
            self.op,
            self.count,
            tuple(self.after),
            tuple(self.local),
            self.local_steps,
        )


def _larger(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)
