"""A runtime in a process of its own, kept alive between batches: it may crash or hang, we go on."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.run.outputs import sent_grid, sent_quant
from quantdiff.run.runtimes import check_timeout, entry_of
from quantdiff.run.shared_memory import SentFiles, surroundings
from quantdiff.tally.rows import RowSums
from quantdiff.trace import Value

VIEWS = 3  # calls of ``view`` whose arrays hold: one that is being measured, one that waits, one that is made
TIMEOUT = 120.0  # seconds without a word from the child
START_UP = 60.0  # seconds that a busy machine may need to import the runtime, whatever the time limit
CHATTER = ("INFO:", "WARNING: All log")  # lines of native code that explain nothing
WORDS_AT_MOST = 300  # characters of a runtime's own message


@dataclass(frozen=True, slots=True)
class Measured:
    """An output by number and how it is to be read, what it is held against, the integers that count, and by what."""

    output: int
    theirs: Value
    quant: QuantParams | None = None
    grid: Grid | None = None
    compiled: bool = True


class RuntimeProcess:
    """A child that runs one model on one runtime; use it as a context manager.

    The child starts at once and in the background, so that it is ready by the time it is needed; it stays alive
    between batches, and another model gets another child: native code that damages its own memory (seen) must not
    spoil the next result. ``timeout`` is the number of seconds that it may say nothing; it reports after every batch.
    """

    def __init__(self, runtime: str, *, timeout: float = TIMEOUT) -> None:
        check_timeout(timeout)
        self.runtime, self.timeout, self.model = runtime, timeout, ""
        shared = Path("/dev/shm")  # memory, where the system offers it as a folder
        self._folder = Path(tempfile.mkdtemp(prefix="quantdiff-", dir=shared if os.access(shared, os.W_OK) else None))
        self._sent = SentFiles(self._folder)
        self._turn, self._views = 0, dict[Path, Array]()
        self._start()

    def _start(self) -> None:
        self._ready = False
        self._log = (self._folder / "stderr.txt").open("w+b")
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "quantdiff.run.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=surroundings(),
        )
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(self._child.stdout, self._replies), daemon=True).start()

    def __enter__(self) -> RuntimeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, model: Path, *, batch: bool = True) -> None:
        """Load a model; ``batch`` False runs it sample by sample whatever it allows.

        ``delegated`` then says which parts of its graph a delegate runs: input and output tensors of each.

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs over it, or there is none of that name.
        """
        runtime = {"adapter": entry_of(self.runtime).adapter, "runtime": self.runtime}
        if self.model:
            self._end()
            self._views.clear()
            self._start()
        self.model = model.name
        reply = self._ask({"call": "load", **runtime, "model": str(model), "batch": batch})
        self.delegated: list[tuple[list[int], list[int]]] = [(given, made) for given, made in reply["delegated"]]

    def run(
        self, inputs: Sequence[Array], outputs: int, on_progress: Callable[[int], None], *, apart: bool = False
    ) -> tuple[list[Array], bool]:
        """All outputs for all samples, and whether they were computed in batches.

        ``apart``: one run a sample along axis 0 of the inputs, and of the outputs, whose own shapes stand behind it.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs.
        """
        received = [self._folder / f"output{i}.npy" for i in range(outputs)]
        reply = self._run(inputs, {"outputs": [*map(str, received)], "apart": apart}, on_progress)
        return [np.load(path) for path in received], reply["result"] == "batched"

    def view(self, inputs: Sequence[Array], outputs: int) -> list[Array]:
        """As ``run``, but the arrays are the child's memory: they hold until the call after ``VIEWS`` - 1 others.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs.
        """
        self._turn = (self._turn + 1) % VIEWS
        received = [self._folder / f"view{self._turn}-{i}.npy" for i in range(outputs)]
        reply = self._run(inputs, {"outputs": [*map(str, received)]})
        for path, (shape, dtype) in zip(received, reply["shapes"], strict=True):
            there = self._views.get(path)
            if there is None or (there.shape, there.dtype.str) != (tuple(shape), dtype):
                self._views[path] = np.load(path, mmap_mode="r")
        return [self._views[path] for path in received]

    def measure(
        self, inputs: Sequence[Array], kept: Sequence[bool], pairs: Sequence[Measured]
    ) -> tuple[list[Array], list[RowSums]]:
        """Hold outputs against other values where they are: the outputs ``kept`` of all, and the sums of each pair.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs, or a pair has two sizes.
        """
        rows = self._folder / "rows.npy"
        received = {i: self._folder / f"output{i}.npy" for i, wanted in enumerate(kept) if wanted}
        asked = {
            "outputs": [str(received[i]) if i in received else None for i in range(len(kept))],
            "pairs": [self._pair(number, pair) for number, pair in enumerate(pairs)],
            "rows": str(rows),
        }
        self._run(inputs, asked)
        sums = np.load(rows) if pairs else ()
        return [np.load(path) for path in received.values()], [*map(RowSums, sums)]

    def _pair(self, number: int, pair: Measured) -> list[Any]:
        theirs = self._sent.file(f"theirs{number}", pair.theirs.array)
        quants = sent_quant(pair.quant), sent_quant(pair.theirs.quant)
        return [pair.output, quants[0], theirs, quants[1], sent_grid(pair.grid), pair.compiled]

    def _run(
        self, inputs: Sequence[Array], asked: dict[str, Any], on_progress: Callable[[int], None] = lambda done: None
    ) -> dict[str, Any]:
        sent = [self._sent.file(f"input{i}", array) for i, array in enumerate(inputs)]
        return self._ask(
            {"call": "run", "pairs": [], "rows": None, "apart": False, "inputs": sent, **asked}, on_progress
        )

    def close(self) -> None:
        """End the child and remove its files."""
        self._end()
        self._sent.clear()
        self._views.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._log):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def _ask(self, request: dict[str, Any], on_progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is reported below, with the reason
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        while True:
            reply = self._reply()
            if "done" in reply:
                on_progress(reply["done"])
            elif "error" in reply:
                raise RuntimeFailed(f"{self._where()} failed: {self._reason(reply['error'])}")
            elif reply["result"] == "ready":
                self._ready = True
            else:
                return reply

    def _reply(self) -> dict[str, Any]:
        try:
            line = self._replies.get(timeout=self.timeout if self._ready else max(self.timeout, START_UP))
        except queue.Empty:
            self._child.kill()
            raise RuntimeHung(
                f"{self._where()} said nothing for {self.timeout:g} s and was ended; "
                "use fewer samples, a longer --timeout, or another --runtime"
            ) from None
        if line:
            reply: dict[str, Any] = json.loads(line)
            return reply
        raise RuntimeCrashed(f"{self._where()} crashed ({self._ending()}); the other runtimes are not affected")

    def _where(self) -> str:
        return f"{self.runtime} on {self.model}"

    def _ending(self) -> str:
        code = self._child.wait()
        return self._reason(signal.Signals(-code).name if code < 0 else f"exit status {code}")

    def _reason(self, reason: str) -> str:
        """The reason with the last words of native code about this model: they name the operator."""
        self._log.seek(0)
        lines = [" ".join(line.split()) for line in self._log.read().decode(errors="replace").splitlines()]
        said = [line for line in dict.fromkeys(lines) if line and not line.startswith(CHATTER)]
        return self._words(": ".join([reason, "; ".join(said[-2:])] if said else [reason]))

    @staticmethod
    def _words(message: str) -> str:
        """A native message on one line, without characters that steer a terminal."""
        line = " ".join(message.split())
        return "".join(c if c.isprintable() else "?" for c in line)[:WORDS_AT_MOST]


def _listen(stream: Any, replies: queue.SimpleQueue[str]) -> None:
    with contextlib.suppress(ValueError):  # closed under us
        for line in stream:
            replies.put(line)
    replies.put("")
