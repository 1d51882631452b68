"""Watch a ``.tflite`` from inside: its inner tensors, and each operator again on other inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from quantdiff.errors import RuntimeCrashed
from quantdiff.graph import Model
from quantdiff.load.rewire import with_inputs
from quantdiff.load.rewrite import with_outputs
from quantdiff.quant import Array
from quantdiff.run.child import TIMEOUT, RuntimeProcess
from quantdiff.run.flow import Flow, Place, tflite_flow
from quantdiff.run.tflite import as_input, may_batch
from quantdiff.trace import Grid, Value


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
            arrays = self._process.view(inputs, len(self.tensors))
        except RuntimeCrashed:
            if not self._batch:
                raise
            self._batch = self._loaded = False
            return self.run(inputs)
        return dict(zip(self.tensors, arrays, strict=True))


class WatchedTflite:
    """A ``.tflite`` on a runtime, with its inner tensors; a context manager."""

    def __init__(self, model: Model, engine: Engine) -> None:
        assert model.path is not None
        self.model, self.flow, self._engine = model, tflite_flow(model, f"tflite:{engine.runtime}"), engine
        self.places, self._file = self.flow.by_key(), model.path.read_bytes()
        inner = [key for key in self.places if key not in model.main.inputs]
        self._exposed = Exposed(with_outputs(self._file, inner), model, inner, engine)
        self._exchanged: tuple[object, Exposed] | None = None

    def __enter__(self) -> WatchedTflite:
        return self

    def __exit__(self, *_: object) -> None:
        self._exposed.__exit__()
        if self._exchanged is not None:
            self._exchanged[1].__exit__()

    def run(self, inputs: Sequence[Array]) -> SeenTflite:
        """Run the model on real inputs, in the order of its own.

        Raises:
            BadData: fractions for an input that takes whole numbers.
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        graph, name = self.model.main, self.model.path.name if self.model.path else ""
        fed = [as_input(array, graph.tensors[i], name) for i, array in zip(graph.inputs, inputs, strict=True)]
        values = dict(zip(graph.inputs, fed, strict=True)) | self._exposed.run(fed)
        return SeenTflite(self.flow, self, values)

    def exchanged(self, given: Mapping[int, Grid | None], wanted: Sequence[int]) -> Exposed:
        """The model that takes the values ``given`` as inputs; the same one as long as it is asked for the same."""
        asked = tuple(given.items()), tuple(wanted)
        if self._exchanged is None or self._exchanged[0] != asked:
            if self._exchanged is not None:
                self._exchanged[1].__exit__()
            exposed = Exposed(with_inputs(self._file, given, wanted), self.model, wanted, self._engine)
            self._exchanged = asked, exposed
        return self._exchanged[1]


@dataclass(frozen=True, slots=True)
class SeenTflite:
    """What one run of a ``.tflite`` showed, as the runtime has it."""

    flow: Flow
    owner: WatchedTflite
    values: Mapping[int, Array]

    def value(self, key: int) -> Array:
        """A tensor of this run."""
        return self.values[key]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each tensor of ``given`` computed anew from the given ones before it, by the operators between them.

        Floats take any values, integers only those of their own grid: a tensor that depends on others is left out.
        """
        inputs, places = self.owner.model.main.inputs, self.owner.places
        fed = {key: value for key, value in given.items() if _fits(places[key], value)}
        wanted = [key for key in given if self._depends(key, given.keys()) <= fed.keys()]
        own, inner = {key: self.values[key] for key in wanted if key in inputs}, [k for k in wanted if k not in inputs]
        if not inner:
            return own
        grids = {key: value.grid if places[key].quant is None and value.quant else None for key, value in fed.items()}
        arrays = [value.array.reshape(self.values[key].shape) for key, value in fed.items()]
        return own | self.owner.exchanged(grids, inner).run([*(self.values[i] for i in inputs), *arrays])

    def _depends(self, key: int, given: AbstractSet[int]) -> set[int]:
        """The given places that ``key`` is computed from directly, others between them aside."""
        places = self.owner.places
        found, waiting = set(), list(places[key].feeds)
        for current in waiting:  # grows while it is walked
            if current in given:
                found.add(current)
            else:
                waiting += [feed for feed in places[current].feeds if feed not in waiting]
        return found


def _fits(place: Place, value: Value) -> bool:
    """Whether the place can hold the value as it is: floats all, integers those of one grid."""
    return place.quant is None or (
        value.quant == place.quant
        and value.grid is not None
        and place.grid is not None
        and value.array.dtype.name == place.grid.dtype
    )
