"""Watch a Keras model from inside: every layer's output, call by call, and each layer again on other inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantdiff.errors import RuntimeFailed
from quantdiff.load.frameworks import frameworks, quiet
from quantdiff.load.keras import KerasModel, flat_layers
from quantdiff.quant import Array
from quantdiff.run.flow import Flow, Place
from quantdiff.trace import Value


@dataclass(slots=True)
class Call:
    """One call of a layer: how to repeat it, and the numbers of the values that it was given and gave."""

    layer: Any
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    feeds: tuple[int, ...]
    gives: range


@dataclass(slots=True)
class _Tape:
    """What happened during one run of the model."""

    calls: list[Call] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)  # id of a tensor → its number; ``values`` keeps it alive

    def add(self, tensor: Any) -> int:
        self.numbers[id(tensor)] = len(self.values)
        self.values.append(tensor)
        return len(self.values) - 1


class WatchedKeras:
    """A Keras model whose layers are watched while it is open; a context manager.

    Values are numbered as they are made: first the model's inputs, then the outputs of each call, so that a layer
    called twice has two. Only the last run is kept.
    """

    def __init__(self, model: KerasModel) -> None:
        self.model, self._tape, self._patched = model, _Tape(), list[tuple[Any, Any]]()

    def __enter__(self) -> WatchedKeras:
        for layer in flat_layers(self.model.model) if hasattr(self.model.model, "layers") else ():
            if not hasattr(layer, "layers"):
                self._patched.append((layer, vars(layer).get("call")))
                object.__setattr__(layer, "call", self._recording(layer, layer.call))
        return self

    def __exit__(self, *_: object) -> None:
        for layer, own in self._patched:
            if own is None:
                vars(layer).pop("call", None)
            else:
                object.__setattr__(layer, "call", own)
        self._patched.clear()

    def _recording(self, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            tape = self._tape
            feeds = tuple(tape.numbers[id(t)] for t in _tensors((args, kwargs)) if id(t) in tape.numbers)
            output = call(*args, **kwargs)
            made = [tape.add(tensor) for tensor in _tensors(output)]
            if made:
                tape.calls.append(Call(layer, call, args, kwargs, feeds, range(made[0], made[-1] + 1)))
            return output

        return recorded

    def run(self, inputs: Sequence[Array]) -> Flow:
        """Run the model; Flow tells which values there are, ``value`` gives them.

        Raises:
            RuntimeFailed: Keras raised an error.
        """
        self._tape, tf = _Tape(), frameworks().tf
        given = [
            tf.convert_to_tensor(array.astype(slot.dtype, copy=False))
            for array, slot in zip(inputs, self.model.inputs, strict=True)
        ]
        for tensor in given:
            self._tape.add(tensor)
        with _named(self.model), quiet():
            results = self.model.model(given[0] if len(given) == 1 else given, training=False)
        if isinstance(results, dict):
            results = [results[name] for name in self.model.outputs]
        ends = tuple(self._end(tensor) for tensor in _tensors(results))
        return Flow(self.model.kind, tuple(self._places(ends)), tuple(range(len(given))), ends)

    def _end(self, tensor: Any) -> int:
        """The number of an output of the model; one that no layer gave gets a new one."""
        number = self._tape.numbers.get(id(tensor))
        return self._tape.add(tensor) if number is None else number

    def _places(self, ends: Sequence[int]) -> Iterable[Place]:
        for number, slot in enumerate(self.model.inputs):
            yield Place(number, slot.name, "input")
        seen: dict[str, int] = {}
        for call in self._tape.calls:
            name, again = call.layer.name, seen.get(call.layer.name, 0)
            seen[name] = again + 1
            for place, number in enumerate(call.gives):
                if self._tape.values[number].dtype.is_floating:
                    full = name + (f"#{again + 1}" if again else "") + (f":{place}" if place else "")
                    yield Place(number, full, _kind(call.layer), call.feeds)
        known = {number for call in self._tape.calls for number in call.gives} | set(range(len(self.model.inputs)))
        for number, name in zip(ends, self.model.outputs, strict=True):
            if number not in known:
                yield Place(number, name, "output")

    def value(self, key: int) -> Array:
        """A value of the last run. Shape: (samples, …)."""
        array: Array = self._tape.values[key].numpy()
        return array

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each value of ``given`` computed anew from the given ones before it, by the layers between them.

        What depends on no given value stays as it was.
        """
        tf, tape = frameworks().tf, self._tape
        makers = {number: call for call in tape.calls for number in call.gives}
        memory: dict[int, Any] = {}
        exchanged = {n: tf.reshape(tf.convert_to_tensor(v.real), tape.values[n].shape) for n, v in given.items()}

        def source(number: int) -> Any:
            if number in exchanged:
                return exchanged[number]
            return compute(number)

        def compute(number: int) -> Any:
            call = makers.get(number)
            if call is None:
                return tape.values[number]
            if number not in memory:
                swap = {id(tape.values[n]): source(n) for n in call.feeds}
                args, kwargs = tf.nest.map_structure(lambda t: swap.get(id(t), t), (call.args, call.kwargs))
                memory.update(zip(call.gives, _tensors(call.function(*args, **kwargs)), strict=True))
            return memory[number]

        with _named(self.model), quiet():
            return {number: compute(number).numpy() for number in given}


class _named:  # noqa: N801 (used as a function)
    """Errors of Keras as ours, with the model's name."""

    def __init__(self, model: KerasModel) -> None:
        self.name = model.name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RuntimeFailed(f"Keras failed on {self.name}: {first[:200]}") from error


def _tensors(structure: Any) -> list[Any]:
    tf = frameworks().tf
    return [leaf for leaf in tf.nest.flatten(structure) if tf.is_tensor(leaf)]


def _kind(layer: Any) -> str:
    inner = getattr(layer, "layer", None) if type(layer).__name__.startswith("QuantizeWrapper") else layer
    return type(inner).__name__
