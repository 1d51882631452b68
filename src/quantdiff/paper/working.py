"""The arithmetic of one output element, written out: values only, so that text and JSON show the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantdiff.lazy import Shown

Real = int | float
Number = Real | complex


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor that takes part: ``real = scale * (q - zero_point)``, for the channel of the element.

    ``at`` and ``value`` are its element where a single one takes part, else None.
    """

    role: str
    name: str
    dtype: str
    scale: float | None
    zero_point: int | None
    at: tuple[int, ...] | None = None
    value: Number | None = None

    @property
    def integer(self) -> int:
        """Its element, which is one; 0 where it has none."""
        return 0 if self.value is None else int(self.value.real)


@dataclass(frozen=True, slots=True)
class Term:
    """One product ``x * w`` of stored integers, and where they lie."""

    x_at: tuple[int, ...]
    x: int
    w_at: tuple[int, ...]
    w: int
    product: int


@dataclass(frozen=True, slots=True)
class Products:
    """A dot product of stored integers with the zero points split off.

    ``accumulator = sum_xw + for_z_w + for_z_x + for_both``, then the bias: ``total``.
    """

    terms: tuple[Term, ...]
    padded: int
    """Taps outside the image: they count as the zero point and add nothing."""
    count: int
    z_x: int
    z_w: int
    sum_xw: int
    sum_x: int
    sum_w: int
    for_z_w: int
    """``-z_w * sum_x``"""
    for_z_x: int
    """``-z_x * sum_w``"""
    for_both: int
    """``count * z_x * z_w``"""
    accumulator: int
    bias: int | None
    total: int


@dataclass(frozen=True, slots=True)
class Step:
    """One line: its name, how it is computed, its value; ``exact`` is what was there before it was rounded.

    ``terms`` are the values of a sum or of a maximum over a window.
    """

    name: str
    formula: str
    value: Number
    exact: float | None = None
    terms: tuple[int, ...] = ()

    @property
    def integer(self) -> int:
        """Its value, which is one."""
        return int(self.value.real)


@dataclass(frozen=True, slots=True)
class Given:
    """What a runtime's rule gives for the same inputs; ``kernel`` names the runtime whose kernel runs.

    Where it is not known to the last bit there may be ``bounds``.
    """

    runtime: str
    kernel: str
    value: Number | None
    why: str = ""
    bounds: tuple[Number, Number] | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The arithmetic alone: operands, the sum where there is one, and step after step to the result.

    ``bounds``, where the order of a runtime's sums is not known, hold what it gives in any order; the result lies
    between.
    """

    operands: tuple[Operand, ...]
    steps: tuple[Step, ...]
    products: Products | None = None
    rule: str = ""
    bounds: tuple[Number, Number] | None = None

    @property
    def result(self) -> Number:
        """The last step's value."""
        return self.steps[-1].value


@dataclass(frozen=True, slots=True)
class Working(Shown):
    """One element of one operator's output on one runtime, and what that runtime really gave there.

    ``element`` is as it was asked for, ``at`` the place in the output tensor of that sample; ``real`` is the
    result in real units; ``others`` are all four runtimes' rules on the same inputs.
    """

    index: int
    op: str
    element: tuple[int, ...]
    at: tuple[int, ...]
    runtime: str
    kernel: str
    sheet: Sheet
    runtime_gave: Number
    real: Number
    others: tuple[Given, ...]
    made_by: Mapping[str, object] = field(default_factory=dict, compare=False)
