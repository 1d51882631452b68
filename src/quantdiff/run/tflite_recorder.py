"""Watch a ``.tflite`` from inside: its inner tensors, and each operator again on other inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from quantdiff.errors import RuntimeFailed
from quantdiff.flow import Flow, FlowValue, tflite_flow
from quantdiff.graph import Model
from quantdiff.load.rewrite import with_inputs, with_outputs
from quantdiff.quant import Array, Value
from quantdiff.recording import Comparand, ErrorStats
from quantdiff.run.child import VIEWS
from quantdiff.run.inner_tensors import InnerTensors
from quantdiff.run.runner import Measured, Runner
from quantdiff.run.tflite import as_inputs
from quantdiff.tally.rows import RowSums, row_sums


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
