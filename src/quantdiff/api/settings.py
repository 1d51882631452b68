"""How to compare, and the children that do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantdiff.compare.comparison import TOLERANCE
from quantdiff.run.child import TIMEOUT, RuntimeProcess
from quantdiff.run.runtimes import check_installed


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare.

    Attributes:
        runtimes: names of ``run.runtimes.RUNTIMES``, such as ``xnnpack`` or ``tflm``, in the order of the results.
        tolerance: how close is close: absolute, in real units of the outputs.
        timeout: seconds that a runtime may say nothing before it is ended.
        allow_lambda: whether Lambda layers may run; they hold code.
        custom_objects: a Python file with the classes that a Keras model needs; it runs.
    """

    runtimes: tuple[str, ...] = ("xnnpack",)
    tolerance: float = TOLERANCE
    timeout: float = TIMEOUT
    allow_lambda: bool = False
    custom_objects: Path | None = None


DEFAULTS = Settings()
"""XNNPACK, a tolerance of 0.01, two minutes of silence."""


@contextmanager
def children(settings: Settings) -> Iterator[list[RuntimeProcess]]:
    """A child for every runtime, started now so that it is ready when the models are."""
    check_installed(settings.runtimes)
    with ExitStack() as stack:
        yield [stack.enter_context(RuntimeProcess(r, timeout=settings.timeout)) for r in settings.runtimes]
