"""A runtime of another architecture that is not at hand: its simulator answers in its place."""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.errors import RuntimeFailed
from quantdiff.graph import Model
from quantdiff.quant import Array
from quantdiff.run.in_process import InProcess
from quantdiff.run.runtimes import RuntimeEntry, note_of, rules_of
from quantdiff.sim.graph.simulator import simulate


class Simulated(InProcess):
    """What the runtime would give, bit for bit where the simulator knows all operators."""

    def __init__(self, entry: RuntimeEntry, timeout: float) -> None:
        super().__init__(entry.name, timeout)
        self._machine = entry.machine

    @property
    def machine(self) -> str:
        """The one whose rules are followed."""
        return self._machine

    @property
    def notes(self) -> tuple[str, ...]:
        """That nothing ran."""
        return (note_of(self.runtime),)

    def give(self, model: Model, inputs: Sequence[Array], tensors: Sequence[int]) -> list[Array]:
        """Tensors by their indices. Shapes: (runs, *shape of the tensor)."""
        chain = simulate(model.main, inputs, rules_of(self.runtime), model.subgraphs, keep=tensors)
        for item in chain.missing:
            raise RuntimeFailed(
                f"{self.runtime} is not here, and the simulator lacks {item.op} {item.index}: {item.why}"
            )
        return [chain.values[i] for i in tensors]


def start(entry: RuntimeEntry, timeout: float) -> Simulated:
    """What ``run.in_process`` asks for."""
    return Simulated(entry, timeout)
