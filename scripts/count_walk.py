"""Which files a command walks through: those of the package in which a function runs, in the order of the first call.

    uv run python scripts/count_walk.py [--at-most N] explain qat.h5 model.tflite --data data.npz

Counted is this process, all its threads; children are not. Imports do not count: neither module and class bodies nor
what is called while they run, and what ``dataclasses`` generates lies in no file.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1] / "src" / "quantdiff"
IMPORTING = "<frozen importlib._bootstrap>"


class Walk:
    """The files that have been walked through; to be given to ``sys.setprofile``."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self._known = dict[Any, bool]()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note the file of a function that is called."""
        if event != "call" or self._known.get(code := frame.f_code):
            return
        if code not in self._known:
            body = not code.co_flags & inspect.CO_OPTIMIZED  # of a module or a class
            self._known[code] = body or not code.co_filename.startswith(str(ROOT) + os.sep)
        if not self._known[code] and not _importing(frame):
            self._known[code] = True
            self.files.setdefault(code.co_filename, code.co_qualname)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False


def walk(arguments: list[str]) -> tuple[Walk, object]:
    """Run a command without its output; the files, and its exit status."""
    from quantdiff.cli import main

    walked = Walk()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        threading.setprofile(walked)
        sys.setprofile(walked)
        try:
            status = main(arguments, standalone_mode=False)
        except SystemExit as end:
            status = end.code
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return walked, status


def main() -> int:
    """Print the list; 1 where it is longer than asked for."""
    arguments, most = sys.argv[1:], None
    if arguments[:1] == ["--at-most"]:
        most, arguments = int(arguments[1]), arguments[2:]
    walked, status = walk(arguments)
    for number, (file, function) in enumerate(walked.files.items(), 1):
        print(f"{number:4}  {Path(file).relative_to(ROOT)}  ({function})")
    goal = "" if most is None else f", at most {most} wanted"
    print(f"{len(walked.files)} files of the package{goal}; exit status {status}", file=sys.stderr)
    return int(most is not None and len(walked.files) > most)


if __name__ == "__main__":
    sys.exit(main())
