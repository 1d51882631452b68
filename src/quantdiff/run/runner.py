"""What runs a file under the name of a runtime: the contract of a child, and of what stands for one in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from quantdiff.graph import Graph, Model
from quantdiff.quant import Array, Grid, QuantParams, Value
from quantdiff.run.runtimes import entry_of, not_simulated
from quantdiff.run.shared_memory import Block
from quantdiff.sim.device import Rules
from quantdiff.tally.rows import RowSums

Parts = list[tuple[list[int], list[int]]]
"""The parts of a graph that a delegate runs: input and output tensors of each."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An output by number and how it is to be read, what it is held against, the integers that count, and by what."""

    output: int
    theirs: Value
    quant: QuantParams | None = None
    grid: Grid | None = None
    compiled: bool = True


class Runner(ABC):
    """One file on one runtime; a context manager.

    Attributes:
        runtime: its name, as it was asked for.
        timeout: seconds that it may say nothing.
        delegated: what a delegate runs of the file that was loaded.
        of_one_file: whether it knows what one file gives for some data, and nothing else.
    """

    runtime: str
    timeout: float
    delegated: Parts
    of_one_file = False

    @property
    def rules(self) -> Rules | None:
        """Whose rules the simulator has for it, if any; raises as ``machine``."""
        return entry_of(self.runtime).rules_on(self.machine)

    @property
    def known_rules(self) -> Rules:
        """The same, where they are needed.

        Raises:
            NotSimulated: nobody knows them.
        """
        rules = self.rules
        if rules is None:
            raise not_simulated(self.runtime)
        return rules

    @property
    @abstractmethod
    def machine(self) -> str:
        """The architecture that it runs on; a child is asked where nobody else knows, empty where nobody does.

        Raises:
            RuntimeFailed: the child does not come.
        """

    @property
    def versions(self) -> Mapping[str, str] | None:
        """Versions by package where it runs, if that is somewhere else; raises as ``machine``."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of all that it gives."""
        return ()

    def holds(self, graph: Graph) -> frozenset[int] | None:
        """The tensors that it can give; None: every one."""
        del graph
        return None

    def attend(self, model: Model, inputs: Sequence[Array]) -> None:
        """Hear all inputs of the file that will be asked for, before anything runs. Shapes: (runs, *shape).

        Raises:
            BadData: it knows what another model or other data give.
        """
        del model, inputs

    def own_inputs(self, model: Model) -> list[Array] | None:
        """What it was fed with, where that is known. Shapes: (runs, *shape of the input); raises as ``attend``."""
        del model
        return None

    @abstractmethod
    def another(self) -> Self:
        """One more of it, for another file at the same time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End what runs."""

    @abstractmethod
    def load(self, model: Path, *, batch: bool = True, content: Block | None = None) -> None:
        """Load a model; ``batch`` False runs it sample by sample whatever it allows.

        ``content`` is what counts where it is not the file's, whose name alone is used then.

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs over it, or there is none of that name.
        """

    @abstractmethod
    def run(
        self, inputs: Sequence[Array], outputs: int, on_progress: Callable[[int], None], *, apart: bool = False
    ) -> tuple[list[Array], bool]:
        """All outputs for all samples, and whether they were computed in batches.

        ``apart``: one run a sample along axis 0 of the inputs, and of the outputs, whose own shapes stand behind it.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs.
        """

    @abstractmethod
    def view(self, inputs: Sequence[Array], outputs: int) -> list[Array]:
        """As ``run``, perhaps in the runtime's memory: arrays hold until the call after ``VIEWS`` - 1 others."""

    @abstractmethod
    def measure(
        self, inputs: Sequence[Array], kept: Sequence[bool], pairs: Sequence[Measured]
    ) -> tuple[list[Array], list[RowSums]]:
        """Hold outputs against other values where they are: the outputs ``kept`` of all, and the sums of each pair.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs, or a pair has two sizes.
        """
