"""Reference: a trained model, whoever trained it, as all that the rest of the house may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from quantdiff.graph import Model
from quantdiff.layer import Layer
from quantdiff.load.data import Batch, Slot, bind
from quantdiff.load.npz import release
from quantdiff.quant import Array
from quantdiff.recording import BoundModel, Recorder
from quantdiff.references.formats import PLAIN, Options, format_of, formats
from quantdiff.trace import Trace, Value


def save_reference(source: Any, path: Path) -> Path:
    """Write a model that is in memory to ``path``, which has no ending yet; gives the path with one."""
    return formats()[format_of(source)].save(source, path)


def open_references(source: Any, options: Options = PLAIN) -> tuple[Reference, ...]:
    """A model by its path or in memory, once for every engine that can run it.

    Raises:
        BadModel: no such file, or one that cannot be read.
        TypeError: an object that is no model.
        MissingExtra: a package that the format needs is not installed.
    """
    name = format_of(source)
    found, path = formats()[name], Path(source) if isinstance(source, str) else source
    if found.framework is not None and isinstance(path, Path):
        from quantdiff.references.hosted import open_hosted  # noqa: PLC0415 (which knows what a reference is)

        return open_hosted(name, path, options)
    return found.open(path, options)


ELEMENTS_AT_ONCE, SAMPLES_AT_ONCE = 2**22, 1000

Count = Callable[[int], None]


def unheard(done: int) -> None:
    """Nobody asked how far it is."""
    del done


class Named(Protocol):
    """What a trace needs to know of a model."""

    @property
    def name(self) -> str:
        """The file's name, for messages."""

    @property
    def kind(self) -> str:
        """The engine as results name it: ``float``, ``qat``, ``tflite:xnnpack``."""

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What it takes, in its own order."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs, in its own order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of it."""


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


def bound(reference: Reference, recorder: Recorder, batch: Batch, plain: Trace | None = None) -> BoundModel:
    """A model that is watched with the data bound to its inputs, and its outputs when nobody watches, where known.

    Raises:
        BadData: the data do not fit its inputs.
    """
    expected = tuple(value.array for value in plain.outputs) if plain is not None else ()
    return BoundModel(recorder, bind(batch, reference.inputs, reference.name), expected)


def at_once(inputs: Sequence[Array]) -> int:
    """How many samples run together."""
    elements = max(1, sum(array[:1].size for array in inputs))
    return max(1, min(SAMPLES_AT_ONCE, ELEMENTS_AT_ONCE // elements))


def slices(inputs: Sequence[Array], slots: Sequence[Slot]) -> Iterator[list[Array]]:
    """The data as the model's inputs, as many samples at once as memory bears."""
    size = at_once(inputs)
    for start in range(0, len(inputs[0]), size):
        pairs = zip(inputs, slots, strict=True)
        yield [array[start : start + size].astype(slot.dtype, copy=False) for array, slot in pairs]
        release(inputs)
