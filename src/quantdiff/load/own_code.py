"""Python files that the user names: they run, and what they raise is told as the user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.files import open_file

T = TypeVar("T")


def module_of(path: Path, refuse: type[QuantdiffError]) -> ModuleType:
    """The file as a module that has run; what lies beside it can be imported meanwhile.

    Raises:
        refuse: no such Python file, or it fails.
    """
    try:
        open_file(path).close()
    except OSError as error:
        raise refuse(f"{path}: {error.strerror or reason_of(error)}; give a Python file that is there") from error
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise refuse(f"{path}: not a Python file; its name ends in .py")
    module = module_from_spec(spec)
    with _beside(path):
        guarded(path, refuse, partial(spec.loader.exec_module, module))
    return module


def function_of(source: str | Path, refuse: type[QuantdiffError]) -> Callable[..., Any]:
    """The function of ``FILE.py:function``, whose errors are told as the user's own.

    Raises:
        refuse: as ``module_of``, or the file has no such function.
    """
    path, _, name = str(source).rpartition(":")
    module = module_of(Path(path), refuse)
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise refuse(f"{path}: has no function {name}; it has {', '.join(known) or 'none'}")

    def called(*given: Any) -> Any:
        with _beside(Path(path)):
            return guarded(source, refuse, partial(cast("Callable[..., Any]", found), *given))

    return called


def guarded(source: str | Path, refuse: type[QuantdiffError], call: Callable[[], T]) -> T:
    """``call``, whatever it raises as one line.

    Raises:
        refuse: it raised something.
    """
    try:
        return call()
    except QuantdiffError:
        raise
    except (Exception, SystemExit) as error:  # a person's own code
        raise refuse(f"{source}: {type(error).__name__} while it ran: {reason_of(error)}") from error


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
