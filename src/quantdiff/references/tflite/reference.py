"""A ``.tflite`` on a runtime as all that the rest of the house may ask of a reference: run, and watched from inside.

Its outputs are kept as they come. Watched, it shows its inner tensors, and each operator again on other inputs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from quantdiff.errors import RuntimeFailed, RuntimeUnavailable
from quantdiff.graph import Graph, Model, Operator, real_values
from quantdiff.load.data import Batch, Slot
from quantdiff.load.npz import release
from quantdiff.load.tflite import load_tflite
from quantdiff.load.written import with_inputs, with_outputs
from quantdiff.ops import Layer
from quantdiff.quant import INTEGER_RANGE, Array, Trace, Value, is_float
from quantdiff.recording import Comparand, ErrorStats, Flow, FlowValue, Recorder, tflite_flow
from quantdiff.references.formats import Options
from quantdiff.run.inner_tensors import InnerTensors
from quantdiff.run.inputs import as_inputs, bound_inputs, may_batch, output_names, signature_names, slots_of
from quantdiff.run.runner import VIEWS, Count, Loaded, Measured, Runner, loaded_model, started, unheard
from quantdiff.tally.rows import row_sums
from quantdiff.tally.stats import RowSums

DEFAULT = "xnnpack"


@dataclass(frozen=True, slots=True)
class TfliteReference:
    """A file and the runtime that runs it; without one it can be looked at only."""

    model: Model
    process: Runner | None = field(default=None, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.model.path.name if self.model.path else "model.tflite"

    @property
    def kind(self) -> str:
        """``tflite:xnnpack``; ``tflite`` without a runtime."""
        return f"tflite:{self.process.runtime}" if self.process else "tflite"

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What the main graph takes."""
        return slots_of(self.model)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs: of the signature, where there is one."""
        return output_names(self.model)

    def layers(self) -> tuple[Layer, ...]:
        """Its operators as layers, by the names of what they give."""
        return tuple(layers_of(self.model))

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs on the runtime.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        return trace_tflite(self.model, batch, self._running(), on_progress)

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with its inner tensors, in children of its own."""
        if self.process is None:
            return TfliteRecorder(self.model, partial(started, DEFAULT))
        return TfliteRecorder(self.model, self.process.another)

    def lower(self) -> Model:
        """It is a graph of TFLite operators."""
        return self.model

    def _running(self) -> Runner:
        if self.process is None:
            raise RuntimeUnavailable(f"{self.name}: no runtime was started for it; name one with --runtime")
        return self.process


def open_tflite(source: Path | Model, options: Options) -> tuple[TfliteReference, ...]:
    """The file, for each runtime of the options; alone where there is none.

    Raises:
        BadModel: it cannot be read.
    """
    model = source if isinstance(source, Model) else load_tflite(source)
    return tuple(TfliteReference(model, process) for process in options.processes or (None,))


def layers_of(model: Model) -> Iterator[Layer]:
    """Every value of the main graph as a layer: kernel and bias in real units, the kernel in TFLite's own axes."""
    flow = tflite_flow(model, "tflite")
    names = {place.key: place.name for place in flow.places}
    for place in flow.places:
        operator = None if place.operator is None else model.main.operators[place.operator]
        yield layer_of(place, operator, tuple(names[key] for key in place.feeds if key in names))


def layer_of(place: FlowValue, operator: Operator | None, inputs: tuple[str, ...]) -> Layer:
    """One value as a layer, fed by the layers named."""
    if operator is None:
        return Layer(place.name, "InputLayer", inputs)
    kernel, bias = (None if t is None or not t.is_constant else real_values(t) for t in (place.kernel, place.bias))
    found, fused = operator.options, str(operator.options.get("fused_activation_function", "NONE"))
    options = {
        "strides": (found.get("stride_h", 1), found.get("stride_w", 1)),
        "dilation_rate": (found.get("dilation_h_factor", 1), found.get("dilation_w_factor", 1)),
        "padding": str(found.get("padding", "VALID")),
    }
    activation = "linear" if fused == "NONE" else fused.lower()
    return Layer(place.name, place.op, inputs, activation, kernel=kernel, bias=bias, options=options, op=place.op)


BYTES_AT_ONCE = 2**24  # of input, in one message to the child


def trace_tflite(
    model: Model, batch: Batch, process: Runner, on_progress: Callable[[int], None] = lambda done: None
) -> Trace:
    """Outputs of ``model`` for ``batch`` on the runtime of ``process``.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    return Tracer(model, process).trace(batch, on_progress)


class Tracer:
    """A model that is loaded once, on the runtime of ``process``, and asked again and again."""

    def __init__(self, model: Model, process: Runner) -> None:
        self._model, self._process, self._names = model, process, signature_names(model)
        self._loaded: Loaded | None = None

    def trace(self, batch: Batch, on_progress: Callable[[int], None] = lambda done: None) -> Trace:
        """The outputs for ``batch``.

        Raises:
            BadData: the data do not fit the model's inputs.
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        graph, runtime = self._model.main, self._process.runtime
        if self._loaded is None:
            self._loaded = loaded_model(self._process, self._model, batch=may_batch(graph, self._process.rules))
        arrays, batched = _stream(self._loaded, self._model, bound_inputs(self._model, batch), on_progress)
        values = tuple(_value(graph, i, self._names, array) for i, array in zip(graph.outputs, arrays, strict=True))
        notes = (*self._process.notes, *ran_alone(runtime, batched, len(batch)))
        return Trace(f"tflite:{runtime}", values, notes)


def ran_alone(runtime: str, batched: bool, samples: int) -> tuple[str, ...]:
    """A note where several samples were not run at once."""
    return () if batched or samples == 1 else (f"{runtime} ran the samples one by one",)


def _stream(
    loaded: Loaded, model: Model, inputs: Sequence[Array], on_progress: Callable[[int], None]
) -> tuple[list[Array], bool]:
    """Outputs for slice after slice of real inputs, so that quantized copies stay small; and whether in batches."""
    count, outputs = len(inputs[0]), len(model.main.outputs)
    size = max(1, BYTES_AT_ONCE // max(1, sum(array[:1].nbytes for array in inputs)))  # an input may be empty
    parts, ways = [], set()
    for start in range(0, count, size):
        rows = as_inputs(model, [array[start : start + size] for array in inputs])
        told = partial(_told, on_progress, start)
        arrays, batched = loaded.ask(partial(loaded.process.run, rows, outputs, told))
        parts.append(arrays)
        ways.add(batched)
        release(inputs)
    on_progress(count)
    return [np.concatenate([part[i] for part in parts]) for i in range(outputs)], ways == {True}


def _told(on_progress: Callable[[int], None], start: int, done: int) -> None:
    on_progress(start + done)


def _value(graph: Graph, index: int, names: dict[int, str], array: Array) -> Value:
    tensor = graph.tensors[index]
    quant = tensor.quant if array.dtype.name in INTEGER_RANGE else None
    grid = graph.grid_before(index) if quant is not None or is_float(tensor.dtype) else None
    return Value(names.get(index, tensor.label), array, quant, grid)


class TfliteRecorder:
    """A ``.tflite`` on a runtime, with its inner tensors; a context manager.

    Its two children, one of which runs each operator on given values, need not wait for each other.
    """

    in_flight = VIEWS - 1

    def __init__(self, model: Model, start: Callable[[], Runner]) -> None:
        self.model, self._start, self._opened = model, start, (ExitStack(), ExitStack())
        runner = self._opened[0].enter_context(start())
        held, self.flow = runner.holds(model.main), tflite_flow(model, f"tflite:{runner.runtime}")
        if held is not None:
            self.flow = self.flow.only(held)
        self.places, self._file = self.flow.by_key(), model.whole()
        inner = [key for key in self.places if key not in model.main.inputs]
        self._inner = InnerTensors(model, with_outputs(self._file, inner), inner, runner)
        self._exchanged: tuple[object, InnerTensors] | None = None
        self._exchanging = threading.Lock()
        self._shapes: dict[int, tuple[int, ...]] = {}
        self.notes: tuple[str, ...] = ()

    def _beside_it(self, data: bytes, tensors: Sequence[int]) -> InnerTensors:
        """A file in the second child, in place of the one that was there."""
        self._opened[1].close()
        process = self._opened[1].enter_context(self._start())
        return InnerTensors(self.model, data, tensors, process)

    def __enter__(self) -> TfliteRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._opened:
            opened.close()

    def run(self, inputs: Sequence[Array]) -> TfliteRecording:
        """Run the model on real inputs, in the order of its own.

        Raises:
            BadData: fractions for an input that takes whole numbers.
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        fed = as_inputs(self.model, inputs)
        values = dict(zip(self.model.main.inputs, fed, strict=True)) | self._inner.view(fed)
        self._shapes = {key: array.shape[1:] for key, array in values.items()}
        return TfliteRecording(self.flow, self, values)

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        """Run the model, and at the same time each operator on the values it is held against; count in the children.

        Raises:
            BadData, RuntimeFailed: as ``run``.
        """
        fed = as_inputs(self.model, inputs)
        own = dict(zip(self.model.main.inputs, fed, strict=True))
        given = {pair.key: pair.theirs for pair in pairs}
        inner = [pair for pair in pairs if pair.key not in own]
        computable = set(self.computable(given))
        alone = [pair for pair in inner if pair.key in computable]
        with ThreadPoolExecutor(1) as beside:
            again = beside.submit(self._measure_again, fed, given, alone) if alone else None
            values, sums = self._inner.measure(fed, [self._measured(pair) for pair in inner], wanted - own.keys())
            local = again.result() if again else []
        alone = alone if local else []
        whole = {pair.key: self._beside(pair, own[pair.key]) for pair in pairs if pair.key in own}
        return ErrorStats(
            {**{key: own[key] for key in wanted if key in own}, **values},
            {**whole, **{pair.key: each for pair, each in zip(inner, sums, strict=True)}},
            {**whole, **{pair.key: each for pair, each in zip(alone, local, strict=True)}},
        )

    def _measure_again(
        self, fed: Sequence[Array], given: Mapping[int, Value], pairs: Sequence[Comparand]
    ) -> list[RowSums]:
        try:
            rewritten, arrays = self.exchanged(given, [pair.key for pair in pairs])
            return rewritten.measure([*fed, *arrays], [self._measured(pair) for pair in pairs])[1]
        except RuntimeFailed as error:
            self._refuse(error)
            return []

    def _refuse(self, error: RuntimeFailed) -> None:
        """Go on without local values: a runtime may run a model and refuse its operators one by one."""
        self.notes = (f"no layer by itself: {error}",)

    def _measured(self, pair: Comparand) -> Measured:
        return Measured(pair.key, pair.theirs, self.places[pair.key].quant, pair.grid, pair.compiled)

    def _beside(self, pair: Comparand, array: Array) -> RowSums:
        place = self.places[pair.key]
        ours = Value(place.name, array, place.quant, place.grid)
        return row_sums(ours, pair.theirs, pair.grid, compiled=pair.compiled)

    def computable(self, given: Mapping[int, Value]) -> list[int]:
        """Of the given places those that can be computed anew from the given ones before them.

        Floats take any values, integers only those of their own grid: a tensor that depends on others is left out.
        """
        if self.notes:
            return [key for key in given if key in self.model.main.inputs]
        fitting = {key for key, value in given.items() if _fits(self.places[key], value)}
        return [key for key in given if self._depends(key, given.keys()) <= fitting]

    def _depends(self, key: int, given: AbstractSet[int]) -> set[int]:
        """The given places that ``key`` is computed from directly, others between them aside."""
        found, waiting = set(), list(self.places[key].feeds)
        for current in waiting:  # grows while it is walked
            if current in given:
                found.add(current)
            else:
                waiting += [feed for feed in self.places[current].feeds if feed not in waiting]
        return found

    def exchanged(self, given: Mapping[int, Value], wanted: Sequence[int]) -> tuple[InnerTensors, list[Array]]:
        """The model that takes given values, as far as they fit, as inputs after its own; and these values.

        The model is the same one as long as it is asked for the same.
        """
        fed = {key: value for key, value in given.items() if _fits(self.places[key], value)}
        grids = {k: value.grid if self.places[k].quant is None and value.quant else None for k, value in fed.items()}
        asked = tuple(grids.items()), tuple(wanted)
        with self._exchanging:
            if self._exchanged is None or self._exchanged[0] != asked:
                self._exchanged = asked, self._beside_it(with_inputs(self._file, grids, wanted), wanted)
            rewritten = self._exchanged[1]
        return rewritten, [_shaped(value.array, self._shapes[key]) for key, value in fed.items()]


@dataclass(frozen=True, slots=True)
class TfliteRecording:
    """What one run of a ``.tflite`` showed, as the runtime has it."""

    flow: Flow
    owner: TfliteRecorder
    values: Mapping[int, Array]

    def value(self, key: int) -> Array:
        """A tensor of this run."""
        return self.values[key]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        """Each tensor of ``given`` computed anew from the given ones before it, by the operators between them.

        Those that cannot be are left out, see ``computable``.
        """
        inputs, wanted = self.owner.model.main.inputs, self.owner.computable(given)
        own, inner = {key: self.values[key] for key in wanted if key in inputs}, [k for k in wanted if k not in inputs]
        if not inner:
            return own
        try:
            rewritten, arrays = self.owner.exchanged(given, inner)
            return own | rewritten.view([*(self.values[i] for i in inputs), *arrays])
        except RuntimeFailed as error:
            self.owner._refuse(error)
            return own


def _shaped(array: Array, shape: tuple[int, ...]) -> Array:
    """Samples of this shape; an array that has it stays itself, so that it is known as the file that it lies in."""
    return array if array.shape[1:] == shape else array.reshape(len(array), *shape)


def _fits(place: FlowValue, value: Value) -> bool:
    """Whether the place can hold the value as it is: floats all, integers those of one grid."""
    return place.quant is None or (
        value.quant == place.quant
        and value.grid is not None
        and place.grid is not None
        and value.array.dtype.name == place.grid.dtype
    )
