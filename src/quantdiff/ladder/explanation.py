"""Explanation, as values: for every output that differs the mechanism that makes it differ, and what else is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantdiff.compare.outcome import Failure, Judgement, Outcome
from quantdiff.lazy import Shown

REFERENCE, REAL, REWRITTEN, INPUT, RANGES, WEIGHTS, BIAS, CLIPPING, STEPS, CURVES, ROUNDING, RUNTIME = (
    "reference",
    "real",
    "rewritten",
    "input_quantized",
    "activation_ranges",
    "weights",
    "bias_to_int32",
    "activation_clipping",
    "activation_rounding",
    "op_approximation",
    "rounding",
    "runtime",
)
MECHANISMS = (
    REFERENCE, REAL, REWRITTEN, INPUT, RANGES, WEIGHTS, BIAS, CLIPPING, STEPS, CURVES, ROUNDING, RUNTIME
)  # fmt: skip
"""The ladder from the model as it was trained to the runtime as it runs; each rung exchanges one thing more."""
FRAMEWORK, GRAPH, KERNEL, SMALLER, OUTPUT_GRID = "framework", "graph", "kernel", "smaller", "output_grid"
"""Of the frontier alone: what the reference's own floats add, what differs between the two graphs, the runtime's
arithmetic (curves and rounding), stretches of operators that are not told apart, and the output's own grid."""


FEW = 0.02
"""Share of a kernel: what is more cannot be an accident of single weights."""


@dataclass(frozen=True, slots=True)
class WrongWeights:
    """A stored kernel that rounding does not lead to: ``count`` of ``size`` weights are off, by up to ``max_steps``.

    A few that are far off were damaged or planted; where it is many, these are not the weights of this reference.
    """

    layer: str
    tensor: str
    count: int
    size: int
    max_steps: float
    worst: tuple[int, ...]

    @property
    def planted(self) -> bool:
        """True where all but a few weights are the reference's."""
        return self.count <= max(1, self.size * FEW)


@dataclass(frozen=True, slots=True)
class Matched:
    """How a constant of the file was matched with one of the reference; ``steps`` None: not at all."""

    tensor: str
    reference: str | None
    how: str
    steps: float | None
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Closeness:
    """How far one run of real arithmetic lies from the reference's outputs: in steps, and as other integers."""

    max_steps: float
    flips: int


@dataclass(frozen=True, slots=True)
class Saturated:
    """The share of the reference's outputs that lie outside what the file can say, and by how much at most."""

    share: float
    max_steps: float


LISTED = 1000
"""Differing outputs that are listed one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One mechanism exchanged, those above it too.

    ``differing_after`` outputs are still not the runtime's; ``resolved`` of those that differed at first are right
    from here on, and were not one rung above. ``changed`` outputs are not what they were one rung above. ``alone`` and
    ``without`` are filled in JSON, of the samples that were taken apart (``Frontier``).
    """

    mechanism: str
    differing_after: int
    resolved: int
    max_steps: int | None
    changed: int = 0
    alone: int | None = None
    without: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One output that differs: its place, by how many steps (None without a grid), and the rung that brings it right.

    ``output`` counts the file's outputs, ``element`` the numbers of that output for one sample.
    """

    sample: int
    output: int
    element: int
    steps: int | None
    mechanism: str


@dataclass(frozen=True, slots=True)
class LayerLadder:
    """The same rungs for one layer: elements that differ from the runtime's, one figure per rung.

    ``local``: the layer is fed with the runtime's own input, so what differs was made in this layer.
    ``local_max_steps`` is that of the layer's own error at the first rung. ``expected_exactly`` is the share of
    elements that the simulator gives otherwise than the reference, ``expected`` the same in closed form: None where
    none is known.
    """

    layer: str
    tensor: str
    op: str
    count: int
    differing_after: tuple[int, ...]
    local: tuple[int, ...]
    local_max_steps: int
    expected_exactly: float | None = None
    expected: float | None = None

    @property
    def measured(self) -> float:
        """Share of elements that differ."""
        return self.differing_after[0] / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """What one mechanism of one operator changes at the outputs.

    ``share``: its covariance with the whole error over the error's power; all shares add up to 1. ``power``: its own
    power over the error's; much more than its share where others cancel it. ``spread``: how far the shares of the two
    halves of the samples lie apart. ``rms_steps`` and ``max_steps`` are of its own changes. ``held`` is the range of
    the tensor's grid, ``met`` what the data reach, where that is what counts. ``operator`` None: an input.
    ``lost`` are features of an input, by their place along its last axis, that vary by less than one of its steps.
    """

    operator: int | None
    op: str
    layer: str
    tensor: str
    mechanism: str
    share: float
    power: float
    spread: float
    rms_steps: float
    max_steps: float
    held: tuple[float, float] | None = None
    met: tuple[float, float] | None = None
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The whole error of some samples, taken apart; ``rms_steps`` is that of the error without the output's own grid.

    ``shares`` and ``powers`` are by mechanism; ``items`` by operator too, the largest share first. ``output_grid`` is
    the power of the output's own rounding beside that of the error. ``closes``: the largest distance, in steps, of
    the sum of all items from runtime minus reference. ``shapley``: what each mechanism adds to the error's
    power in the mean over all orders, over that power; ``come_right``: how many outputs on a grid come right with it,
    the fewest and the most over all orders. ``alone``: how many of them differ from the reference's when only it acts;
    ``without``: from the runtime's when all but it do. All four empty where there are too many.
    """

    samples: int
    rms_steps: float
    shares: Mapping[str, float]
    powers: Mapping[str, float]
    items: tuple[Item, ...]
    output_grid: float
    closes: float
    shapley: Mapping[str, float] = field(default_factory=dict)
    come_right: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    alone: Mapping[str, int] = field(default_factory=dict)
    without: Mapping[str, int] = field(default_factory=dict)

    @property
    def order_distance(self) -> float | None:
        """The largest distance of a share from its mean over all orders; None where that is not known."""
        apart = [abs(self.shares.get(mechanism, 0.0) - mean) for mechanism, mean in self.shapley.items()]
        return max(apart, default=None)


@dataclass(frozen=True, slots=True)
class Signed:
    """One entry of the list that adds up to the difference of one output, in steps."""

    operator: int | None
    op: str
    layer: str
    mechanism: str
    steps: float


@dataclass(frozen=True, slots=True)
class Explanation(Shown):
    """Every differing output accounted for.

    ``closed_reference``: the items of the frontier and the reference's own floats add up to runtime minus reference
    for every output; ``closed_candidate``: with everything exchanged the simulator gave the runtime's, bit for bit.
    ``unexplained`` outputs came right only at the runtime itself. ``unsupported``: what the simulator lacks;
    ``unaccounted`` says why there is no real arithmetic, and so no frontier. ``real`` and ``rewritten`` say how near
    the lowered reference, and the file's graph with the reference's constants, come to the reference; ``departs``
    names the first operator at which the graphs part.
    ``of_the_data`` is what a reader must know of them first.
    ``expected_exactly`` is the share of outputs that the simulator of the runtime gives otherwise than the reference,
    ``expected`` that of the closed form; None where it knows none. ``differences`` are the first outputs that differ,
    each with its rung.
    """

    reference: str
    candidate: str
    runtime: str
    count: int
    samples: int
    differing: int
    closed_reference: bool
    closed_candidate: bool
    rungs: tuple[Rung, ...]
    unexplained: int
    expected_exactly: float | None = None
    expected: float | None = None
    differences: tuple[Difference, ...] = ()
    layers: tuple[LayerLadder, ...] = ()
    wrong_weights: tuple[WrongWeights, ...] = ()
    advice: tuple[Advice, ...] = ()
    unsupported: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    of_the_data: tuple[str, ...] = ()
    unaccounted: str = ""
    frontier: Frontier | None = None
    matching: tuple[Matched, ...] = ()
    real: Closeness | None = None
    rewritten: Closeness | None = None
    departs: str = ""
    saturated: Saturated | None = None
    signed: tuple[Signed, ...] = ()
    made_by: Mapping[str, object] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> float:
        """Share of outputs that differ."""
        return self.differing / self.count

    @property
    def leading(self) -> str | None:
        """The mechanism with the largest share; without shares, the one that brings most outputs right."""
        shares = self.frontier.shares if self.frontier is not None else {}
        if self.differing and any(shares.values()):
            return max(shares, key=lambda name: shares[name])
        best = max(self.rungs, key=lambda rung: rung.resolved, default=None)
        return best.mechanism if best is not None and best.resolved and not self.unaccounted else None

    def find(self, mechanism: str) -> Rung | None:
        """The rung of a mechanism, if the ladder has it."""
        return next((rung for rung in self.rungs if rung.mechanism == mechanism), None)


@dataclass(frozen=True, slots=True)
class Explanations(Shown):
    """What ``explain`` gives.

    Attributes:
        found: an explanation per runtime that runs the candidate, in the order of the settings.
        failures: for each that does not, the reason.
    """

    found: tuple[Explanation, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Parity:
    """An outcome, what each limit says of each comparison, and explanations where one is broken.

    ``left_out`` says in one line each why layers or explanations are not there.
    """

    outcome: Outcome
    judgements: tuple[Judgement, ...]
    explanations: tuple[Explanation, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def broken(self) -> tuple[Judgement, ...]:
        """The limits that do not hold."""
        return tuple(judgement for judgement in self.judgements if judgement.different)


@dataclass(frozen=True, slots=True)
class Quality:
    """Outputs beside the reference's: how many differ, the signal to noise, the share of equal top-1 decisions.

    ``rms_steps`` is the error before the output's own grid; None where only stored outputs are known.
    """

    differing: int
    sqnr_db: float
    top1_agreement: float | None
    rms_steps: float | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A change and what it would do, predicted on the graph: how many outputs differ before and after it.

    The figures are of ``samples``. ``note`` says what else is to be known, such as that a change makes it worse.
    """

    mechanism: str
    change: str
    before: int
    after: int
    note: str = ""
    samples: int = 0
    now: Quality | None = None
    then: Quality | None = None

    @property
    def text(self) -> str:
        """``biases on the int32 grid: 1,337 → 5 differing outputs, 40.1 → 61.2 dB``."""
        parts = [f"{self.before:,} → {self.after:,} differing outputs"]
        if self.now is not None and self.then is not None:
            parts.append(f"{self.now.sqnr_db:.2f} → {self.then.sqnr_db:.2f} dB")
            if self.now.rms_steps is not None and self.then.rms_steps is not None:
                parts.append(f"error {self.now.rms_steps:.3g} → {self.then.rms_steps:.3g} steps")
            if self.now.top1_agreement is not None and self.then.top1_agreement is not None:
                parts.append(f"same top-1 {self.now.top1_agreement:.1%} → {self.then.top1_agreement:.1%}")
        return f"{self.change}: {', '.join(parts)}" + (f" ({self.note})" if self.note else "")
