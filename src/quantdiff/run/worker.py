"""The child process of a runtime: one model on it, told what to do by messages (``run/process.py``).

Arrays travel in shared memory, as PIECEs (``conversation.Piece``) of the blocks that come with a message. Whatever
native code prints lands in a file of the parent's. A request is one of

    {"call": "load", "adapter": MODULE, "runtime": …,              → {"result": "loaded", "delegated": …}
     "model": PATH, "batch": true}
    {"call": "run", "inputs": [PIECE, …], "theirs": [PIECE, …],    → {"done": n} while it runs, then
     "kept": [true, …], "pairs": [PAIR, …], "turn": n, "apart": …}   {"result": …, "pieces": [PIECE, …]}

where MODULE is an ``Adapter`` of ``run/batches.py``; a model without a path is the block that comes along. Of the
outputs those ``kept`` are given; ``turn`` is the block that they are written to. A PAIR is [OUTPUT, ITS QUANTIZATION,
QUANTIZATION OF THEIRS, GRID, COMPILED]: that output is held against the piece of ``theirs`` of the same place, and
what ``RowSums.packed`` makes of it is the last piece given. A failure is ``{"error": TEXT, "kind": CLASS}``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import cast

if __name__ == "__main__":  # before NumPy starts threads, which cannot be confined
    import_module("quantdiff.run.serving").over_standard_streams("quantdiff.run.worker")

from quantdiff.run.batches import Adapter, Engine, Outputs, Room
from quantdiff.run.channel import Message
from quantdiff.run.conversation import Block, Received, unpacked
from quantdiff.run.serving import Answer, Say


@dataclass(slots=True)
class Worker:
    """The model, and the memory that is shared."""

    engine: Engine | None = None
    received: Received = field(default_factory=Received)
    room: Room = field(default_factory=Room)
    file: tuple[Block, ...] = ()

    def answer(self, request: Message, descriptors: list[int], say: Say) -> tuple[Message, list[int]]:
        """Load or run."""
        blocks = self.received.take(descriptors)
        if request["call"] == "load":
            self.file = tuple(blocks)
            return self._load(request), []
        assert self.engine is not None
        inputs, theirs = (unpacked(request[name], blocks) for name in ("inputs", "theirs"))
        outputs = Outputs(self.room, request["turn"], request["kept"], request["pairs"], theirs)
        batched = self.engine.run(inputs, lambda done: say({"done": done}), outputs.take, apart=request["apart"])
        shared = [outputs.block.descriptor] if outputs.block is not None else []
        return {"result": "batched" if batched else "single", "pieces": outputs.pieces}, shared

    def _load(self, request: Message) -> Message:
        adapter = cast(Adapter, import_module(request["adapter"]))
        path = request["model"] or f"/dev/fd/{self.file[0].descriptor}"
        self.engine = Engine(partial(adapter.open_model, path, request["runtime"]), request["batch"])
        return {"result": "loaded", "delegated": self.engine.single.delegated}


def answers() -> Answer:
    """What ``serving`` asks of a child's module."""
    return Worker().answer
