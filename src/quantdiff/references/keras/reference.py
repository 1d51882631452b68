"""A Keras model as all that the rest of the house may ask of a reference."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantdiff.graph import Model
from quantdiff.layer import Layer
from quantdiff.load.data import Batch
from quantdiff.progress import Count, unheard
from quantdiff.quant import Array
from quantdiff.recording import Recorder
from quantdiff.references.formats import PLAIN, Options
from quantdiff.references.keras.frozen_graph import layers_of
from quantdiff.references.keras.layers import read_layers, written_with
from quantdiff.references.keras.lower import lower
from quantdiff.references.keras.model import KerasModel, Signature, describe, load_keras
from quantdiff.references.keras.recorder import KerasRecorder
from quantdiff.references.keras.run import trace_keras
from quantdiff.references.keras.saved_model import GraphRecorder
from quantdiff.trace import Trace


@dataclass(frozen=True, slots=True)
class KerasReference(KerasModel):
    """A Keras model or, where a SavedModel holds none, its signature."""

    def layers(self) -> tuple[Layer, ...]:
        """Its layers; of a signature the operators of its graph that have weights."""
        return layers_of(self) if isinstance(self.model, Signature) else read_layers(self)

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs, float32, in inference mode.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: Keras raised an error.
        """
        return trace_keras(self, batch, on_progress)

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with every layer's output; of a signature every value of its graph."""
        return GraphRecorder(self) if isinstance(self.model, Signature) else KerasRecorder(self)

    def lower(self) -> Model | None:
        """Its float graph of TFLite operators, by the converter without optimizations.

        Raises:
            BadModel: the converter refuses it.
        """
        return lower(self)

    def settled(self, variables: Mapping[str, Mapping[str, Array]]) -> Array:
        """The bytes of an ``.h5`` with other values in its variables.

        Raises:
            BadModel: Keras cannot write it so.
        """
        return written_with(self, variables)


def open_keras(source: Any, options: Options = PLAIN) -> KerasReference:
    """A model by its path, described or as Keras has it in memory.

    Raises:
        BadModel: it cannot be read, or was never built.
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    if isinstance(source, Path):
        source = load_keras(source, allow_lambda=options.allow_lambda, custom_objects=options.custom_objects)
    facts = source if isinstance(source, KerasModel) else describe(source, str(source.name))
    return KerasReference(facts.name, facts.kind, facts.inputs, facts.outputs, facts.model, facts.notes)
