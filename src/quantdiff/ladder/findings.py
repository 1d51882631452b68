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
