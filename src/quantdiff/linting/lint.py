"""Checks by their stable codes, what one finds, and a run of all of them on a model and the one it was made from.

Each module of ``linting/checks`` registers itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from inspect import cleandoc
from typing import Any, Protocol

from quantdiff.graph import Model
from quantdiff.lazy import Registry, Shown
from quantdiff.linting.wiring import Location, is_integer_value, wirings
from quantdiff.ops import OUTPUT_RANGES, Layer


class Severity(Enum):
    """How much a finding matters; the worst comes first."""

    ERROR = "error"
    """The numbers are wrong, or a runtime refuses the file."""
    WARNING = "warning"
    """It costs accuracy or speed, and can be mended."""
    INFO = "info"
    """Worth knowing; usual in sane models."""


def counted(count: int, what: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count} {what}" + "s" * (count != 1)


@dataclass(frozen=True, slots=True)
class Found:
    """One hit of a check; ``severity`` when it matters less or more than the check's own."""

    place: Location
    evidence: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A hit with all that a reader needs."""

    code: str
    severity: Severity
    place: Location
    evidence: str
    message: str
    advice: str


Find = Callable[[Any], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Check:
    """A function that looks at one ``subject``; its docstring is the text that the user reads."""

    code: str
    severity: Severity
    subject: type
    find: Find

    @property
    def message(self) -> str:
        """What it means: the docstring's first line."""
        return cleandoc(self.find.__doc__ or "").partition("\n")[0]

    @property
    def advice(self) -> str:
        """Why it matters and what to do: the rest of the docstring, in one line."""
        return " ".join(cleandoc(self.find.__doc__ or "").partition("\n")[2].split())


CHECKS: Registry[Check] = Registry("quantdiff.linting.checks")


def check(code: str, severity: Severity, subject: type) -> Callable[[Find], Find]:
    """Register a function that yields what it finds on one ``subject``."""

    def register(find: Find) -> Find:
        CHECKS.add(code, Check(code, severity, subject, find))
        return find

    return register


def checks() -> tuple[Check, ...]:
    """Every check in the order of the codes."""
    return tuple(CHECKS.load().values())


STORED = ("int2", "int4", "int8", "uint8")
"""Types of weights that are stored as integers."""
VALUES = (*OUTPUT_RANGES, "pre_activation")
"""The ranges of computed values; all others belong to weights."""


class WithLayers(Protocol):
    """What lint asks of a reference."""

    @property
    def kind(self) -> str:
        """``qat`` after quantization-aware training."""

    def layers(self) -> tuple[Layer, ...]:
        """Its layers in their order, () where the format has none."""


@dataclass(frozen=True, slots=True)
class LearnedRange:
    """One learned range; ``low`` and ``high`` are the widest where there is one per channel."""

    place: Location
    low: float
    high: float
    of_weights: bool
    behind_relu: bool


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and the file that was made from it; ``layers`` is () where its format has none.

    ``stored_samples``: how many samples of data the reference's own file carries, where its format can.
    """

    kind: str
    layers: tuple[Layer, ...]
    model: Model
    stored_samples: int = 0

    def place(self, number: int, variable: str = "") -> Location:
        """``layer 3 quant_conv post_activation_min``."""
        return Location(f"layer {number} {self.layers[number].name} {variable}".strip())

    def ranges(self) -> Iterator[LearnedRange]:
        """Every learned range, layer by layer."""
        for number, layer in enumerate(self.layers):
            for each in layer.ranges:
                name = layer.name.rpartition("/")[2] if each.name == "quantize_layer" else each.name  # as its variables
                behind = each.name in ("post_activation", "output") and is_relu(layer)
                place, of_weights = self.place(number, f"{name}_min/max"), each.name not in VALUES
                yield LearnedRange(place, min(each.low), max(each.high), of_weights, behind)

    @property
    def file_is_quantized(self) -> bool:
        """True when the file computes anything in integers."""
        tensors = (tensor for graph in self.model.subgraphs for tensor in graph.tensors)
        return any(map(is_integer_value, tensors))

    @property
    def file_has_integer_weights(self) -> bool:
        """True when the file holds any constant as scaled integers."""
        tensors = (tensor for graph in self.model.subgraphs for tensor in graph.tensors)
        return any(
            t.is_constant and t.dtype in STORED and (t.quant is not None or t.blocks is not None) for t in tensors
        )


def is_relu(layer: Layer) -> bool:
    """True for a layer that ends in a ReLU of any height and no slope below 0."""
    if layer.kind == "ReLU":
        return not float(layer.options.get("negative_slope") or 0)
    return layer.activation in ("relu", "relu6", "ReLU")


ORDER = tuple(Severity)


@dataclass(frozen=True, slots=True)
class LintReport(Shown):
    """What all checks found, the worst first, then by code and place."""

    model: Model
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity.value: found[severity] for severity in ORDER}

    @property
    def is_clean(self) -> bool:
        """True when nothing is worse than information."""
        return all(finding.severity is Severity.INFO for finding in self.findings)


def lint_model(model: Model, reference: WithLayers | None = None) -> LintReport:
    """Every finding on ``model``; with ``reference``, on its quantization-aware ranges too. Needs no data."""
    subjects: list[object] = list(wirings(model))
    if reference is not None:
        subjects.append(Trained(reference.kind, reference.layers(), model, getattr(reference, "stored_samples", 0)))
    findings = [finding for check in checks() for finding in _findings(check, subjects)]
    return LintReport(model, tuple(sorted(findings, key=lambda finding: ORDER.index(finding.severity))))


def _findings(check: Check, subjects: list[object]) -> Iterator[Finding]:
    for subject in subjects:
        if isinstance(subject, check.subject):
            for found in check.find(subject):
                yield _finding(check, found)


def _finding(check: Check, found: Found) -> Finding:
    severity = found.severity or check.severity
    return Finding(check.code, severity, found.place, found.evidence, check.message, check.advice)
