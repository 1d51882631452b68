"""A reference whose framework runs in a child: the same protocol, each question a message of JSON and arrays."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff import graph, ops, quant, recording
from quantdiff.errors import QuantdiffError, RuntimeFailed, reason_of
from quantdiff.graph import Model
from quantdiff.load import data
from quantdiff.load.data import Batch, Slot, bind
from quantdiff.load.npz import slices
from quantdiff.ops import Layer
from quantdiff.quant import Array, Trace, Value
from quantdiff.recording import Comparand, ErrorStats, Flow, Recorder
from quantdiff.references.formats import Options, host_for
from quantdiff.references.reference import Reference
from quantdiff.run.conversation import TIMEOUT, Conversation, Parcel, unpacked
from quantdiff.run.process import Process
from quantdiff.run.runner import Count, unheard
from quantdiff.tally.stats import RowSums

VALUES: Mapping[str, type] = {
    each.__name__: each
    for each in (
        *(
            recording.Flow,
            recording.FlowValue,
            ops.Layer,
            ops.BatchNorm,
            ops.TrainedRange,
            quant.QuantParams,
            quant.Grid,
        ),
        *(quant.Trace, quant.Value, data.Slot, data.Batch, recording.Comparand, recording.ErrorStats, RowSums),
        *(graph.Model, graph.Graph, graph.Tensor, graph.Operator, graph.Signature, graph.Metadata),
        *(quant.BlockQuant, quant.Sparsity, quant.SparseDimension),
    )
}
"""The values that cross the seam, field by field; all others are refused."""


Sent = Any  # what JSON can say


class Encoder:
    """Turns values into JSON; ``arrays`` are what it points to, each once."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self._numbers: dict[int, int] = {}

    def encode(self, value: Any) -> Sent:
        """What ``decode`` turns back. A list comes back as a tuple.

        Raises:
            TypeError: a value of another kind.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list | tuple):
            return [self.encode(each) for each in value]
        kind, content = self._tagged(value)
        return {kind: content}

    def _tagged(self, value: Any) -> tuple[str, Sent]:
        if isinstance(value, np.ndarray):
            return "array", self._number(value)
        if isinstance(value, Path):
            return "path", str(value)
        if isinstance(value, Mapping):
            return "map", [[self.encode(k), self.encode(v)] for k, v in value.items()]
        if isinstance(value, AbstractSet):
            return "set", [self.encode(each) for each in value]
        if is_dataclass(value) and VALUES.get(name := type(value).__name__) is type(value):
            return name, [self.encode(getattr(value, each.name)) for each in fields(value) if each.init]
        raise TypeError(f"a {type(value).__name__} does not travel between processes")

    def _number(self, array: Array) -> int:
        if id(array) not in self._numbers:
            self._numbers[id(array)] = len(self.arrays)
            self.arrays.append(array)  # which keeps its id
        return self._numbers[id(array)]


def decode(sent: Sent, arrays: Sequence[Array]) -> Any:
    """The value that was encoded.

    Raises:
        TypeError, ValueError, LookupError: nothing of the kind was.
    """
    if isinstance(sent, list):
        return tuple(decode(each, arrays) for each in sent)
    if not isinstance(sent, dict):
        return sent
    ((kind, content),) = sent.items()
    if kind in PLAIN:
        return PLAIN[kind](content, arrays)
    return VALUES[kind](*(decode(each, arrays) for each in content))


PLAIN: Mapping[str, Callable[[Any, Sequence[Array]], Any]] = {
    "array": lambda number, arrays: arrays[number],
    "path": lambda text, _: Path(text),
    "map": lambda pairs, arrays: {decode(key, arrays): decode(value, arrays) for key, value in pairs},
    "set": lambda items, arrays: frozenset(decode(each, arrays) for each in items),
}


FEW = 4  # samples tell a format of what sizes the data are


class Child:
    """A host with one file open. One question at a time: threads wait for each other."""

    def __init__(self, host: Process, where: str, timeout: float = TIMEOUT) -> None:
        self._talk = Conversation(host, timeout, cures="a whole file, fewer samples or a longer --timeout", recent=0)
        self._talk.where, self._lock = where, threading.Lock()
        self.close = weakref.finalize(self, host.close)

    def call(self, name: str, *arguments: Any) -> Any:
        """What a method of ``worker.Worker`` gives.

        Raises:
            QuantdiffError: what the method raised; or the child crashed or hung.
        """
        encoder, parcel = Encoder(), Parcel()
        sent = encoder.encode(arguments)
        with self._lock:
            pieces = parcel.pack(encoder.arrays)
            reply, blocks = self._talk.ask({"call": name, "arguments": sent, "pieces": pieces}, parcel.blocks)
        if "error" in reply:
            raise self._error(reply["kind"], reply["error"])
        try:
            return decode(reply["result"], unpacked(reply["pieces"], blocks))
        except (TypeError, ValueError, LookupError) as error:
            raise RuntimeFailed(f"{self._talk.where} gave an answer that is none: {reason_of(error)}") from error

    def _error(self, kind: str, text: str) -> QuantdiffError:
        """An error of the child as the same class; one that nobody raised on purpose as a failure of the framework."""
        raised = _errors().get(kind)
        return raised(text) if raised else RuntimeFailed(f"{self._talk.where} failed: {kind}: {text}")


def _errors() -> dict[str, type[QuantdiffError]]:
    found = [QuantdiffError]
    for each in found:  # grows while it is walked
        found += each.__subclasses__()
    return {each.__name__: each for each in found}


@dataclass(frozen=True, slots=True)
class HostedReference:
    """A model in a child, on one of the engines that can run it."""

    name: str
    kind: str
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...]
    engine: int
    child: Child = field(compare=False, repr=False)

    def layers(self) -> tuple[Layer, ...]:
        """Its layers in their order.

        Raises:
            RuntimeFailed: the child crashed.
        """
        found: tuple[Layer, ...] = self.child.call("layers", self.engine)
        return found

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs for all samples, slice by slice.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: it does not run, or the child crashed.
        """
        parts, done = list[Trace](), 0
        for rows in slices(bind(batch, self.inputs, self.name), self.inputs):
            named = {slot.name: array for slot, array in zip(self.inputs, rows, strict=True)}
            parts.append(self.child.call("trace", self.engine, Batch(named, None, batch.source)))
            on_progress(done := done + len(rows[0]))
        joined = (np.concatenate([part.outputs[i].array for part in parts]) for i, _ in enumerate(self.outputs))
        outputs = (replace(value, array=array) for value, array in zip(parts[0].outputs, joined, strict=True))
        return replace(parts[0], outputs=tuple(outputs))

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with its inner values, which stay in the child until they are asked for."""
        return HostedRecorder(self)

    def lower(self) -> Model | None:
        """Its float graph of TFLite operators.

        Raises:
            BadModel: it cannot be had for this model.
        """
        found: Model | None = self.child.call("lower", self.engine)
        return found

    def settled(self, variables: Mapping[str, Mapping[str, Array]]) -> Array:
        """The bytes of a file with other values in its variables.

        Raises:
            BadModel: its format is not written.
        """
        found: Array = self.child.call("settled", self.engine, variables)
        return found


class HostedRecorder:
    """The recorder of a model in a child; a context manager."""

    def __init__(self, reference: HostedReference) -> None:
        self._reference, self._child = reference, reference.child
        self._number, self.in_flight = 0, 1
        self._flow: Flow | None = None

    def __enter__(self) -> HostedRecorder:
        self._number, self.in_flight = self._child.call("watch", self._reference.engine)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeFailed):  # it crashed, and who asked knows
            self._child.call("release", self._number)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of what was recorded."""
        found: tuple[str, ...] = self._child.call("notes", self._number)
        return found

    def run(self, inputs: Sequence[Array]) -> HostedRecording:
        """Run the model on its inputs, samples along axis 0.

        Raises:
            RuntimeFailed: it does not run, or the child crashed.
        """
        run, flow = self._child.call("run", self._number, list(inputs))
        self._flow = flow or self._flow
        assert self._flow is not None
        return HostedRecording(self._flow, self._child, (self._number, run))

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run the model, and count in the child.

        Raises:
            RuntimeFailed: as ``run``.
        """
        found: ErrorStats = self._child.call("measure", self._number, list(inputs), list(pairs), wanted)
        return found


@dataclass(frozen=True, slots=True)
class HostedRecording:
    """What one run showed; the values are in the child. ``at``: the numbers of its recorder and of the run."""

    flow: Flow
    child: Child
    at: tuple[int, int]

    def value(self, key: int) -> Array:
        """A value of this run. Shape: (samples, …)."""
        found: Array = self.child.call("value", *self.at, key)
        return found

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """The values of ``given`` computed again, each from the given ones before it."""
        found: dict[int, Array] = self.child.call("local", *self.at, given)
        return found


def open_hosted(name: str, path: Path, options: Options) -> tuple[Reference, ...]:
    """The file as its format opens it, in a child of its own.

    Raises:
        BadModel, MissingExtra: as the format.
        RuntimeFailed: the child crashed or hung.
    """
    silence = options.timeout or max([TIMEOUT, *(p.timeout for p in options.processes)])
    child = Child(host_for(name), f"{name} on {path.name}", silence)
    if options.opened is not None:
        options.opened.callback(child.close)
    try:
        few = None if options.batch is None else options.batch.part(slice(FEW))
        engines = child.call("open", path, options.allow_lambda, options.custom_objects, few)
    except BaseException:
        child.close()
        raise
    return tuple(
        HostedReference(title, kind, inputs, outputs, notes, number, child)
        for number, (title, kind, inputs, outputs, notes) in enumerate(engines)
    )
