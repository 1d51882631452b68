"""Runtimes whose numbers are looked up or computed in this process.

One of them is the simulator, which answers in place of a runtime of another architecture that is not at hand.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np

from quantdiff.errors import RuntimeFailed
from quantdiff.files import read_file
from quantdiff.graph import Graph, Model
from quantdiff.load.tflite import read_model
from quantdiff.quant import Array, Value
from quantdiff.run.conversation import Block
from quantdiff.run.runner import MODEL_AT_MOST, Measured, Runner
from quantdiff.run.runtimes import RuntimeEntry, note_of, rules_of
from quantdiff.sim.graph.simulator import simulate
from quantdiff.tally.rows import row_sums
from quantdiff.tally.stats import RowSums


class InProcess(Runner):
    """A runtime whose tensors are had without running anything that could crash; answers as a child does."""

    def __init__(self, runtime: str, timeout: float) -> None:
        self.runtime, self.timeout = runtime, timeout
        self.delegated = []
        self._model: Model | None = None

    @abstractmethod
    def give(self, model: Model, inputs: Sequence[Array], tensors: Sequence[int]) -> list[Array]:
        """Tensors (indices) of the main graph, for inputs in the model's own types.

        Shapes: (runs, *shape of the tensor); a run may take several samples.

        Raises:
            RuntimeFailed: some of them cannot be had.
        """

    @property
    def machine(self) -> str:
        """Nobody says."""
        return ""

    def another(self) -> Self:
        """It, with room for another file."""
        return copy(self)

    def close(self) -> None:
        """Nothing was started."""

    def load(self, model: Path, *, batch: bool = True, content: Block | None = None) -> None:
        """Take another file, or ``content`` under its name."""
        del batch
        data = memoryview(read_file(model, MODEL_AT_MOST)) if content is None else memoryview(content)
        self._model = read_model(data, model)

    def run(
        self, inputs: Sequence[Array], outputs: int, on_progress: Callable[[int], None], *, apart: bool = False
    ) -> tuple[list[Array], bool]:
        """As a child does: samples along axis 0, with ``apart`` runs."""
        del on_progress
        assert self._model is not None
        graph = self._model.main
        wanted = graph.outputs[:outputs]
        if apart:
            return self.give(self._model, inputs, wanted), True
        rows, count = _rows(graph, inputs), len(inputs[0])
        found = self.give(self._model, [_by_run(array, rows) for array in _shaped(graph, inputs)], wanted)
        return [_by_sample(array, rows, count) for array in found], True

    def view(self, inputs: Sequence[Array], outputs: int) -> list[Array]:
        """As ``run``."""
        return self.run(inputs, outputs, lambda done: None)[0]

    def measure(
        self, inputs: Sequence[Array], kept: Sequence[bool], pairs: Sequence[Measured]
    ) -> tuple[list[Array], list[RowSums]]:
        """The outputs ``kept``, and the sums of each pair."""
        arrays = self.view(inputs, len(kept))
        sums = [
            row_sums(
                Value("an output", arrays[pair.output], pair.quant), pair.theirs, pair.grid, compiled=pair.compiled
            )
            for pair in pairs
        ]
        return [array for array, wanted in zip(arrays, kept, strict=True) if wanted], sums


def _rows(graph: Graph, inputs: Sequence[Array]) -> int:
    """Samples that one run takes."""
    shapes = [graph.tensors[i].shape for i in graph.inputs]
    return max([1, *(s[0] for s, array in zip(shapes, inputs, strict=True) if len(s) == array.ndim and s)])


def _shaped(graph: Graph, inputs: Sequence[Array]) -> list[tuple[Array, bool]]:
    """Each input, and whether it has an axis of samples of its own."""
    return [(a, a.ndim == len(graph.tensors[i].shape)) for a, i in zip(inputs, graph.inputs, strict=True)]


def _by_run(given: tuple[Array, bool], rows: int) -> Array:
    array, has_axis = given
    if not has_axis:
        return array
    missing = -len(array) % rows
    whole = np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array
    return whole.reshape(-1, rows, *array.shape[1:])


def _by_sample(array: Array, rows: int, count: int) -> Array:
    if array.shape[1:2] != (rows,):
        return array
    return array.reshape(-1, *array.shape[2:])[:count]


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
    """What ``runner.started`` asks for."""
    return Simulated(entry, timeout)
