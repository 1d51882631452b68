"""Which format reads a trained model: each folder of ``references`` registers its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.lazy import Registry
from quantdiff.references.reference import Reference
from quantdiff.run.child import RuntimeProcess


@dataclass(frozen=True, slots=True)
class Options:
    """How a model may be opened.

    Attributes:
        allow_lambda: whether Lambda layers may run; they hold code.
        custom_objects: a Python file with the classes that the model needs; it runs.
        processes: the runtimes, for models that are run by one.
    """

    allow_lambda: bool = False
    custom_objects: Path | None = None
    processes: tuple[RuntimeProcess, ...] = ()


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
    if path is not None and not path.exists():
        raise BadModel(f"{path}: no such model; give {known_files()}")
    for name, each in formats().items():
        if each.takes(source if path is None else path):
            return name
    if path is None:
        kind = type(source).__name__
        raise TypeError(f"a {kind} is no model; give a path, a model in memory or the bytes of a .tflite file")
    raise BadModel(f"{path}: not a model that can be read; give {known_files()}")


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
