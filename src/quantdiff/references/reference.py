"""Reference: a trained model, whoever trained it, as all that the rest of the house may ask; and the formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.files import FILE, FOLDER, what_is
from quantdiff.graph import Model
from quantdiff.layer import Layer
from quantdiff.lazy import Registry
from quantdiff.load.data import Batch, Slot, bind
from quantdiff.load.mapped import release
from quantdiff.quant import Array
from quantdiff.recording import BoundModel, Recorder
from quantdiff.run.child import RuntimeProcess
from quantdiff.trace import Trace, Value


@dataclass(frozen=True, slots=True)
class Options:
    """How a model may be opened.

    Attributes:
        allow_lambda: whether Lambda layers may run; they hold code.
        custom_objects: a Python file with the classes that the model needs; it runs.
        processes: the runtimes, for models that are run by one.
        batch: the data that the model will be given, where they are known: of a function, what its sizes are.
    """

    allow_lambda: bool = False
    custom_objects: Path | None = None
    processes: tuple[RuntimeProcess, ...] = ()
    batch: Batch | None = None


PLAIN = Options()
"""Nothing that a file holds as code runs, and no runtime is started."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file and of object in memory.

    Attributes:
        files: how its files are called, for messages: ``.keras``, ``SavedModel folder``.
        takes: whether a path (that exists) or an object is one of these; imports nothing heavy.
        open: the model, once for every engine that can run it.
        save: writes an object in memory to a path without an ending, and gives the whole path.
    """

    files: tuple[str, ...]
    takes: Callable[[Any], bool]
    open: Callable[[Any, Options], tuple[Reference, ...]]
    save: Callable[[Any, Path], Path]


FORMATS: Registry[Format] = Registry("quantdiff.references")


def formats() -> Mapping[str, Format]:
    """Every format by name."""
    return FORMATS.load()


def format_of(source: Any) -> str:
    """The name of the format that reads a path or an object.

    Raises:
        BadModel: no such file, or a file of no format.
        TypeError: an object that is no model.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and python_function(path) is None:
        _check_there(path)
    for name, each in formats().items():
        if each.takes(source if path is None else path):
            return name
    if path is None:
        kind = type(source).__name__
        raise TypeError(f"a {kind} is no model; give a path, a model in memory or the bytes of a .tflite file")
    raise BadModel(f"{path}: not a model that can be read; give {known_files()}")


def python_function(path: Path) -> tuple[Path, str] | None:
    """``FILE.py:function`` as both; None for other paths. The user has named it, so it may run."""
    file, colon, function = str(path).rpartition(":")
    return (Path(file), function) if colon and file.endswith(".py") and Path(file).is_file() else None


def _check_there(path: Path) -> None:
    try:
        kind = what_is(path)
    except FileNotFoundError as error:
        raise BadModel(f"{path}: no such model; give {known_files()}") from error
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror}; give {known_files()}") from error
    if kind not in (FILE, FOLDER):
        raise BadModel(f"{path}: is {kind}, not a model; give {known_files()}")


def known_files() -> str:
    """``a .keras, .h5 or .tflite file or a SavedModel folder``."""
    names = [name for each in formats().values() for name in each.files]
    suffixes, others = ([n for n in names if n.startswith(".") is dotted] for dotted in (True, False))
    files = f"a {', '.join(suffixes[:-1])} or {suffixes[-1]} file" if len(suffixes) > 1 else f"a {suffixes[0]} file"
    return " or ".join([files, *(f"a {other}" for other in others)])


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
    found = formats()[format_of(source)]
    return found.open(Path(source) if isinstance(source, str) else source, options)


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


def slices(inputs: Sequence[Array], slots: Sequence[Slot]) -> Iterator[list[Array]]:
    """The data as the model's inputs, as many samples at once as memory bears."""
    elements = max(1, sum(array[:1].size for array in inputs))
    size = max(1, min(SAMPLES_AT_ONCE, ELEMENTS_AT_ONCE // elements))
    for start in range(0, len(inputs[0]), size):
        pairs = zip(inputs, slots, strict=True)
        yield [array[start : start + size].astype(slot.dtype, copy=False) for array, slot in pairs]
        release(inputs)
