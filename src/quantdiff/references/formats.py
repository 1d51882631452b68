"""The formats of trained models: who reads which file, and the child that does it. Importing this imports no NumPy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from quantdiff.errors import BadModel
from quantdiff.files import FILE, FOLDER, python_function, split_part, what_is
from quantdiff.run.process import Process

if TYPE_CHECKING:
    from quantdiff.load.data import Batch
    from quantdiff.references.reference import Reference
    from quantdiff.run.runner import Runner


@dataclass(frozen=True, slots=True)
class Options:
    """How a model may be opened.

    Attributes:
        allow_lambda: whether Lambda layers may run; they hold code.
        custom_objects: a Python file with the classes that the model needs; it runs.
        processes: the runtimes, for models that are run by one.
        batch: the data that the model will be given, where they are known: of a function, what its sizes are.
        opened: closes what is open; None: it is closed when nobody has it any more.
        timeout: seconds that a framework may be silent; None: two minutes, or longer if a runtime may.
    """

    allow_lambda: bool = False
    custom_objects: Path | None = None
    processes: tuple[Runner, ...] = ()
    batch: Batch | None = None
    opened: ExitStack | None = None
    timeout: float | None = None


PLAIN = Options()
"""Nothing that a file holds as code runs, and no runtime is started."""


@dataclass(frozen=True, slots=True)
class Framework:
    """What opens and runs the files of a format.

    Attributes:
        package: on PyPI; its version is shown.
        extra: of this package, which brings it.
        load: imports it, which takes long, so a child does it first; raises MissingExtra.
    """

    package: str
    extra: str
    load: Callable[[], object]

    @property
    def installed(self) -> bool:
        """Whether it can be imported here."""
        return find_spec(self.package.replace("-", "_")) is not None


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file and of object in memory.

    Attributes:
        files: which files it reads: their endings, ``FOLDERS``, ``FUNCTIONS``; messages show these.
        takes: whether an object in memory is one of these; imports nothing heavy.
        open: the model, once for every engine that can run it.
        save: writes an object in memory to a path without an ending, and gives the whole path.
        framework: what its files are opened and run by, in a child; None: by nothing but this package, in this process.
        also: other endings of its files.
    """

    files: tuple[str, ...]
    takes: Callable[[Any], bool]
    open: Callable[[Any, Options], tuple[Reference, ...]]
    save: Callable[[Any, Path], Path]
    framework: Framework | None = None
    also: tuple[str, ...] = ()


def in_files_alone(source: Any) -> bool:
    """``takes`` of a format without objects in memory."""
    del source
    return False


def opened_by(module: str, name: str) -> Callable[[Any, Options], tuple[Reference, ...]]:
    """``open`` of a format by a function whose module is imported when a model is opened."""

    def open_model(source: Any, options: Options) -> tuple[Reference, ...]:
        opened: tuple[Reference, ...] = getattr(import_module(module), name)(source, options)
        return opened

    return open_model


FOLDERS, FUNCTIONS = "SavedModel folder", "FILE.py:function"
OF_ANY_FILE = "tflite"
"""Reads what no other format says that it reads: such a file may be called anything."""


@cache
def formats() -> dict[str, Format]:
    """Every format by the name of its folder in this one, whose package says what it is as ``FORMAT``."""
    folders = iter_modules(import_module(__package__).__path__)
    names = sorted(each.name for each in folders if each.ispkg)
    return {name: import_module(f"{__package__}.{name}").FORMAT for name in names}


def format_of(source: Any) -> str:
    """The name of the format that reads a path or an object.

    Raises:
        BadModel: no such file, or a file of no format.
        TypeError: an object that is no model.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        what = FUNCTIONS if python_function(path) is not None else _what_is_there(path)
        return next((name for name, each in formats().items() if what in (*each.files, *each.also)), OF_ANY_FILE)
    found = next((name for name, each in formats().items() if each.takes(source)), None)
    if found is None:
        kind = type(source).__name__
        raise TypeError(f"a {kind} is no model; give a path, a model in memory or the bytes of a .tflite file")
    return found


def _what_is_there(path: Path) -> str:
    """The ending of a file, or ``FOLDERS``."""
    file = split_part(path)[0]
    try:
        kind = what_is(file)
    except FileNotFoundError as error:
        raise BadModel(f"{path}: no such model; give {known_files()}") from error
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror}; give {known_files()}") from error
    if kind not in (FILE, FOLDER):
        raise BadModel(f"{path}: is {kind}, not a model; give {known_files()}")
    return FOLDERS if kind == FOLDER else file.suffix


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
    name = format_of(source)
    found, path = formats()[name], Path(source) if isinstance(source, str) else source
    if found.framework is not None and isinstance(path, Path):
        from quantdiff.references.hosted import open_hosted  # noqa: PLC0415 (which knows what a reference is)

        return open_hosted(name, path, options)
    return found.open(path, options)


_waiting: list[tuple[str, Process]] = []


@contextmanager
def started_early(*sources: Any) -> Iterator[None]:
    """Start a host for each path that wants one, all at once. What nobody took ends with the block."""
    paths = (Path(source) for source in sources if isinstance(source, str | Path))
    wanted = Counter(format_of(path) for path in paths if _is_file(path))
    wanted.subtract(name for name, _ in _waiting)
    hosted = [name for name in wanted.elements() if formats()[name].framework is not None]
    _waiting.extend((name, _start(name)) for name in hosted)
    try:
        yield
    finally:
        while _waiting:
            _waiting.pop()[1].close()


def _is_file(path: Path) -> bool:
    try:
        return what_is(split_part(path)[0]) in (FILE, FOLDER)
    except OSError:
        return False


def host_for(name: str) -> Process:
    """One that was started early and imports the format's framework, or a new one."""
    early = next((waiting for waiting in _waiting if waiting[0] == name), None)
    if early is None:
        return _start(name)
    _waiting.remove(early)
    return early[1]


def _start(name: str) -> Process:
    return Process("quantdiff.references.worker", name)
