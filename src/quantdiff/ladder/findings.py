"""What is found beside the shares, as values: wrong weights, how constants match, how near graphs come, cures."""

from __future__ import annotations

from dataclasses import dataclass

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
