"""The child's side of a hosted reference: opens a file as its format does, and answers what is asked of it.

A request is ``{"call": NAME, "arguments": [...], "pieces": [...]}``, where NAME is a method of ``Worker`` and the
arguments are encoded as ``hosted`` says; the answer is ``{"result": …, "pieces": […]}``, or an error with its class.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from quantdiff.errors import BadModel, MissingExtra
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.ops import Layer
from quantdiff.quant import Array, Trace, Value
from quantdiff.recording import Comparand, ErrorStats, Flow, Recorder, Recording
from quantdiff.references.formats import Options, formats
from quantdiff.references.hosted import Encoder, decode
from quantdiff.references.reference import Reference, Settles
from quantdiff.run.channel import Message
from quantdiff.run.conversation import Parcel, Received, unpacked
from quantdiff.run.serving import Answer, Say

RECORDINGS = 3  # that hold: a recording does until the run after the next one


@dataclass(slots=True)
class Watched:
    """A recorder that is open, and its last runs; ``told`` is the flow that the parent knows."""

    recorder: Recorder
    opened: ExitStack
    told: Flow | None = None
    runs: dict[int, Recording] = field(default_factory=dict)


class Worker:
    """The model, and what is watched of it."""

    def __init__(self, name: str) -> None:
        self._name, self._numbers = name, count()
        self._engines: tuple[Reference, ...] = ()
        self._watched: dict[int, Watched] = {}
        self._received = Received(recent=0)
        self._calls = {
            each.__name__: each
            for each in (
                *(self.open, self.layers, self.trace, self.lower, self.settled),
                *(self.watch, self.run, self.value, self.local, self.measure, self.notes, self.release),
            )
        }

    def answer(self, request: Message, descriptors: list[int], say: Say) -> tuple[Message, list[int]]:
        """One call."""
        del say
        arrays = unpacked(request["pieces"], self._received.take(descriptors))
        result = self._calls[request["call"]](*decode(request["arguments"], arrays))
        encoder, self._sent = Encoder(), Parcel()
        sent = encoder.encode(result)
        pieces = self._sent.pack(encoder.arrays)
        return {"result": sent, "pieces": pieces}, [block.descriptor for block in self._sent.blocks]

    def open(self, path: Path, allow_lambda: bool, custom_objects: Path | None, few: Batch | None) -> tuple[Any, ...]:
        """Name, kind, inputs, outputs and notes, for each engine; ``few`` are some samples of the data."""
        self._engines = formats()[self._name].open(path, Options(allow_lambda, custom_objects, batch=few))
        return tuple((each.name, each.kind, each.inputs, each.outputs, each.notes) for each in self._engines)

    def layers(self, engine: int) -> tuple[Layer, ...]:
        """Of the reference."""
        return self._engines[engine].layers()

    def trace(self, engine: int, batch: Batch) -> Trace:
        """Of one slice of the data."""
        return self._engines[engine].trace(batch)

    def lower(self, engine: int) -> Model | None:
        """Of the reference."""
        return self._engines[engine].lower()

    def settled(self, engine: int, variables: Mapping[str, Mapping[str, Array]]) -> Array:
        """Of the reference, where its format is written."""
        reference = self._engines[engine]
        if not isinstance(reference, Settles):
            raise BadModel(f"{reference.name}: models of its kind are not written with other values; Keras models are")
        return reference.settled(variables)

    def watch(self, engine: int) -> tuple[int, int]:
        """Open a recorder: its number, and its ``in_flight``."""
        opened, number = ExitStack(), next(self._numbers)
        recorder = opened.enter_context(self._engines[engine].recorder())
        self._watched[number] = Watched(recorder, opened)
        return number, recorder.in_flight

    def run(self, number: int, inputs: Sequence[Array]) -> tuple[int, Flow | None]:
        """The number of a recording, and its flow where it is another one than before."""
        watched, run = self._watched[number], next(self._numbers)
        recording = watched.recorder.run(inputs)
        watched.runs[run] = recording
        for old in [*watched.runs][:-RECORDINGS]:
            del watched.runs[old]
        told, watched.told = watched.told, recording.flow
        return run, None if told == recording.flow else recording.flow

    def value(self, number: int, run: int, key: int) -> Array:
        """Of a recording."""
        return self._watched[number].runs[run].value(key)

    def local(self, number: int, run: int, given: Mapping[int, Value]) -> dict[int, Array]:
        """Of a recording."""
        return self._watched[number].runs[run].local(given)

    def measure(
        self, number: int, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]
    ) -> ErrorStats:
        """Of a recorder."""
        return self._watched[number].recorder.measure(inputs, pairs, wanted)

    def notes(self, number: int) -> tuple[str, ...]:
        """Of a recorder."""
        return self._watched[number].recorder.notes

    def release(self, number: int) -> None:
        """Close a recorder."""
        self._watched.pop(number).opened.close()


def answers(name: str) -> Answer:
    """What ``serving`` asks of a child's module; the framework is imported while the parent does other things."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    framework = formats()[name].framework
    assert framework is not None
    with suppress(MissingExtra):  # whoever opens a file is told
        framework.load()
    return Worker(name).answer
