"""A ``.tflite`` of which chosen tensors are the outputs, in a child process that stays alive between slices of data."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from quantdiff.errors import RuntimeCrashed
from quantdiff.graph import Model
from quantdiff.quant import Array
from quantdiff.run.child import TIMEOUT, Measured, RuntimeProcess
from quantdiff.run.tflite import may_batch
from quantdiff.tally.rows import RowSums

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Engine:
    """A runtime, and how long it may be silent (seconds)."""

    runtime: str
    timeout: float = TIMEOUT


class Exposed:
    """A model of which chosen tensors are the outputs, loaded in a child of its own; a context manager.

    One run at a time: threads wait for each other.
    """

    def __init__(self, data: bytes, model: Model, tensors: Sequence[int], engine: Engine) -> None:
        assert model.path is not None
        self._folder = tempfile.TemporaryDirectory(prefix="quantdiff-")
        self.tensors, self._path = tuple(tensors), Path(self._folder.name) / model.path.name
        self._path.write_bytes(data)
        self._process = RuntimeProcess(engine.runtime, timeout=engine.timeout)
        self._batch = may_batch(model.main)
        self._loaded, self._lock = False, threading.Lock()

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
        with self._lock:
            arrays = self._loaded_first(lambda: self._process.view(inputs, len(self.tensors)))
        return dict(zip(self.tensors, arrays, strict=True))

    def measure(
        self, inputs: Sequence[Array], pairs: Sequence[Measured], wanted: AbstractSet[int] = frozenset()
    ) -> tuple[dict[int, Array], list[RowSums]]:
        """The tensors ``wanted``, and the sums of pairs, whose ``output`` is a tensor.

        Raises:
            RuntimeFailed: as ``run``.
        """
        number = {tensor: i for i, tensor in enumerate(self.tensors)}
        asked = [replace(pair, output=number[pair.output]) for pair in pairs]
        kept = [tensor for tensor in self.tensors if tensor in wanted]
        chosen = [tensor in wanted for tensor in self.tensors]
        with self._lock:
            arrays, sums = self._loaded_first(lambda: self._process.measure(inputs, chosen, asked))
        return dict(zip(kept, arrays, strict=True)), sums

    def _loaded_first(self, ask: Callable[[], T]) -> T:
        try:
            if not self._loaded:
                self._process.load(self._path, batch=self._batch)
                self._loaded = True
            return ask()
        except RuntimeCrashed:
            if not self._batch:
                raise
            self._batch = self._loaded = False
            return self._loaded_first(ask)
