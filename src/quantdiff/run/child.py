"""A runtime in a process of its own, kept alive between batches: it may crash or hang, we go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantdiff.errors import RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.run.outputs import sent_grid, sent_quant
from quantdiff.run.process import Message, Process, memory_kept
from quantdiff.run.runtimes import check_timeout, entry_of
from quantdiff.run.shared_memory import RECENT, Block, Parcel, Piece, Received, unpacked
from quantdiff.tally.rows import RowSums
from quantdiff.trace import Value

VIEWS = 3  # calls of ``view`` whose arrays hold: one that is being measured, one that waits, one that is made
TIMEOUT = 120.0  # seconds without a word from the child
CURES = "fewer samples, a longer --timeout, or another --runtime"
START_UP = 60.0  # seconds that a busy machine may need to import the runtime, whatever the time limit


@dataclass(frozen=True, slots=True)
class Measured:
    """An output by number and how it is to be read, what it is held against, the integers that count, and by what."""

    output: int
    theirs: Value
    quant: QuantParams | None = None
    grid: Grid | None = None
    compiled: bool = True


class Conversation:
    """Questions to a child and its answers. ``where`` names what runs which model, for messages.

    ``timeout`` is the number of seconds that the child may say nothing, ``cures`` what a person may do then;
    ``recent`` is how many pieces of the child's memory stay mapped.
    """

    def __init__(self, process: Process, timeout: float, *, cures: str = CURES, recent: int = RECENT) -> None:
        self.process, self.timeout, self.where, self._cures = process, timeout, "", cures
        self.confined: dict[str, bool] | None = None
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
            self.process.channel.send(request, [block.descriptor for block in blocks])
        while True:
            reply, shared = self._receive()
            if "done" in reply:
                on_progress(reply["done"])
            else:
                return reply, shared

    def begin(self) -> dict[str, bool]:
        """Wait until the child is there; what it may not do.

        Raises:
            RuntimeCrashed, RuntimeHung: it does not come.
        """
        if self.confined is None:
            self.confined = dict(self._reply(max(self.timeout, START_UP))[0]["confined"])
        return self.confined

    def _receive(self) -> tuple[Message, list[Block]]:
        self.begin()
        return self._reply(self.timeout)

    def _reply(self, timeout: float) -> tuple[Message, list[Block]]:
        try:
            reply, descriptors = self.process.channel.receive(timeout)
        except TimeoutError:
            self.process.kill()
            raise RuntimeHung(
                f"{self.where} said nothing for {self.timeout:g} s and was ended; use {self._cures}"
            ) from None
        except EOFError:
            rest = "; the other runtimes are not affected" if self._cures == CURES else ""
            raise RuntimeCrashed(f"{self.where} crashed ({self.process.ending()}){rest}") from None
        return reply, self._received.take(descriptors)


class RuntimeProcess:
    """A child that runs one model on one runtime; use it as a context manager.

    The child starts at once and in the background, so that it is ready by the time it is needed; it stays alive
    between batches, and another model gets another child: native code that damages its own memory (seen) must not
    spoil the next result. ``timeout`` is the number of seconds that it may say nothing; it reports after every batch.
    """

    def __init__(self, runtime: str, *, timeout: float = TIMEOUT) -> None:
        check_timeout(timeout)
        self.runtime, self.timeout, self.model = runtime, timeout, ""
        self._turn, self._parcel = 0, Parcel()
        self._start()

    def _start(self) -> None:
        self.talk = Conversation(Process("quantdiff.run.worker", environment=memory_kept()), self.timeout)

    def __enter__(self) -> RuntimeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, model: Path, *, batch: bool = True, content: Block | None = None, keep: bool = False) -> None:
        """Load a model; ``batch`` False runs it sample by sample whatever it allows.

        ``keep``: in the child that ran the model before, for what is tried hundreds of times and measured again after.

        ``content`` is what counts where it is not the file's, whose name alone is used then. ``delegated`` says
        afterwards which parts of the graph a delegate runs: input and output tensors of each.

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs over it, or there is none of that name.
        """
        runtime = {"adapter": entry_of(self.runtime).adapter, "runtime": self.runtime}
        if self.model and not keep:
            self.talk.process.close()
            self._start()
        self.model = model.name
        blocks = [] if content is None else [content]
        path = str(model) if content is None else ""
        reply, _ = self._ask({"call": "load", **runtime, "model": path, "batch": batch}, blocks)
        self.delegated: list[tuple[list[int], list[int]]] = [(given, made) for given, made in reply["delegated"]]

    def run(
        self, inputs: Sequence[Array], outputs: int, on_progress: Callable[[int], None], *, apart: bool = False
    ) -> tuple[list[Array], bool]:
        """All outputs for all samples, and whether they were computed in batches.

        ``apart``: one run a sample along axis 0 of the inputs, and of the outputs, whose own shapes stand behind it.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs.
        """
        arrays, reply = self._run(inputs, (), {"kept": [True] * outputs, "turn": VIEWS, "apart": apart}, on_progress)
        return [np.array(array) for array in arrays], reply["result"] == "batched"

    def view(self, inputs: Sequence[Array], outputs: int) -> list[Array]:
        """As ``run``, but the arrays are the child's memory: they hold until the call after ``VIEWS`` - 1 others.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs.
        """
        self._turn = (self._turn + 1) % VIEWS
        arrays, _ = self._run(inputs, (), {"kept": [True] * outputs, "turn": self._turn})
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def measure(
        self, inputs: Sequence[Array], kept: Sequence[bool], pairs: Sequence[Measured]
    ) -> tuple[list[Array], list[RowSums]]:
        """Hold outputs against other values where they are: the outputs ``kept`` of all, and the sums of each pair.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs, or a pair has two sizes.
        """
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
        return unpacked(reply["pieces"], blocks), reply

    def close(self) -> None:
        """End the child; the memory that it shared goes with the last array that lies in it."""
        self.talk.process.close()

    def _ask(
        self, request: Message, blocks: Sequence[Block], on_progress: Callable[[int], None] = lambda done: None
    ) -> tuple[Message, list[Block]]:
        self.talk.where, self.talk.timeout = f"{self.runtime} on {self.model}", self.timeout
        reply, shared = self.talk.ask(request, blocks, on_progress)
        if "error" in reply:
            raise RuntimeFailed(f"{self.talk.where} failed: {self.talk.process.reason(reply['error'])}")
        return reply, shared
