"""Talk with a child about arrays: questions and answers, and the memory that both hold.

Shared memory has no name, so it goes with the last process that holds it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from quantdiff.errors import NoWorker, RuntimeCrashed, RuntimeHung, RuntimeUnavailable
from quantdiff.files import reserved_descriptor
from quantdiff.quant import Array
from quantdiff.run.channel import PROTOCOL, Message
from quantdiff.run.process import Process

ALIGNED = 64  # bytes: a line of the cache, and what vector instructions ask for
RECENT = 8  # blocks of others that stay mapped: mapping again costs a fault for every page

Kind = tuple[tuple[int, ...], str]
"""Shape and dtype."""
Piece = tuple[int, int, tuple[int, ...], str]
"""Where an array is, as messages say it: the number of its block in the message, offset in bytes, shape and dtype."""


class Block(mmap.mmap):
    """Memory that is shared, and its descriptor, by which it is passed on."""

    descriptor: int

    def at(self, offset: int, shape: Sequence[int], dtype: str) -> Array:
        """The array there, which keeps the block alive.

        Raises:
            TypeError: the block is smaller, or these are no numbers.
        """
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError(f"{dtype} holds pointers, which mean nothing here")
        return np.ndarray(tuple(shape), kind, self, offset)


def mapped(descriptor: int) -> Block:
    """The block of a descriptor, which is the block's from now on."""
    block = Block(descriptor, os.fstat(descriptor).st_size)
    block.descriptor = descriptor
    weakref.finalize(block, os.close, descriptor)
    return block


def reserved(size: int) -> Block:
    """A new block.

    Raises:
        RuntimeFailed: the system has no room for it.
    """
    return mapped(reserved_descriptor(size))


def block_of(content: bytes) -> Block:
    """A new block of just these bytes.

    Raises:
        RuntimeFailed: the system has no room for it.
    """
    block = reserved(len(content))
    block[: len(content)] = content
    return block


def offsets_of(kinds: Iterable[Kind]) -> tuple[list[int], int]:
    """Where arrays lie one behind the other, and the size of all."""
    offsets, end = list[int](), 0
    for shape, dtype in kinds:
        offsets.append(end)
        end += -(-prod(shape) * np.dtype(dtype).itemsize // ALIGNED) * ALIGNED
    return offsets, end


def kind_of(array: Array) -> Kind:
    """Shape and dtype as messages say them."""
    return array.shape, array.dtype.str


class Parcel:
    """The arrays of one message: what lies in a block already goes as it is, the others go into one of our own.

    ``shares`` False: all of them do, since blocks are copied, and whole ones hold more than was asked for.
    """

    def __init__(self, *, shares: bool = True) -> None:
        self._shares = shares
        self.blocks = list[Block]()
        self._own: Block | None = None
        self._kinds: tuple[Kind, ...] = ()

    def pack(self, arrays: Sequence[Array], *, again: bool = True) -> list[Piece]:
        """Where each array is; ``blocks`` are to be sent along.

        ``again``: our block is the one of the last message where it fits, since new memory has to be cleared.

        Raises:
            RuntimeFailed: the system has no room.
        """
        held = [_held(array) if self._shares else None for array in arrays]
        others = [array for array, there in zip(arrays, held, strict=True) if there is None]
        offsets, size = offsets_of(kinds := tuple(map(kind_of, others)))
        if others and (self._own is None or kinds != self._kinds or not again):
            self._own, self._kinds = reserved(size), kinds
        own = iter(offsets)
        self.blocks = []
        return [self._put(array, there, own) for array, there in zip(arrays, held, strict=True)]

    def _put(self, array: Array, there: tuple[Block, int] | None, own: Iterable[int]) -> Piece:
        if there is None:
            assert self._own is not None
            there = self._own, next(iter(own))
            self._own.at(there[1], *kind_of(array))[...] = array
        block, offset = there
        if not any(block is each for each in self.blocks):
            self.blocks.append(block)
        return next(n for n, each in enumerate(self.blocks) if each is block), offset, array.shape, array.dtype.str


def _held(array: Array) -> tuple[Block, int] | None:
    """The block in which an array lies as it is, and where."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if not isinstance(base, Block) or not array.flags.c_contiguous or not array.size:
        return None
    return base, _address(array) - _address(np.frombuffer(base, np.uint8))


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


class Received:
    """Blocks that other processes have sent; each is mapped once while it is in use."""

    def __init__(self, recent: int = RECENT) -> None:
        self._known: weakref.WeakValueDictionary[tuple[int, int], Block] = weakref.WeakValueDictionary()
        self._recent: deque[Block] = deque(maxlen=recent)

    def take(self, descriptors: Iterable[int]) -> list[Block]:
        """The blocks of a message, in its order."""
        return [self._take(descriptor) for descriptor in descriptors]

    def _take(self, descriptor: int) -> Block:
        found = os.fstat(descriptor)
        block = self._known.get(key := (found.st_dev, found.st_ino))
        if block is None:
            self._known[key] = block = mapped(descriptor)
        else:
            os.close(descriptor)
        self._recent.append(block)
        return block


def unpacked(pieces: Iterable[Piece], blocks: Sequence[Block]) -> list[Array]:
    """The arrays of a message."""
    return [blocks[number].at(offset, shape, dtype) for number, offset, shape, dtype in pieces]


TIMEOUT = 120.0  # seconds without a word from the child
CURES = "fewer samples, a longer --timeout, or another --runtime"
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


def _hello(said: Message) -> Hello:
    """What a stranger's first message says, as far as it says it in words."""
    machine, confined, versions = (said.get(key) for key in ("machine", "confined", "versions"))
    return Hello(str(machine), _entries(confined, bool), _entries(versions, str))


def _entries(given: Any, kind: type) -> dict[str, Any]:
    found = given.items() if isinstance(given, dict) else ()
    return {str(key): value for key, value in found if isinstance(value, kind)}
