"""A runtime in a process of its own, kept alive between batches: it may crash or hang, we go on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np

from quantdiff.errors import NoWorker, RuntimeCrashed, RuntimeFailed, RuntimeHung, RuntimeUnavailable
from quantdiff.files import read_file
from quantdiff.ops import compiler_named
from quantdiff.quant import Array
from quantdiff.run.channel import Message
from quantdiff.run.outputs import sent_grid, sent_quant
from quantdiff.run.process import Process
from quantdiff.run.runner import Measured, Runner
from quantdiff.run.runtimes import architecture_of, check_timeout, entry_of
from quantdiff.run.serving import PROTOCOL
from quantdiff.run.shared_memory import RECENT, Block, Parcel, Piece, Received, block_of, unpacked
from quantdiff.tally.rows import RowSums

VIEWS = 3  # calls of ``view`` whose arrays hold: one that is being measured, one that waits, one that is made
TIMEOUT = 120.0  # seconds without a word from the child
DELEGATE, FLEX = "TfLiteXNNPackDelegate", "Flex delegate"  # their names in LiteRT's messages
CURES = "fewer samples, a longer --timeout, or another --runtime"
MODEL_AT_MOST = 2**31  # bytes of a file, which is as much as its offsets can say
START_UP = 60.0  # seconds that a busy machine may need to import the runtime, whatever the time limit


@dataclass(frozen=True, slots=True)
class Hello:
    """What a child says first: its architecture, what it may not do, and, from somewhere else, its versions."""

    machine: str
    confined: Mapping[str, bool]
    versions: Mapping[str, str] = field(default_factory=dict)


class Conversation:
    """Questions to a child and its answers. ``where`` names what runs which model, for messages.

    ``timeout`` is the number of seconds that the child may say nothing, ``cures`` what a person may do then;
    ``recent`` is how many pieces of the child's memory stay mapped.
    """

    def __init__(self, process: Process, timeout: float, *, cures: str = CURES, recent: int = RECENT) -> None:
        self.process, self.timeout, self.where, self._cures = process, timeout, "", cures
        self._hello: Hello | None = None
        self._received = Received(recent)

    def ask(
        self, request: Message, blocks: Sequence[Block] = (), on_progress: Callable[[int], None] = lambda done: None
    ) -> tuple[Message, list[Block]]:
        """The answer, which may be an error that the child met, and the memory that came with it.

        Raises:
            RuntimeCrashed: the child ended.
            RuntimeHung: it said nothing for too long, and was ended.
        """
        with contextlib.suppress(OSError):  # its end is reported below, with the reason
            self.process.channel.send(request, [block.descriptor for block in blocks], self.timeout)
        while True:
            reply, shared = self._receive()
            if isinstance(reply.get("done"), int):
                on_progress(reply["done"])
            else:
                return reply, shared

    def begin(self) -> Hello:
        """Wait until the child is there, and hear what it is.

        Raises:
            RuntimeCrashed, RuntimeHung: it does not come.
            NoWorker: who comes is no worker of this protocol.
        """
        if self._hello is None:
            said, _ = self._reply(max(self.timeout, START_UP))
            if said.get("protocol") != PROTOCOL:
                theirs = said.get("protocol", "another one")
                raise NoWorker(
                    f"{self.where}: the worker speaks protocol {theirs}, this quantdiff {PROTOCOL}; "
                    "install the same version on both sides"
                )
            self._hello = _hello(said)
        return self._hello

    def _receive(self) -> tuple[Message, list[Block]]:
        self.begin()
        return self._reply(self.timeout)

    def _reply(self, timeout: float) -> tuple[Message, list[Block]]:
        try:
            reply, descriptors = self.process.channel.receive(timeout)
        except NoWorker as error:
            self.process.kill()
            raise NoWorker(f"{self.where}: its command answers as no worker does: {error}; check it by hand") from None
        except TimeoutError:
            self.process.kill()
            raise RuntimeHung(
                f"{self.where} said nothing for {self.timeout:g} s and was ended; use {self._cures}"
            ) from None
        except EOFError:
            if self._hello is None and not self.process.channel.shares:
                raise RuntimeUnavailable(
                    f"{self.where}: no worker came ({self.process.ending()}); check its command by hand"
                ) from None
            rest = "; the other runtimes are not affected" if self._cures == CURES else ""
            raise RuntimeCrashed(f"{self.where} crashed ({self.process.ending()}){rest}") from None
        return reply, self._received.take(descriptors)


KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""For glibc: large arrays come and go with every sample, and memory fresh from the system has to be cleared."""


TUNABLES, LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
"""For glibc: ask for memory in pages of 2 MB, where the system has them; tensors lie in many of the small ones."""


def memory_kept() -> dict[str, str]:
    """The environment of a child that runs one model again and again."""
    tuned = [os.environ[TUNABLES]] if os.environ.get(TUNABLES) else []
    return {**os.environ, **KEEP_MEMORY, TUNABLES: ":".join([*tuned, LARGE_PAGES])}


class RuntimeProcess(Runner):
    """A child that runs one model on one runtime; use it as a context manager.

    The child starts at once and in the background, so that it is ready by the time it is needed; it stays alive
    between batches, and another model gets another child: native code that damages its own memory (seen) must not
    spoil the next result; ``reused`` takes them all into one, for trials of which a fresh child confirms the last.
    ``timeout`` is the number of seconds that it may say nothing; it reports after every batch.
    """

    def __init__(self, runtime: str, *, timeout: float = TIMEOUT, reused: bool = False) -> None:
        check_timeout(timeout)
        self._reused = reused
        self.runtime, self.timeout, self.model = runtime, timeout, ""
        self.entry, self._turn = entry_of(runtime), 0
        self._parcel = Parcel(shares=not self.entry.command)
        self._start()

    def _start(self) -> None:
        process = Process("quantdiff.run.worker", environment=memory_kept(), command=self.entry.command, fork=True)
        self.talk = Conversation(process, self.timeout)
        self.talk.where = self.runtime

    @property
    def machine(self) -> str:
        """As the row or the child says."""
        return self.entry.machine or architecture_of(self.talk.begin().machine)

    @property
    def versions(self) -> Mapping[str, str] | None:
        """As the child says, where a command started it."""
        return self.talk.begin().versions if self.entry.command else None

    def another(self) -> Self:
        """A child of its own."""
        return type(self)(self.runtime, timeout=self.timeout)

    def _stays(self) -> bool:
        """Whether the child takes another model: it is to, or is somewhere else, where it takes long to start one."""
        return (self._reused or bool(self.entry.command)) and self.talk.process.child.poll() is None

    def load(self, model: Path, *, batch: bool = True, content: Block | None = None) -> None:
        """As ``Runner`` says."""
        runtime = {"adapter": self.entry.adapter, "runtime": self.entry.kernels}
        if self.model and not self._stays():
            self.talk.process.close()
            self._start()
        self.model = model.name
        if content is None and not self.talk.process.channel.shares:
            content = block_of(read_file(model, MODEL_AT_MOST))
        blocks = [] if content is None else [content]
        path = str(model) if content is None else ""
        reply, _ = self._ask({"call": "load", **runtime, "model": path, "batch": batch}, blocks)
        with self._understood():
            self.delegated = [([*map(int, given)], [*map(int, made)]) for given, made in reply["delegated"]]

    def run(
        self, inputs: Sequence[Array], outputs: int, on_progress: Callable[[int], None], *, apart: bool = False
    ) -> tuple[list[Array], bool]:
        """As ``Runner`` says."""
        arrays, reply = self._run(inputs, (), {"kept": [True] * outputs, "turn": VIEWS, "apart": apart}, on_progress)
        return [np.array(array) for array in arrays], reply["result"] == "batched"

    def view(self, inputs: Sequence[Array], outputs: int) -> list[Array]:
        """As ``run``, in the child's memory."""
        self._turn = (self._turn + 1) % VIEWS
        arrays, _ = self._run(inputs, (), {"kept": [True] * outputs, "turn": self._turn})
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def measure(
        self, inputs: Sequence[Array], kept: Sequence[bool], pairs: Sequence[Measured]
    ) -> tuple[list[Array], list[RowSums]]:
        """As ``Runner`` says; counted in the child."""
        sent = [
            (p.output, sent_quant(p.quant), sent_quant(p.theirs.quant), sent_grid(p.grid), p.compiled) for p in pairs
        ]
        theirs = [pair.theirs.array for pair in pairs]
        arrays, _ = self._run(inputs, theirs, {"kept": list(kept), "pairs": sent, "turn": VIEWS})
        copies = [np.array(array) for array in arrays]
        sums = copies.pop() if pairs else ()
        return copies, [*map(RowSums, sums)]

    def _run(
        self,
        inputs: Sequence[Array],
        theirs: Sequence[Array],
        asked: Message,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> tuple[list[Array], Message]:
        pieces = self._parcel.pack([*inputs, *theirs])
        sent: dict[str, list[Piece]] = {"inputs": pieces[: len(inputs)], "theirs": pieces[len(inputs) :]}
        reply, blocks = self._ask(
            {"call": "run", "pairs": [], "apart": False, **sent, **asked}, self._parcel.blocks, on_progress
        )
        with self._understood():
            arrays = unpacked(reply["pieces"], blocks)
            if len(arrays) != sum(asked["kept"]) + bool(asked.get("pairs")) or "result" not in reply:
                raise ValueError(f"{len(arrays)} arrays")
        return arrays, reply

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """The answer of a worker, which may be a stranger's."""
        try:
            yield
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise RuntimeFailed(f"{self.talk.where} gave an answer that is none: {error}") from error

    def close(self) -> None:
        """End the child; the memory that it shared goes with the last array that lies in it."""
        self.talk.process.close()

    def _ask(
        self, request: Message, blocks: Sequence[Block], on_progress: Callable[[int], None] = lambda done: None
    ) -> tuple[Message, list[Block]]:
        self.talk.where, self.talk.timeout = f"{self.runtime} on {self.model}", self.timeout
        reply, shared = self.talk.ask(request, blocks, on_progress)
        if "error" in reply:
            reason = self.talk.process.reason(str(reply["error"]))
            raise RuntimeFailed(f"{self.talk.where} failed: {reason.rstrip('.')}{_way_on(reason)}")
        return reply, shared


def _way_on(reason: str) -> str:
    """What a runtime's own words do not say: which other file or runtime may do."""
    if (compiler := compiler_named(reason)) is not None:
        given = "give the one that it was made from, and what the chip computed as recorded:DUMP"
        return f"; the file comes from {compiler}: {given}"
    if FLEX in reason:
        return (
            "; this package has no TensorFlow inside: convert without SELECT_TF_OPS (LSTM and GRU need none where the "
            "batch is fixed to 1), or give what another program computed as recorded:DUMP"
        )
    if DELEGATE in reason:
        return "; XNNPACK took an operator that it then refused: --runtime builtin does without XNNPACK"
    return ""


def _hello(said: Message) -> Hello:
    """What a stranger's first message says, as far as it says it in words."""
    machine, confined, versions = (said.get(key) for key in ("machine", "confined", "versions"))
    return Hello(str(machine), _entries(confined, bool), _entries(versions, str))


def _entries(given: Any, kind: type) -> dict[str, Any]:
    found = given.items() if isinstance(given, dict) else ()
    return {str(key): value for key, value in found if isinstance(value, kind)}


def started(name: str, timeout: float = TIMEOUT, *, reused: bool = False) -> Runner:
    """What runs files under that name; a child starts in the background, ``reused`` for one model after the other.

    Raises:
        RuntimeUnavailable: there is no such runtime, or it cannot be started.
        QuantdiffError: the file that a name stands for cannot be read.
    """
    entry = entry_of(name)
    if not entry.module:
        return RuntimeProcess(name, timeout=timeout, reused=reused)
    check_timeout(timeout)
    runner: Runner = import_module(entry.module).start(entry, timeout)
    return runner
