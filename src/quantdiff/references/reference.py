"""Reference: a trained model, whoever trained it, as all that the rest of the house may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import numpy as np

from quantdiff.graph import Model
from quantdiff.layer import Layer
from quantdiff.load.data import Batch, bind
from quantdiff.load.npz import slices
from quantdiff.progress import Count, unheard
from quantdiff.quant import Array, Value
from quantdiff.recording import Named, Recorder
from quantdiff.trace import Trace


class Reference(Named, Protocol):
    """A model on the engine that runs it. Arrays and frozen values go in and out, so that it may live in a child."""

    def layers(self) -> tuple[Layer, ...]:
        """Its layers in their order, () where the format has none."""

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs for all samples.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: it does not run.
        """

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with its inner values; they are watched while the context is open."""

    def lower(self) -> Model | None:
        """The same as a float graph of TFLite operators, its own grids as QUANTIZE and DEQUANTIZE; None: cannot be had.

        Raises:
            BadModel: it can be had for this format, but not for this model.
        """


@runtime_checkable
class Settles(Protocol):
    """What can be written again with other values in its variables."""

    def settled(self, variables: Mapping[str, Mapping[str, Array]]) -> Array:
        """The bytes of a file with it; ``variables`` by layer and by the last part of their names.

        Raises:
            BadModel: it cannot be written.
        """


def trace_slices(
    reference: Named, batch: Batch, run: Callable[[Sequence[Array]], Sequence[Array]], on_progress: Count = unheard
) -> Trace:
    """What ``run`` gives for the data, slice by slice, for formats whose outputs are plain floats.

    Raises:
        BadData: the data do not fit the inputs; and what ``run`` raises.
    """
    parts: list[Sequence[Array]] = []
    for rows in slices(bind(batch, reference.inputs, reference.name), reference.inputs):
        parts.append(run(rows))
        on_progress(sum(len(part[0]) for part in parts))
    outputs = [np.concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    values = tuple(Value(name, array) for name, array in zip(reference.outputs, outputs, strict=True))
    return Trace(reference.kind, values, reference.notes)
