"""How to compare, and the children that do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from quantdiff.compare.comparison import TOLERANCE
from quantdiff.run.child import TIMEOUT, RuntimeProcess
from quantdiff.run.tflite import check_installed


@dataclass(frozen=True, slots=True)
class Settings:
    """How to compare: on which runtimes, how close is close, how long a runtime may be silent (seconds)."""

    runtimes: tuple[str, ...] = ("xnnpack",)
    tolerance: float = TOLERANCE
    timeout: float = TIMEOUT
    allow_lambda: bool = False


DEFAULTS = Settings()


@contextmanager
def children(settings: Settings) -> Iterator[list[RuntimeProcess]]:
    """A child for every runtime, started now so that it is ready when the models are."""
    check_installed(settings.runtimes)
    with ExitStack() as stack:
        yield [stack.enter_context(RuntimeProcess(r, timeout=settings.timeout)) for r in settings.runtimes]
