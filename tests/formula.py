"""A format of a few lines: a trained model that is nothing but functions of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import small_models as models

from quantdiff.load.data import Batch, Slot, make_batch
from quantdiff.ops import Layer
from quantdiff.quant import Array, Trace, Value
from quantdiff.recording import Comparand, ErrorStats, Flow, FlowValue, Recorder, measured
from quantdiff.references.reference import trace_slices
from quantdiff.run.runner import Count, unheard

LAYERS = tuple(
    Layer(name, "Formula", (before,), activation, kernel=kernel, bias=bias, op="FULLY_CONNECTED")
    for (name, before, activation), (kernel, bias) in zip(
        (("first", "x", "relu"), ("second", "first", "linear")), models.two_dense_weights(), strict=True
    )
)
FLOW = Flow(
    "formula",
    (
        FlowValue(0, "x", "input"),
        FlowValue(1, "first", "FULLY_CONNECTED", (0,), layers=LAYERS[:1]),
        FlowValue(2, "second", "FULLY_CONNECTED", (1,), layers=LAYERS[1:]),
    ),
    (0,),
    (2,),
)


def step(key: int, x: Array) -> Array:
    """The value ``key`` from the one before it. Shape: (samples, …)."""
    layer = LAYERS[key - 1]
    assert layer.kernel is not None
    assert layer.bias is not None
    y: Array = (x @ layer.kernel.T + layer.bias).astype(np.float32)
    return np.maximum(y, 0) if layer.activation == "relu" else y


@dataclass(frozen=True)
class Ran:
    """A run, with what it gave."""

    values: Sequence[Array]
    flow: Flow = FLOW

    def value(self, key: int) -> Array:
        return self.values[key]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        before = {key: given[key].real if key in given else self.values[key] for key in (0, 1)}
        return {key: step(key, before[key - 1]) if key else self.values[0] for key in given}


class Watched:
    """Shows every value, since it computes them one by one."""

    in_flight = 1
    notes: tuple[str, ...] = ()

    def run(self, inputs: Sequence[Array]) -> Ran:
        values = [np.asarray(inputs[0], np.float32)]
        for key in (1, 2):
            values.append(step(key, values[-1]))
        return Ran(values)

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        return measured(self.run(inputs), pairs, wanted)


@dataclass(frozen=True)
class Formula:
    """A trained model that is nothing but NumPy."""

    name: str = "formula"
    kind: str = "formula"
    inputs: tuple[Slot, ...] = (Slot("x", (None, models.DEPTH), "float32"),)
    outputs: tuple[str, ...] = ("second",)
    notes: tuple[str, ...] = ()
    opened: list[str] = field(default_factory=list, compare=False)

    def layers(self) -> tuple[Layer, ...]:
        return (Layer("x", "InputLayer", ()), *LAYERS)

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        return trace_slices(self, batch, lambda rows: Watched().run(rows).values[-1:], on_progress)

    def recorder(self) -> AbstractContextManager[Recorder]:
        return nullcontext(Watched())

    def lower(self) -> None:
        return None


def data() -> Batch:
    return make_batch({"x": np.random.default_rng(1).uniform(-1.5, 1.5, (50, models.DEPTH)).astype(np.float32)}, "made")
