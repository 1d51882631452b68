"""A ``.tflite`` on a runtime, as all that the rest of the house may ask of a reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from quantdiff.errors import RuntimeUnavailable
from quantdiff.flow import FlowValue, tflite_flow
from quantdiff.graph import Model, Operator, real_values
from quantdiff.layer import Layer
from quantdiff.load.data import Batch, Slot
from quantdiff.load.tflite import load_tflite
from quantdiff.progress import Count, unheard
from quantdiff.recording import Recorder
from quantdiff.references.formats import Options
from quantdiff.run.child import started
from quantdiff.run.runner import Runner
from quantdiff.run.tflite import output_names, slots_of, trace_tflite
from quantdiff.run.tflite_recorder import TfliteRecorder
from quantdiff.trace import Trace

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
