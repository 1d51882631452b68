"""Inner tensors of a ``.tflite`` on a runtime: the file with further outputs, in a child, beside the untouched one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Graph, Model
from quantdiff.load.data import Batch
from quantdiff.load.npz import release
from quantdiff.load.written import with_outputs
from quantdiff.quant import Array, changed_elements
from quantdiff.run.conversation import block_of
from quantdiff.run.inputs import as_inputs, bound_inputs, inputs_of, may_batch
from quantdiff.run.runner import Loaded, Measured, Runner, loaded_model
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.xnnpack.delegate import hidden
from quantdiff.tally.stats import RowSums

BYTES_AT_ONCE = 2**27  # of inner values in memory
READABLE = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
"""Types that every runtime's Python interface can give back."""
WITHOUT_ORDER = ("complex64",)
"""Those that can be given back, too, but have no error to speak of: compared bit by bit alone."""

Parts = list[tuple[list[int], list[int]]]
Take = Callable[[Batch], list[Array]]


def readable_tensors(
    graph: Graph, runtime: Rules | None, held: AbstractSet[int] | None = None, types: Sequence[str] = READABLE
) -> list[int]:
    """The outputs, and every tensor that an operator makes and the runtime can give back, of those ``held``.

    A state that an operator makes is written over by the one that keeps it.
    """
    hides = isinstance(runtime, Runtime) and runtime.family is Runtime.XNNPACK
    states = {tensor.index for tensor in graph.tensors if tensor.is_variable}
    unread = states | (hidden(graph) if hides else frozenset())
    made = (i for op in graph.operators for i in op.outputs if i not in unread and (held is None or i in held))
    return [i for i in dict.fromkeys((*graph.outputs, *made)) if graph.tensors[i].dtype in types]


class InnerTensors:
    """A file whose outputs are chosen tensors, in a child that stays alive between slices.

    ``data`` is the file, which may also take inner tensors as inputs; ``alone`` runs it sample by sample whatever it
    allows. One run at a time: threads wait for each other. The process is the caller's to close.
    """

    def __init__(
        self, model: Model, data: bytes, tensors: Sequence[int], process: Runner, *, alone: bool = False
    ) -> None:
        assert model.path is not None
        self.tensors, self._process, self._lock = tuple(tensors), process, threading.Lock()
        self._alone = alone
        self._loaded = Loaded(
            process, model.path, batch=not alone and may_batch(model.main, process.rules), content=block_of(data)
        )

    def run(self, inputs: Sequence[Array]) -> dict[int, Array]:
        """Tensor → values, which are the caller's. Shapes: (samples, …).

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs; a crash in batches leads to single samples.
        """
        with self._lock:
            arrays, _ = self._loaded.ask(
                lambda: self._process.run(inputs, len(self.tensors), _unheard, apart=self._alone)
            )
        return dict(zip(self.tensors, arrays, strict=True))

    def view(self, inputs: Sequence[Array]) -> dict[int, Array]:
        """As ``run``, in the child's memory: the arrays hold until the call after ``VIEWS`` - 1 others."""
        with self._lock:
            arrays = self._loaded.ask(lambda: self._process.view(inputs, len(self.tensors)))
        return dict(zip(self.tensors, arrays, strict=True))

    def measure(
        self, inputs: Sequence[Array], pairs: Sequence[Measured], wanted: AbstractSet[int] = frozenset()
    ) -> tuple[dict[int, Array], list[RowSums]]:
        """The tensors ``wanted``, and the sums of pairs, whose ``output`` is a tensor; counted in the child.

        Raises:
            RuntimeFailed: as ``run``.
        """
        number = {tensor: i for i, tensor in enumerate(self.tensors)}
        asked = [replace(pair, output=number[pair.output]) for pair in pairs]
        kept = [tensor for tensor in self.tensors if tensor in wanted]
        chosen = [tensor in wanted for tensor in self.tensors]
        with self._lock:
            arrays, sums = self._loaded.ask(lambda: self._process.measure(inputs, chosen, asked))
        return dict(zip(kept, arrays, strict=True)), sums


@dataclass(frozen=True, slots=True)
class Reading:
    """A slice of the data: inputs as the runtime takes them, inner tensors, and outputs of the untouched file.

    ``values`` are by tensor index, those of the model's outputs are its ``outputs``; ``inputs`` and ``outputs`` in
    the model's order; all with the samples along axis 0 and, where these ran one by one, the shape that the runtime
    gave the tensor behind, whatever the file says.
    ``changed`` elements of the outputs come out otherwise when inner tensors are outputs too, see
    ``quant.changed_elements``. ``delegated``: the parts of the untouched graph that a delegate runs, as input
    and output tensors. ``batched``: whether the untouched file ran several samples at once.
    """

    start: int
    rows: Batch
    inputs: tuple[Array, ...]
    values: dict[int, Array]
    outputs: tuple[Array, ...]
    changed: int
    delegated: Parts = field(default_factory=list)
    batched: bool = False


def read_tensors(
    model: Model, tensors: Sequence[int], batch: Batch, process: Runner, *, alone: bool = True
) -> Generator[Reading, None, None]:
    """Run ``model`` and give inputs, outputs and ``tensors`` (indices), slice after slice, as the runtime has them.

    ``alone``: sample by sample, as on a device, since some kernels round by the place of an element in the whole array;
    otherwise in batches where the model allows it.

    Raises:
        BadData: the data do not fit the model's inputs.
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    take: Take = partial(inputs_of, model) if alone else lambda rows: as_inputs(model, bound_inputs(model, rows))
    yield from _read(model, tensors, _slices(model, tensors, batch), take, process, alone)


def read_everything(model: Model, inputs: Sequence[Array], runner: Runner) -> Reading:
    """Every readable tensor, the model's inputs too, for all of ``inputs`` sample by sample.

    Shapes: each input (samples, *shape of the model's input), in the input's own type.

    Raises:
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    graph = model.main
    rows = Batch({f"{i}": array for i, array in enumerate(inputs)})
    made = readable_tensors(graph, runner.rules, runner.holds(graph), (*READABLE, *WITHOUT_ORDER))
    tensors = [*graph.inputs, *made]
    (reading,) = _read(model, tensors, [(0, rows)], lambda rows: [*rows.arrays.values()], runner, alone=True)
    return reading


def _read(
    model: Model, tensors: Sequence[int], slices: Sequence[tuple[int, Batch]], take: Take, process: Runner,
    alone: bool,
) -> Generator[Reading, None, None]:  # fmt: skip
    """The untouched file on all slices, whose outputs are kept; then slice after slice the one with more outputs."""
    graph = model.main
    untouched = loaded_model(process, model, batch=not alone and may_batch(graph, process.rules))
    ran = []
    for _, rows in slices:
        ran.append(untouched.ask(partial(process.run, take(rows), len(graph.outputs), _unheard, apart=alone)))
        release(rows.arrays.values())
    delegated = process.delegated
    inner = [i for i in dict.fromkeys(tensors) if i not in (*graph.outputs, *graph.inputs)]
    shown = (*graph.outputs, *inner)
    rewritten = InnerTensors(model, with_outputs(model.whole(), shown), shown, process, alone=alone)
    for (start, rows), (arrays, batched) in zip(slices, ran, strict=True):
        inputs = take(rows)
        own = dict(zip(graph.outputs, arrays, strict=True))
        seen = rewritten.run(inputs)
        changed = sum(changed_elements(seen[i], array) for i, array in own.items())
        values = seen | own
        values |= {i: array for i, array in zip(graph.inputs, inputs, strict=True) if i in tensors}
        outputs = tuple(values[i] for i in graph.outputs)
        yield Reading(start, rows, tuple(inputs), values, outputs, changed, delegated, batched)
        release(rows.arrays.values())


def simulate_tensors(
    model: Model, tensors: Sequence[int], batch: Batch, runtime: Rules
) -> Generator[Reading, None, None]:
    """What ``read_tensors`` would give on a runtime that is not at hand, by its simulator.

    Raises:
        BadData: the data do not fit the model's inputs.
        UnsupportedOp: the simulator lacks an operator.
    """
    graph = model.main
    for start, rows in _slices(model, tensors, batch):
        inputs = inputs_of(model, rows)
        chain = simulate(graph, inputs, runtime, model.subgraphs)
        for item in chain.missing:
            raise UnsupportedOp(
                f"{runtime.value} is not installed, and the simulator lacks operator {item.index} {item.op}: {item.why}"
            )
        outputs = tuple(chain.values[i] for i in graph.outputs)
        yield Reading(start, rows, tuple(inputs), {i: chain.values[i] for i in tensors}, outputs, 0)


def disturbed(changed: int, model: str = "the model") -> tuple[str, ...]:
    """A note where reading inner tensors changed the outputs; none where it did not."""
    if not changed:
        return ()
    return (f"{changed} outputs of {model} changed when its inner values were read: do not rely on these figures",)


def _unheard(done: int) -> None:
    del done


def read_at_once(model: Model, tensors: Sequence[int]) -> int:
    """How many samples are read together."""
    bytes_each = 4 * sum(int(np.prod(model.main.tensors[i].shape)) for i in tensors)
    return max(1, BYTES_AT_ONCE // max(1, bytes_each))


def _slices(model: Model, tensors: Sequence[int], batch: Batch) -> list[tuple[int, Batch]]:
    """Parts of the data whose inner values fit into memory, with the index of each part's first sample."""
    size = read_at_once(model, tensors)
    return [(start, batch.part(slice(start, start + size))) for start in range(0, len(batch), size)]
