"""A device whose tensors were recorded: ``recorded:DUMP`` gives them again for the inputs that it was fed with.

Which sample of the data is which of its runs is told by values, where they stand in another order or are fewer.
Recorded inputs can be data, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData, BadModel, RuntimeFailed
from quantdiff.graph import Graph, Model, Tensor, dense_values
from quantdiff.load.data import Batch
from quantdiff.load.dumps.binding import Recorded, bind_dump
from quantdiff.load.dumps.forms import read_dump
from quantdiff.load.dumps.readings import meant
from quantdiff.quant import INTEGER_RANGE, Array, dequantize, quantize
from quantdiff.run.in_process import InProcess
from quantdiff.run.runtimes import RUNTIMES, RuntimeEntry, entry_of
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

CLEAR = 0.5
"""How much nearer than the next one a sample must be to be the one."""
LOOKED_AT, AT_MOST = 8, 4096
"""Samples that show whether the order is that of the data, and samples among which a place is looked for."""
COLUMNS = 512
"""Elements of a tensor that tell samples apart."""


def places_of(model: Model, inputs: Sequence[Array], recorded: Mapping[int, Array]) -> list[int] | None:
    """The sample of the data for each run of the dump; None where that is not clear, or they stand in its order.

    Shapes: each input (samples, *shape), each tensor of the dump (runs, *shape).
    """
    count, runs = len(inputs[0]), len(next(iter(recorded.values())))
    if runs > count or count > AT_MOST:
        return None
    if runs == count:
        few = min(count, LOOKED_AT)
        nearest, _ = _nearest({i: a[:few] for i, a in recorded.items()}, _given(model, [a[:few] for a in inputs]))
        if nearest is None or np.mean(nearest == np.arange(few)) > CLEAR:
            return None
    nearest, clear = _nearest(recorded, _given(model, inputs))
    return nearest.tolist() if nearest is not None and clear and len({*nearest.tolist()}) == runs else None


def _given(model: Model, inputs: Sequence[Array]) -> dict[int, Array]:
    """What the file gives for the data by some rules; which ones makes little difference."""
    graph: Graph = model.main
    found = simulate(graph, list(inputs), Runtime.REFERENCE, model.subgraphs).values
    return {**found, **dict(zip(graph.inputs, inputs, strict=True))}


def _nearest(recorded: Mapping[int, Array], given: Mapping[int, Array]) -> tuple[Array | None, bool]:
    """The nearest sample of each run, and whether each is much nearer than the next one."""
    shared = [i for i, array in recorded.items() if i in given and given[i].shape[1:] == array.shape[1:]]
    if not shared:
        return None, False
    ours, theirs = (np.concatenate([_columns(held[i], given[i]) for i in shared], axis=1) for held in (recorded, given))
    apart = np.stack([np.abs(theirs - row).mean(axis=1) for row in ours])
    if apart.shape[1] == 1:
        return np.zeros(len(ours), np.int64), True
    first, second = np.partition(apart, 1, axis=1)[:, :2].T
    return apart.argmin(axis=1), bool((first <= CLEAR * second).all() and (second > 0).all())


def _columns(array: Array, given: Array) -> Array:
    """Some elements of each sample, in units of their spread. Shape: (samples, columns)."""
    flat, wide = array.reshape(len(array), -1), given.reshape(len(given), -1)
    step = max(1, flat.shape[1] // COLUMNS)
    spread = float(wide[:, ::step].astype(np.float64).std()) or 1.0
    return np.nan_to_num(flat[:, ::step].astype(np.float64)) / spread


NAMED = 8
CLOSE = 1e-4  # of the largest input: what printed floats lose


class RecordedRuntime(InProcess):
    """The tensors of a dump under the name of a runtime. A run is known by its inputs, or by its place in the data."""

    of_one_file = True

    def __init__(self, entry: RuntimeEntry, timeout: float) -> None:
        super().__init__(entry.name, timeout)
        self.dump = read_dump(Path(entry.file))
        self._bound: Recorded | None = None
        self._rows: Mapping[bytes, int] = {}
        self._inputs: tuple[int, ...] = ()
        self._told: tuple[str, ...] = ()
        self._assumed: Runtime | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found out about its inputs."""
        return self._told

    @property
    def rules(self) -> Runtime | None:
        """Those of the runtime that was recorded, where the dump names one of ours; else those it is taken to obey."""
        said = self.dump.manifest
        row = RUNTIMES.get(said.runtime.partition("@")[0]) if said else None
        return row.rules_on(self.machine) if row and said else self._assumed

    def obey(self, rules: Runtime) -> None:
        """Take it to obey these, where it does not say itself."""
        self._assumed = rules

    @property
    def machine(self) -> str:
        """As the dump says."""
        return self.dump.manifest.machine if self.dump.manifest else ""

    @property
    def versions(self) -> Mapping[str, str]:
        """As the dump says."""
        return self.dump.manifest.versions if self.dump.manifest else {}

    def holds(self, graph: Graph) -> frozenset[int]:
        """The tensors of the dump, once it is known whose they are."""
        del graph
        return frozenset(self._bound.values) if self._bound else frozenset()

    def leave_out(self, tensors: Sequence[int]) -> None:
        """Forget inner tensors that the dump shows wrongly."""
        if self._bound is not None:
            kept = {i: array for i, array in self._bound.values.items() if i not in tensors}
            self._bound = replace(self._bound, values=kept)

    def of_model(self, model: Model) -> Recorded:
        """The dump as tensors of a model.

        Raises:
            BadData: it is of another model, or does not fit this one.
        """
        if self._bound is None:
            said, path = self.dump.manifest, model.path
            if said and path is not None and sha256(model.whole()).hexdigest() != said.sha256:
                raise BadData(
                    f"{self.dump.source}: recorded from another file ({said.model}, sha256 {said.sha256[:12]}…), "
                    f"not from {path}; record this one"
                )
            self._bound, self._inputs = bind_dump(self.dump, model), tuple(model.main.inputs)
            own = self.own_inputs(model)
            self._rows = {} if own is None else {key: row for row, key in enumerate(_keys(own))}
        return self._bound

    def own_inputs(self, model: Model) -> list[Array] | None:
        """What the device was fed with, where the dump holds all of it."""
        recorded = self.of_model(model)
        known = [recorded.values[i] for i in self._inputs if i in recorded.values]
        return known if known and len(known) == len(self._inputs) else None

    def read_as(self, model: Model) -> tuple[str, ...]:
        """How numbers of the dump were read where not as they stand, and what else there is to know."""
        recorded, tensors = self.of_model(model), model.main.tensors
        read = (f"{tensors[i].label!r} read as {how}" for i, how in recorded.notes.items())
        return (*read, *filter(None, [recorded.left_out]), *self._told)

    def recorded(self, model: Model, inputs: Sequence[Array]) -> dict[int, Array]:
        """Every tensor of the dump for these inputs; raises as ``attend``. Shapes: (runs, *shape of the tensor)."""
        rows = self._rows_of(inputs)
        return {i: array[rows] for i, array in self.of_model(model).values.items()}

    def known(self, model: Model, inputs: Sequence[Array]) -> list[int]:
        """The samples of the data that the dump holds, in the order of the data; raises as ``of_model``."""
        recorded, keys = self.of_model(model), _keys(inputs)
        if self._rows and (held := [sample for sample, key in enumerate(keys) if key in self._rows]):
            return held
        places = places_of(model, inputs, recorded.values)
        if places is None:
            return list(range(len(keys)))
        self._rows = {keys[sample]: run for run, sample in enumerate(places)}
        self._told += ("which sample of the data is which of the dump was found by values",)
        return sorted(places)

    def attend(self, model: Model, inputs: Sequence[Array]) -> None:
        """Learn which run of the device belongs to which of all inputs that will be asked for."""
        recorded, count = self.of_model(model), len(inputs[0]) if inputs else 0
        own, keys, known = self.own_inputs(model), _keys(inputs), self.known(model, inputs)
        if len(known) < count:
            which = ", ".join(map(str, known[:NAMED])) + (" …" if len(known) > NAMED else "")
            raise BadData(f"{self.dump.source}: holds samples {which} of the data, {len(known)} of {count}; give those")
        if all(key in self._rows for key in keys):
            return
        if count != recorded.runs:
            what = (
                "holds no inputs, so its samples are those of the data in their order" if own is None else "other data"
            )
            raise BadData(
                f"{self.dump.source}: {recorded.runs} samples, the data have {count}: {what}; give the same ones"
            )
        if own is not None:
            self._check_inputs(model.main, own, inputs)
        self._rows = {key: row for row, key in enumerate(keys)}

    def _check_inputs(self, graph: Graph, own: Sequence[Array], inputs: Sequence[Array]) -> None:
        """Refuse other data; inputs that were rounded otherwise are the device's own, others may be read otherwise."""
        for index, shown, given in zip(graph.inputs, own, inputs, strict=True):
            ours = self._as_meant(graph.tensors[index], shown, given)
            apart = np.abs(ours.astype(np.float64) - given)
            most = 1.0 if ours.dtype.kind in "iu" else CLOSE * float(np.abs(given).max(initial=0))
            if apart.max(initial=0) > most:
                run = int(np.argmax(apart.reshape(len(apart), -1).max(axis=1) > most))
                raise BadData(
                    f"{self.dump.source}: input {graph.tensors[index].label!r} of sample {run} is not that of the data "
                    f"({np.count_nonzero(apart[run] > most):,} of {apart[run].size:,} elements differ): "
                    "it was recorded from other data, or in another order"
                )
            if wrong := int(np.count_nonzero(apart)):
                name = graph.tensors[index].label
                self._told += (f"{wrong:,} elements of input {name!r} were rounded otherwise on the device",)

    def _as_meant(self, tensor: Tensor, shown: Array, given: Array) -> Array:
        """An input of the dump, in the order and with the signs of the data's where it shows them otherwise."""
        told = meant(shown, given, {})
        if told.values is None or told.wrong:
            return shown
        assert self._bound is not None
        self._bound = replace(self._bound, values={**self._bound.values, tensor.index: told.values})
        self._told += (f"input {tensor.label!r} is that of the data, {told.text}",)
        return told.values

    def give(self, model: Model, inputs: Sequence[Array], tensors: Sequence[int]) -> list[Array]:
        """As ``InProcess`` says."""
        recorded = self.of_model(model)
        if tuple(model.main.inputs) != self._inputs:
            raise RuntimeFailed(f"{self.runtime}: a device that was recorded cannot be fed with other values")
        fixed = [i for i in tensors if i not in recorded.values and model.main.tensors[i].is_constant]
        values = {
            **recorded.values,
            **{i: np.stack([dense_values(model.main.tensors[i])] * recorded.runs) for i in fixed},
        }
        absent = [model.main.tensors[i].label for i in tensors if i not in values]
        if absent:
            raise RuntimeFailed(
                f"{self.runtime}: the dump does not hold {absent[0]!r}; quantdiff verify needs no outputs"
            )
        rows = self._rows_of(inputs)
        return [values[i][rows] for i in tensors]

    def _rows_of(self, inputs: Sequence[Array]) -> list[int]:
        try:
            return [self._rows[key] for key in _keys(inputs)]
        except KeyError:
            raise RuntimeFailed(f"{self.runtime}: a sample of the data is not in the dump; give those of it") from None


def _keys(inputs: Sequence[Array]) -> list[bytes]:
    """What tells runs apart."""
    return [sha256(b"".join(array[run].tobytes() for array in inputs)).digest() for run in range(len(inputs[0]))]


def start(entry: RuntimeEntry, timeout: float) -> RecordedRuntime:
    """What stands for the device.

    Raises:
        BadData: the dump cannot be read.
    """
    return RecordedRuntime(entry, timeout)


def of_dump(path: Path, model: Model) -> Batch:
    """What a device was fed with, as data; raises as ``as_batch``.

    Raises:
        BadData: the dump is of another model, or holds no inputs.
    """
    inputs = start(entry_of(f"recorded:{path}"), 1).own_inputs(model)
    if inputs is None:
        raise BadData(f"{path}: a recording that does not hold all inputs; give the data that it was made from")
    return as_batch(model, inputs, str(path))


def as_batch(model: Model, arrays: Sequence[Array], source: str) -> Batch:
    """Recorded inputs as data in real units, that become the same integers again; one is called ``x``.

    Shapes: (samples, *shape of the input) each; the samples take the place of an axis of 1.

    Raises:
        BadModel: integers that real numbers do not say exactly.
    """
    tensors = [model.main.tensors[i] for i in model.main.inputs]
    names = ["x"] if len(tensors) == 1 else [f"{i}" for i, _ in enumerate(tensors)]
    real = [_real(tensor, array) for tensor, array in zip(tensors, arrays, strict=True)]
    return Batch(dict(zip(names, real, strict=True)), None, source)


def _real(tensor: Tensor, array: Array) -> Array:
    if tensor.shape[:1] == (1,) and array.shape[1:2] == (1,):
        array = array[:, 0]
    if tensor.quant is None or tensor.dtype not in INTEGER_RANGE:
        return array
    real = dequantize(array, tensor.quant)
    if not np.array_equal(quantize(real, tensor.quant, tensor.dtype), array):
        raise BadModel(
            f"tensor {tensor.label!r}: its {tensor.dtype} have no exact real values; cut before or behind it"
        )
    return real
