"""What runs a file under the name of a runtime, and tells how far it is.

The contract, and the child that keeps it: a runtime in a process of its own, alive between batches; it may crash or
hang, we go on. What stands for a runtime in this process keeps the same contract (``run/in_process.py``).
A ``Loaded`` file is asked again sample by sample where a batch crashes its runtime.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from quantdiff.errors import RuntimeCrashed, RuntimeFailed
from quantdiff.files import read_file
from quantdiff.graph import Graph, Model
from quantdiff.ops import compiler_named
from quantdiff.quant import Array, Grid, QuantParams, Value
from quantdiff.run.batches import sent_grid, sent_quant
from quantdiff.run.channel import Message
from quantdiff.run.conversation import TIMEOUT, Block, Conversation, Parcel, Piece, block_of, unpacked
from quantdiff.run.process import Process, memory_kept
from quantdiff.run.runtimes import architecture_of, check_timeout, entry_of, not_simulated
from quantdiff.sim.device import Rules
from quantdiff.tally.stats import RowSums

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""
    del stage, done, total


Count = Callable[[int], None]


def unheard(done: int) -> None:
    """Nobody asked how far it is."""
    del done


Parts = list[tuple[list[int], list[int]]]
"""The parts of a graph that a delegate runs: input and output tensors of each."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An output by number and how it is to be read, what it is held against, the integers that count, and by what."""

    output: int
    theirs: Value
    quant: QuantParams | None = None
    grid: Grid | None = None
    compiled: bool = True


class Runner(ABC):
    """One file on one runtime; a context manager.

    Attributes:
        runtime: its name, as it was asked for.
        timeout: seconds that it may say nothing.
        delegated: what a delegate runs of the file that was loaded.
        of_one_file: whether it knows what one file gives for some data, and nothing else.
    """

    runtime: str
    timeout: float
    delegated: Parts
    of_one_file = False

    @property
    def rules(self) -> Rules | None:
        """Whose rules the simulator has for it, if any; raises as ``machine``."""
        return entry_of(self.runtime).rules_on(self.machine)

    @property
    def known_rules(self) -> Rules:
        """The same, where they are needed.

        Raises:
            NotSimulated: nobody knows them.
        """
        rules = self.rules
        if rules is None:
            raise not_simulated(self.runtime)
        return rules

    @property
    @abstractmethod
    def machine(self) -> str:
        """The architecture that it runs on; a child is asked where nobody else knows, empty where nobody does.

        Raises:
            RuntimeFailed: the child does not come.
        """

    @property
    def versions(self) -> Mapping[str, str] | None:
        """Versions by package where it runs, if that is somewhere else; raises as ``machine``."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of all that it gives."""
        return ()

    def holds(self, graph: Graph) -> frozenset[int] | None:
        """The tensors that it can give; None: every one."""
        del graph
        return None

    def attend(self, model: Model, inputs: Sequence[Array]) -> None:
        """Hear all inputs of the file that will be asked for, before anything runs. Shapes: (runs, *shape).

        Raises:
            BadData: it knows what another model or other data give.
        """
        del model, inputs

    def own_inputs(self, model: Model) -> list[Array] | None:
        """What it was fed with, where that is known. Shapes: (runs, *shape of the input); raises as ``attend``."""
        del model
        return None

    @abstractmethod
    def another(self) -> Self:
        """One more of it, for another file at the same time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End what runs."""

    @abstractmethod
    def load(self, model: Path, *, batch: bool = True, content: Block | None = None) -> None:
        """Load a model; ``batch`` False runs it sample by sample whatever it allows.

        ``content`` is what counts where it is not the file's, whose name alone is used then.

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs over it, or there is none of that name.
        """

    @abstractmethod
    def run(
        self, inputs: Sequence[Array], outputs: int, on_progress: Callable[[int], None], *, apart: bool = False
    ) -> tuple[list[Array], bool]:
        """All outputs for all samples, and whether they were computed in batches.

        ``apart``: one run a sample along axis 0 of the inputs, and of the outputs, whose own shapes stand behind it.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs.
        """

    @abstractmethod
    def view(self, inputs: Sequence[Array], outputs: int) -> list[Array]:
        """As ``run``, perhaps in the runtime's memory: arrays hold until the call after ``VIEWS`` - 1 others."""

    @abstractmethod
    def measure(
        self, inputs: Sequence[Array], kept: Sequence[bool], pairs: Sequence[Measured]
    ) -> tuple[list[Array], list[RowSums]]:
        """Hold outputs against other values where they are: the outputs ``kept`` of all, and the sums of each pair.

        Raises:
            RuntimeFailed: the runtime reports an error, crashes or hangs, or a pair has two sizes.
        """


VIEWS = 3  # calls of ``view`` whose arrays hold: one that is being measured, one that waits, one that is made
DELEGATE, FLEX = "TfLiteXNNPackDelegate", "Flex delegate"  # their names in LiteRT's messages
MODEL_AT_MOST = 2**31  # bytes of a file, which is as much as its offsets can say


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


T = TypeVar("T")


def loaded_model(process: Runner, model: Model, *, batch: bool) -> Loaded:
    """A model as it was read, in a child."""
    assert model.path is not None
    content = None if model.content is None else block_of(model.content)
    return Loaded(process, model.path, batch=batch, content=content)


class Loaded:
    """A file, or ``content`` under its name, in a child: in batches if ``batch`` allows it and none has crashed."""

    def __init__(self, process: Runner, path: Path, *, batch: bool, content: Block | None = None) -> None:
        self.process, self._path, self._batch, self._ready = process, path, batch, False
        self._content = content

    def ask(self, question: Callable[[], T]) -> T:
        """What the child answers; the file is loaded when it is first asked.

        Raises:
            RuntimeFailed: the runtime refuses the model, crashes or hangs.
        """
        try:
            if not self._ready:
                self.process.load(self._path, batch=self._batch, content=self._content)
                self._ready = True
            return question()
        except RuntimeCrashed:
            if not self._batch:
                raise
        self._batch = self._ready = False
        return self.ask(question)
