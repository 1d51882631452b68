"""A format whose framework is NumPy, for a child: reads a ``.formula`` file, and does what its content says."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import formula
import numpy as np

from quantdiff.errors import BadModel, RuntimeFailed
from quantdiff.load.data import Batch, bind
from quantdiff.quant import Trace, Value
from quantdiff.references.formats import Format, Framework, Options, formats
from quantdiff.run.runner import Count, unheard


def takes(source: Any) -> bool:
    return isinstance(source, formula.Formula)


def abort() -> None:
    sys.stderr.write("Check failed: tensor has no shape\n")
    sys.stderr.flush()
    os.abort()


def fail(error: Exception) -> None:
    raise error


ACTS: dict[str, Callable[[], object]] = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": abort,
    "hang": lambda: time.sleep(600),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9), timeout=5),
    "huge": lambda: np.ones(2**45),
    "temporary": lambda: tempfile.mkstemp(prefix="of-the-framework-"),
    "unexpected": lambda: fail(KeyError("not ours")),
    "bad": lambda: fail(BadModel("x.formula: not a formula (line 1); write it again")),
}
"""What a stranger's file may bring about."""


class FormulaFile:
    """``formula.Formula``, with the outputs that a word of the file makes impossible."""

    def __init__(self, path: Path, options: Options) -> None:
        self._own, (self._when, self._word) = formula.Formula(), path.read_text().split()
        self.name, self.kind, self.inputs, self.outputs = path.name, "formula", self._own.inputs, self._own.outputs
        self.notes: tuple[str, ...] = (f"lambda {options.allow_lambda}, objects {options.custom_objects}",)
        self._at("open")

    def _at(self, when: str) -> None:
        if when == self._when:
            ACTS[self._word]()

    def layers(self) -> Any:
        self._at("layers")
        return self._own.layers()

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        del on_progress
        self._at("trace")
        (x,) = bind(batch, self.inputs, self.name)
        return replace(Trace("formula", (Value("second", formula.Watched().run([x]).values[-1]),)), notes=self.notes)

    def recorder(self) -> AbstractContextManager[Any]:
        self._at("recorder")
        return self._own.recorder()

    def lower(self) -> None:
        if self._when == "lower":
            raise RuntimeFailed("lowering failed")


def load() -> None:
    """Import NumPy, which is there."""


FORMULA = Format(
    (".formula",),
    takes,
    lambda source, options: (FormulaFile(source, options) if isinstance(source, Path) else source,),
    lambda source, path: Path(f"{source}{path}"),
    Framework("numpy", "formula", load),
)


def register() -> None:
    formats()["formula"] = FORMULA
