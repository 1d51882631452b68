"""Watch a ``.tflite`` from inside: its inner tensors, and each operator again on other inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from quantdiff.errors import RuntimeCrashed
from quantdiff.graph import Model
from quantdiff.load.rewrite import with_outputs
from quantdiff.quant import Array
from quantdiff.run.child import TIMEOUT, RuntimeProcess
from quantdiff.run.flow import Flow, tflite_flow
from quantdiff.run.tflite import as_input, may_batch


class Exposed:
    """A model of which chosen tensors are the outputs, loaded in a child of its own; a context manager."""

    def __init__(self, data: bytes, model: Model, tensors: Sequence[int], runtime: str, timeout: float) -> None:
        assert model.path is not None
        self._folder = tempfile.TemporaryDirectory(prefix="quantdiff-")
        self.tensors, self._path = tuple(tensors), Path(self._folder.name) / model.path.name
        self._path.write_bytes(with_outputs(data, self.tensors))
        self._process = RuntimeProcess(runtime, timeout=timeout)
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

    def __init__(self, model: Model, runtime: str, timeout: float = TIMEOUT) -> None:
        assert model.path is not None
        self.model, self.flow = model, tflite_flow(model, f"tflite:{runtime}")
        inner = [place.key for place in self.flow.places if place.key not in model.main.inputs]
        self._exposed = Exposed(model.path.read_bytes(), model, inner, runtime, timeout)
        self._values: dict[int, Array] = {}

    def __enter__(self) -> WatchedTflite:
        return self

    def __exit__(self, *_: object) -> None:
        self._exposed.__exit__()

    def run(self, inputs: Sequence[Array]) -> Flow:
        """Run the model on real inputs, in the order of its own; Flow tells which values there are.

        Raises:
            BadData: fractions for an input that takes whole numbers.
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        graph, name = self.model.main, self.model.path.name if self.model.path else ""
        fed = [as_input(array, graph.tensors[i], name) for i, array in zip(graph.inputs, inputs, strict=True)]
        self._values = dict(zip(graph.inputs, fed, strict=True)) | self._exposed.run(fed)
        return self.flow

    def value(self, key: int) -> Array:
        """A tensor of the last run, as the runtime has it."""
        return self._values[key]

    def local(self, given: Mapping[int, Array]) -> dict[int, Array]:
        """Each tensor of ``given`` computed anew from the given ones before it, by the operators between them."""
        del given
        return {}
