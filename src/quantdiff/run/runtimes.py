"""The runtimes: one row for each, and the contract of the adapter that drives it. Importing this imports no runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from quantdiff.errors import NotSimulated, RuntimeUnavailable
from quantdiff.sim.runtime import Runtime

if TYPE_CHECKING:  # NumPy, which the command line does without
    from quantdiff.quant import Array

ALL = "all"
"""Stands for every runtime that is installed."""

SILENCE_AT_MOST = 1_000_000
"""Seconds that a runtime may be told to be silent: eleven days; clocks of systems end somewhere beyond."""


class OpenModel(Protocol):
    """A model that is open on a runtime, at one batch size: what an adapter gives, in the child process.

    Attributes:
        inputs: shape of each input as the next ``invoke`` takes it, in the order of the file.
        outputs: how many outputs the model has.
        delegated: input and output tensors (indices) of every part of the graph that a delegate runs.
    """

    inputs: list[tuple[int, ...]]
    outputs: int
    delegated: list[tuple[list[int], list[int]]]

    def resize(self, shapes: list[tuple[int, ...]]) -> bool:
        """Give the inputs other shapes; False where the runtime or the model refuses, and the model is of no more use.

        One that cannot at all, and stays as it is, says False too.
        """
        ...

    def invoke(self, inputs: list[Array]) -> None:
        """Run once, from the state that the model has when it is opened.

        Shapes and dtypes: those of the file's inputs, integers as they are stored.

        Raises:
            Exception: the runtime refuses; its text is what the person reads.
        """
        ...

    def output(self, i: int) -> Array:
        """Output number ``i`` of the last run, with the file's dtype.

        May be the runtime's own memory: the caller lets go of it before the next call.
        """
        ...


class Adapter(Protocol):
    """The module that drives a runtime; only the child process imports it."""

    def open_model(self, model: str, runtime: str) -> OpenModel:
        """Load the file ``model`` on the runtime of that name.

        Raises:
            Exception: the runtime refuses the model; its text is what the person reads.
        """
        ...


@dataclass(frozen=True, slots=True)
class RuntimeEntry:
    """A runtime: its adapter module, the package on PyPI that holds it, and the extra that brings that, if one does."""

    name: str
    adapter: str
    package: str
    extra: str = ""

    @property
    def installed(self) -> bool:
        """Whether it can be started here."""
        return find_spec(self.package.replace("-", "_")) is not None

    @property
    def simulated(self) -> Runtime | None:
        """Whose rules the simulator has for it, if any."""
        return Runtime(self.name) if self.name in {runtime.value for runtime in Runtime} else None


RUNTIMES = {
    entry.name: entry
    for entry in (
        RuntimeEntry("xnnpack", "quantdiff.run.litert", "ai-edge-litert"),
        RuntimeEntry("builtin", "quantdiff.run.litert", "ai-edge-litert"),
        RuntimeEntry("reference", "quantdiff.run.litert", "ai-edge-litert"),
        RuntimeEntry("tflm", "quantdiff.run.tflm", "tflite-micro", extra="tflm"),
    )
}
"""Every runtime by its name, in the order in which results show them."""


def entry_of(name: str) -> RuntimeEntry:
    """The row of a runtime.

    Raises:
        RuntimeUnavailable: there is none of that name.
    """
    if name not in RUNTIMES:
        raise RuntimeUnavailable(f"no runtime {name!r}: there are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def installed() -> tuple[str, ...]:
    """The runtimes that can be started here."""
    return tuple(name for name, entry in RUNTIMES.items() if entry.installed)


def chosen(names: str | Sequence[str]) -> tuple[str, ...]:
    """Each runtime of ``names`` once, in their order; ``all`` stands for those that are installed.

    Raises:
        ValueError: one of them is no runtime, or there are none.
    """
    asked = (names,) if isinstance(names, str) else tuple(names)
    if not asked or not {*asked} <= {*RUNTIMES, ALL}:
        raise ValueError(f"runtime={names!r}: there are {', '.join(RUNTIMES)} and {ALL}")
    return installed() if ALL in asked else tuple(dict.fromkeys(asked))


def check_installed(names: Sequence[str]) -> None:
    """Refuse what cannot be started, before any work is done.

    Raises:
        RuntimeUnavailable: there is no such runtime, or it is not installed; says what to install.
    """
    for entry in map(entry_of, names):
        if not entry.installed:
            wanted = f"'quantdiff[{entry.extra}]'" if entry.extra else entry.package
            raise RuntimeUnavailable(f"runtime {entry.name} is not installed: pip install {wanted}")


def check_timeout(seconds: float) -> None:
    """Refuse what is no time to wait.

    Raises:
        ValueError: not above 0, NaN, or longer than ``SILENCE_AT_MOST``.
    """
    if not 0 < seconds <= SILENCE_AT_MOST:
        raise ValueError(f"timeout={seconds}: give seconds, above 0 and at most {SILENCE_AT_MOST:,}")


def rules_of(name: str) -> Runtime:
    """The rules by which the simulator computes what this runtime does.

    Raises:
        NotSimulated: it has none for this runtime.
        RuntimeUnavailable: there is no such runtime.
    """
    rules = entry_of(name).simulated
    if rules is None:
        known = ", ".join(each for each, entry in RUNTIMES.items() if entry.simulated)
        raise NotSimulated(f"runtime {name} is not simulated, so its arithmetic cannot be shown; these are: {known}")
    return rules
