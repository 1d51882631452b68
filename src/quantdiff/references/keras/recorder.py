"""Watch a Keras model from inside: every layer's output, call by call, and each layer again on other inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from quantdiff.ops import Layer
from quantdiff.quant import Array, Value
from quantdiff.recording import Comparand, ErrorStats, Flow, FlowValue, measured
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.layers import name_of, op_of_activation, parts_of, unwrapped
from quantdiff.references.keras.model import KerasModel, failing, named_layers

CLAMPS = ("linear", "relu", "relu6")
"""Activations that a converter fuses; before any other there is a value of its own."""


@dataclass(slots=True)
class Activation:
    """Stands in for a layer's activation: remembers what it was given, and can be given something else instead.

    It bears the activation's name, by which TFMOT decides whether to quantize in front of it.
    """

    function: Callable[..., Any]
    seen: Any = None
    instead: Any = None
    __name__: str = ""

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the activation."""
        self.seen = x
        return self.function(x if self.instead is None else self.instead, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Spied:
    """A layer that is watched, by the name of its place; ``activation`` where it is no clamp."""

    name: str
    layer: Any
    parts: tuple[Layer, ...]
    call: Callable[..., Any]
    activation: Activation | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer: how to repeat it, and the numbers of the values that it was given and gave.

    ``before`` is the number of what its activation was given.
    """

    spied: Spied
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    feeds: tuple[int, ...]
    gives: tuple[int, ...]
    before: int | None


@dataclass(slots=True)
class Tape:
    """What happened during one run of the model; values by number, in the order in which they were made."""

    calls: list[Call] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)  # id of a tensor → its number; ``values`` keeps it alive

    def add(self, tensor: Any) -> int:
        """A new value."""
        self.numbers[id(tensor)] = len(self.values)
        self.values.append(tensor)
        return len(self.values) - 1

    def known(self, structure: Any) -> tuple[int, ...]:
        """The numbers of the values in a structure of arguments."""
        return tuple(self.numbers[id(t)] for t in tensors(structure) if id(t) in self.numbers)


class KerasRecorder:
    """A Keras model whose layers are watched while it runs for it; a context manager.

    Values are numbered as they are made: first the model's inputs, then the outputs of each call, so that a layer
    called twice has two. One run at a time: threads wait for each other. Between its runs the model is as it was, for
    others to run.
    """

    in_flight = 1
    notes: tuple[str, ...] = ()

    def __init__(self, model: KerasModel) -> None:
        self.model, self._tape, self._watching = model, Tape(), list[tuple[Any, str, Any]]()
        self.lock = threading.Lock()

    def __enter__(self) -> KerasRecorder:
        layers = named_layers(self.model.model)
        paths = {id(layer): name for name, layer in layers}
        for name, layer in layers:
            spied = Spied(name, layer, parts_of(name, layer, paths), layer.call, self._before_activation(layer))
            self._watching.append((layer, "call", self._recording(spied)))
        return self

    def __exit__(self, *_: object) -> None:
        self._watching.clear()

    @contextmanager
    def watched(self, tape: Tape) -> Iterator[None]:
        """The layers write what they do on the tape while the block runs."""
        with self.lock, failing(self.model.name), quiet():
            self._tape, own = tape, [vars(owner).get(name) for owner, name, _ in self._watching]
            try:
                for owner, name, watching in self._watching:
                    object.__setattr__(owner, name, watching)
                yield
            finally:
                for (owner, name, _), was in zip(self._watching, own, strict=True):
                    if was is None:
                        vars(owner).pop(name, None)
                    else:
                        object.__setattr__(owner, name, was)

    def _before_activation(self, layer: Any) -> Activation | None:
        owner = unwrapped(layer)
        if not hasattr(owner, "kernel") and not hasattr(owner, "depthwise_kernel"):
            return None
        if hasattr(getattr(owner, "activation", None), "activation"):  # TFMOT wraps the function
            owner = owner.activation
        function = getattr(owner, "activation", None)
        if function is None or name_of(function) in CLAMPS:
            return None
        watched = Activation(function, __name__=name_of(function))
        self._watching.append((owner, "activation", watched))
        return watched

    def _recording(self, spied: Spied) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            tape, feeds = self._tape, self._tape.known((args, kwargs))
            output = spied.call(*args, **kwargs)
            before = None if spied.activation is None else tape.add(spied.activation.seen)
            gives = tuple(tape.add(tensor) for tensor in tensors(output))
            tape.calls.append(Call(spied, args, kwargs, feeds, gives, before))
            return output

        return recorded

    def run(self, inputs: Sequence[Array]) -> KerasRecording:
        """Run the model on its inputs, samples along axis 0.

        Raises:
            RuntimeFailed: Keras raised an error.
        """
        tf, slots, tape = frameworks().tf, self.model.inputs, Tape()
        given = [
            tf.convert_to_tensor(array.astype(slot.dtype, copy=False))
            for array, slot in zip(inputs, slots, strict=True)
        ]
        for tensor in given:
            tape.add(tensor)
        with self.watched(tape):
            results = self.model.model(given[0] if len(given) == 1 else given, training=False)
        if isinstance(results, dict):
            results = [results[name] for name in self.model.outputs]
        ends = tuple(_end(tape, tensor) for tensor in tensors(results))
        places = tuple(_places(self.model, tape, ends))
        return KerasRecording(Flow(self.model.kind, places, tuple(range(len(slots))), ends), self, tape)

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run the model and count.

        Raises:
            RuntimeFailed: Keras raised an error.
        """
        return measured(self.run(inputs), pairs, wanted)


@dataclass(frozen=True, slots=True)
class KerasRecording:
    """What one run of a Keras model showed."""

    flow: Flow
    owner: KerasRecorder
    tape: Tape

    def value(self, key: int) -> Array:
        """A value of this run. Shape: (samples, …)."""
        array: Array = self.tape.values[key].numpy()
        return array

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each value of ``given`` computed anew from the given ones before it, by the layers between them.

        What depends on no given value stays as it was.
        """
        tf, values = frameworks().tf, self.tape.values
        exchanged = {n: tf.reshape(tf.convert_to_tensor(v.real), values[n].shape) for n, v in given.items()}
        with self.owner.watched(Tape()):
            again = _Again(self.tape, exchanged)
            return {number: again.compute(number).numpy() for number in given}


def _end(tape: Tape, tensor: Any) -> int:
    """The number of an output of the model; one that no layer gave gets a new one."""
    number = tape.numbers.get(id(tensor))
    return tape.add(tensor) if number is None else number


class _Again:
    """Repeats the calls of a tape with some values exchanged."""

    def __init__(self, tape: Tape, exchanged: Mapping[int, Any]) -> None:
        self.tape, self.exchanged, self.done = tape, exchanged, dict[int, Any]()
        self.makers = {
            number: call for call in tape.calls for number in (*call.gives, call.before) if number is not None
        }

    def source(self, number: int) -> Any:
        """The exchanged value, or the one that follows from exchanged ones before it."""
        return self.exchanged[number] if number in self.exchanged else self.compute(number)

    def compute(self, number: int) -> Any:
        """The value as its layer gives it."""
        call = self.makers.get(number)
        if call is None:
            return self.tape.values[number]
        if number not in self.done:
            self._repeat(call, number)
        return self.done[number]

    def _repeat(self, call: Call, number: int) -> None:
        tf, spied = frameworks().tf, call.spied
        exchanged = {id(self.tape.values[n]): self.source(n) for n in call.feeds}
        args, kwargs = tf.nest.map_structure(lambda t: exchanged.get(id(t), t), (call.args, call.kwargs))
        if spied.activation is None or call.before is None:
            self.done.update(zip(call.gives, tensors(spied.call(*args, **kwargs)), strict=True))
            return
        if number != call.before:
            spied.activation.instead = self.source(call.before)
        try:
            results = tensors(spied.call(*args, **kwargs))
        finally:
            spied.activation.instead = None
        if number == call.before:
            self.done[number] = spied.activation.seen
        else:
            self.done.update(zip(call.gives, results, strict=True))


def _places(model: KerasModel, tape: Tape, ends: Sequence[int]) -> Iterator[FlowValue]:
    for number, slot in enumerate(model.inputs):
        yield FlowValue(number, slot.name, "input")
    known, seen = set(range(len(model.inputs))), dict[str, int]()
    behind = dict[int, tuple[int, ...]]()  # what is no float, such as a mask, is not shown: what feeds it is
    for call in tape.calls:
        spied = call.spied
        again = seen[spied.name] = seen.get(spied.name, 0) + 1
        name = spied.name + (f"#{again}" if again > 1 else "")
        feeds = tuple(dict.fromkeys(shown for n in call.feeds for shown in behind.get(n, (n,))))
        parts, op = spied.parts, spied.parts[-1].op or spied.parts[-1].kind
        if call.before is not None:
            yield FlowValue(
                call.before,
                f"{name}/pre_activation",
                op,
                feeds,
                layers=parts,
                kind=spied.parts[-1].kind,
                layer=spied.name,
            )
            parts, op, feeds = (), op_of_activation(spied.parts[-1].activation), (call.before,)
        for i, number in enumerate(call.gives):
            known.add(number)
            if tape.values[number].dtype.is_floating:
                kind = spied.parts[-1].kind if parts else spied.parts[-1].activation
                own = name + (f":{i}" if i else "")
                yield FlowValue(number, own, op, feeds, layers=parts, kind=kind, layer=spied.name)
            else:
                behind[number] = feeds
    yield from (FlowValue(n, name, "output") for n, name in zip(ends, model.outputs, strict=True) if n not in known)


def tensors(structure: Any) -> list[Any]:
    """The tensors in a nest of lists, tuples and mappings."""
    tf = frameworks().tf
    return [leaf for leaf in tf.nest.flatten(structure) if tf.is_tensor(leaf)]
