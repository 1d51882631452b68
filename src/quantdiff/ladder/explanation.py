"""Explanation: for every output that differs the mechanism that makes it differ, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantdiff.compare.outcome import Failure
from quantdiff.shown import Shown

REFERENCE, INPUT, RANGES, WEIGHTS, BIAS = (
    "reference",
    "input_quantized",
    "activation_ranges",
    "weights",
    "bias_to_int32",
)
EXACT, CURVES, ROUNDING, RUNTIME = "exact_sum", "op_approximation", "rounding", "runtime"
MECHANISMS = (REFERENCE, INPUT, RANGES, WEIGHTS, BIAS, EXACT, CURVES, ROUNDING, RUNTIME)
"""The ladder from the model as it was trained to the runtime as it runs; each rung exchanges one thing more."""
EXCHANGES = (INPUT, RANGES, WEIGHTS, BIAS)
"""Those that are exchanged in the reference itself."""
LISTED = 1000
"""Differing outputs that are listed one by one; all are counted."""
FEW = 0.02
"""Share of a kernel: what is more cannot be an accident of single weights."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One mechanism exchanged, those above it too.

    ``differing_after`` outputs are still not the runtime's; ``resolved`` of those that differed at first are right
    from here on, and were not one rung above. ``changed`` outputs are not what they were one rung above. ``alone``:
    how many differ when only this is exchanged in the reference; ``without``: how many differ from the runtime's when
    only this is left out of it. None where that has no meaning: an exact sum needs integers.
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
class Advice:
    """A change that was carried out on a copy: how many outputs differed before and after it."""

    mechanism: str
    change: str
    before: int
    after: int
    note: str = ""

    @property
    def text(self) -> str:
        """``biases on the int32 grid: 1,337 → 5 differing outputs``."""
        return f"{self.change}: {self.before:,} → {self.after:,} differing outputs" + (
            f" ({self.note})" if self.note else ""
        )


@dataclass(frozen=True, slots=True)
class Explanation(Shown):
    """Every differing output accounted for.

    ``closed_reference``: with nothing exchanged the ladder gave the reference's own output, bit for bit;
    ``closed_candidate``: with everything exchanged the simulator gave the runtime's, bit for bit. ``unexplained``
    outputs came right only at the runtime itself. ``unsupported`` are operators without a kernel in the simulator.
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
    made_by: Mapping[str, object] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> float:
        """Share of outputs that differ."""
        return self.differing / self.count

    @property
    def leading(self) -> Rung | None:
        """The mechanism that brings most outputs right; None where nothing differs."""
        best = max(self.rungs, key=lambda rung: rung.resolved)
        return best if best.resolved else None

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
