"""Watch a ``.tflite`` from inside: its inner tensors, and each operator again on other inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from quantdiff.errors import RuntimeCrashed
from quantdiff.graph import Model
from quantdiff.load.exchange import with_inputs
from quantdiff.load.rewrite import with_outputs
from quantdiff.quant import Array
from quantdiff.run.child import TIMEOUT, RuntimeProcess
from quantdiff.run.flow import Flow, Place, tflite_flow
from quantdiff.run.tflite import as_input, may_batch
from quantdiff.trace import Value


@dataclass(frozen=True, slots=True)
class Engine:
    """A runtime, and how long it may be silent (seconds)."""

    runtime: str
    timeout: float = TIMEOUT


class Exposed:
    """A model of which chosen tensors are the outputs, loaded in a child of its own; a context manager."""

    def __init__(self, data: bytes, model: Model, tensors: Sequence[int], engine: Engine) -> None:
        assert model.path is not None
        self._folder = tempfile.TemporaryDirectory(prefix="quantdiff-")
        self.tensors, self._path = tuple(tensors), Path(self._folder.name) / model.path.name
        self._path.write_bytes(data)
        self._process = RuntimeProcess(engine.runtime, timeout=engine.timeout)
        self._batch = may_batch(model.main)
        self._loaded = False

    def __enter__(self) -> Exposed:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()
        self._folder.cleanup()

    def run(self, inputs: Sequence[Array]) -> dict[int, Array]:
        """Tensor → values. Shapes: (samples, …).

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs; a crash in batches leads to single samples.
        """
        try:
            if not self._loaded:
                self._process.load(self._path, batch=self._batch)
                self._loaded = True
            arrays, _ = self._process.run(inputs, len(self.tensors), lambda done: None)
        except RuntimeCrashed:
            if not self._batch:
                raise
            self._batch = self._loaded = False
            return self.run(inputs)
        return dict(zip(self.tensors, arrays, strict=True))


class WatchedTflite:
    """A ``.tflite`` on a runtime, with its inner tensors; a context manager. Only the last run is kept."""

    def __init__(self, model: Model, engine: Engine) -> None:
        assert model.path is not None
        self.model, self.flow, self._engine = model, tflite_flow(model, f"tflite:{engine.runtime}"), engine
        self._places, self._file = self.flow.by_key(), model.path.read_bytes()
        inner = [key for key in self._places if key not in model.main.inputs]
        self._exposed = Exposed(with_outputs(self._file, inner), model, inner, engine)
        self._values: dict[int, Array] = {}
        self._exchanged: tuple[tuple[int, ...], Exposed] | None = None

    def __enter__(self) -> WatchedTflite:
        return self

    def __exit__(self, *_: object) -> None:
        self._exposed.__exit__()
        if self._exchanged is not None:
            self._exchanged[1].__exit__()

    def run(self, inputs: Sequence[Array]) -> Flow:
        """Run the model on real inputs, in the order of its own; Flow tells which values there are.

        Raises:
            BadData: fractions for an input that takes whole numbers.
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        graph, name = self.model.main, self.model.path.name if self.model.path else ""
        self._fed = [as_input(array, graph.tensors[i], name) for i, array in zip(graph.inputs, inputs, strict=True)]
        self._values = dict(zip(graph.inputs, self._fed, strict=True)) | self._exposed.run(self._fed)
        return self.flow

    def value(self, key: int) -> Array:
        """A tensor of the last run, as the runtime has it."""
        return self._values[key]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each tensor of ``given`` computed anew from the given ones before it, by the operators between them.

        Floats take any values, integers only those of their own grid: a tensor that depends on others is left out.
        """
        fed = {key: array for key, value in given.items() if (array := _as(self._places[key], value)) is not None}
        fed = {key: array.reshape(self._values[key].shape) for key, array in fed.items()}
        wanted = tuple(key for key in given if self._depends(key, given.keys()) <= fed.keys())
        own = {key: self._values[key] for key in wanted if key in self.model.main.inputs}
        inner = tuple(key for key in wanted if key not in own)
        if not inner:
            return own
        return own | self._exchange(tuple(fed), inner).run([*self._fed, *fed.values()])

    def _depends(self, key: int, given: AbstractSet[int]) -> set[int]:
        """The given places that ``key`` is computed from directly, others between them aside."""
        found, waiting = set(), list(self._places[key].feeds)
        for current in waiting:  # grows while it is walked
            if current in given:
                found.add(current)
            else:
                waiting += [feed for feed in self._places[current].feeds if feed not in waiting]
        return found

    def _exchange(self, fed: tuple[int, ...], wanted: tuple[int, ...]) -> Exposed:
        if self._exchanged is None or self._exchanged[0] != (*fed, *wanted):
            exposed = Exposed(with_inputs(self._file, fed, wanted), self.model, wanted, self._engine)
            self._exchanged = (*fed, *wanted), exposed
        return self._exchanged[1]


def _as(place: Place, value: Value) -> Array | None:
    """The value as the place holds it, None where its integers cannot."""
    if place.quant is None:
        return value.real
    alike = value.quant == place.quant and place.grid is not None and value.array.dtype.name == place.grid.dtype
    return value.array if alike else None
