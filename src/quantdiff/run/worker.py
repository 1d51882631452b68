"""The child process: one model on one runtime, told what to do by JSON lines on standard input.

Arrays travel as ``.npy`` files, which both sides map into memory. Replies go to what was standard output when
the process began; whatever native code prints lands on standard error. A request is one of

    {"call": "load", "adapter": MODULE, "runtime": …,              → {"result": "loaded", "delegated": …}
     "model": PATH, "batch": true}
    {"call": "run", "inputs": [FILE, …], "outputs": [PATH, …],     → {"done": n} while it runs, then
     "pairs": [PAIR, …], "rows": PATH, "apart": false}               {"result": …, "shapes": [[SHAPE, DTYPE], …]}

where MODULE is an ``Adapter`` of ``run/runtimes.py``, FILE is [PATH, SHAPE, DTYPE], an output without a path is not
kept, and a failure is ``{"error": TEXT}``. A PAIR is [OUTPUT, ITS QUANTIZATION, FILE, ITS QUANTIZATION, GRID,
COMPILED]: that output is held against the file's values, and what ``RowSums.packed`` makes of it stands in ``rows``.
End of input ends the process, also in the middle of a run.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, cast

from quantdiff.run.batches import Engine
from quantdiff.run.outputs import Files, Outputs
from quantdiff.run.runtimes import Adapter


def _answer(
    engine: Engine | None, files: Files, request: dict[str, Any], say: Callable[[dict[str, Any]], None]
) -> Engine | None:
    if request["call"] == "load":
        adapter = cast(Adapter, import_module(request["adapter"]))
        engine = Engine(partial(adapter.open_model, request["model"], request["runtime"]), request["batch"])
        say({"result": "loaded", "delegated": engine.single.delegated})
        return engine
    assert engine is not None
    inputs = [files.there(*sent) for sent in request["inputs"]]
    outputs = Outputs(files, request["outputs"], request["pairs"], request["rows"])
    batched = engine.run(inputs, lambda done: say({"done": done}), outputs.take, apart=request["apart"])
    say({"result": "batched" if batched else "single", "shapes": outputs.shapes()})
    return engine


def _requests() -> Iterator[dict[str, Any]]:
    """Requests as they come; read on a thread of their own so that a vanished parent ends us in mid-run."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield json.loads(waiting.get())


def _limit_memory() -> None:
    """Let a damaged model that asks for terabytes fail here rather than take the machine with it."""
    try:
        import resource  # noqa: PLC0415 (not on Windows)

        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (total, total))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return


def main() -> None:
    """Serve requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _limit_memory()

    def say(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    say({"result": "ready"})
    engine: Engine | None = None
    files = Files()
    for request in _requests():
        try:
            engine = _answer(engine, files, request, say)
        except Exception as error:
            say({"error": f"{error}" or type(error).__name__})


if __name__ == "__main__":
    main()
