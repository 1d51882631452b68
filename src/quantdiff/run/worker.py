"""The child process: one model on one runtime, told what to do by JSON lines on standard input.

Arrays travel as ``.npy`` files, which both sides map into memory. Replies go to what was standard output when
the process began; whatever native code prints lands on standard error. A request is one of

    {"call": "load", "runtime": …, "model": PATH, "batch": true}   → {"result": "loaded", "delegated": …}
    {"call": "run", "inputs": [[PATH, NEW], …], "outputs": [PATH, …]} → {"done": n} while it runs, then {"result": …}

where NEW tells whether the file was made since the run before, and a failure is ``{"error": TEXT}``. End of input
ends the process, also in the middle of a run.
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
from typing import Any

import numpy as np

from quantdiff.quant import Array

Room = Callable[[int, tuple[int, ...], Any], Array]
"""Where output number i is to be written, given its shape and dtype."""

ELEMENTS_AT_ONCE = 2**20  # input elements in one invocation: enough to fill the kernels, small in memory
SAMPLES_AT_ONCE = 1024
PROGRESS_EVERY = 256  # samples, where they run one by one


class Engine:
    """One model on one runtime, at its own batch size and, where it allows that, at a larger one."""

    def __init__(self, runtime: str, model: str, batch: bool) -> None:
        adapter = import_module("quantdiff.run.tflm" if runtime == "tflm" else "quantdiff.run.litert")
        self.open: Callable[[], Any] = lambda: adapter.open_model(model, runtime)
        self.may_batch = batch
        self.single: Any = self.open()
        self.wide: Any = None
        self.agreed = False
        self.given: dict[str, Array] = {}
        self.mapped: dict[str, Array] = {}

    def run(self, inputs: list[Array], report: Callable[[int], None], room: Room) -> bool:
        """Write all outputs, samples along axis 0, where ``room`` says; tell whether they were computed in batches."""
        rows = _rows(self.single, inputs)
        self._fit(inputs, rows)
        size = min(_at_once(inputs), len(inputs[0]))
        has_axis = all(len(shape) == a.ndim for shape, a in zip(self.single.input_shapes, inputs, strict=True))
        if self.may_batch and has_axis and size > rows:
            if self._in_batches(inputs, size, report, room):
                return True
            self.may_batch = False
        self._one_by_one(inputs, rows, report, room)
        return False

    def _fit(self, inputs: list[Array], rows: int) -> None:
        """Give the sizes that the file leaves open the values that the data have."""
        wanted = [_shape(shape, array, rows) for shape, array in zip(self.single.input_shapes, inputs, strict=True)]
        if wanted != self.single.input_shapes and not self.single.resize(wanted):
            raise ValueError(f"the model refuses inputs of shape {wanted}")

    def _in_batches(self, inputs: list[Array], size: int, report: Callable[[int], None], room: Room) -> bool:
        """Outputs computed ``size`` samples at a time; False where that gives other values than single runs."""
        shapes = [(size, *shape[1:]) for shape in self.single.input_shapes]
        if self.wide is None or self.wide.input_shapes != shapes:
            self.wide, self.agreed = self.open(), False
            if not self.wide.resize(shapes):
                return False
        collected: list[Array] = []
        for start in range(0, len(inputs[0]), size):
            rows = [_padded(array[start : start + size], size) for array in inputs]
            _invoke(self.wide, rows)
            if start == 0:
                self.agreed = self.agreed or self._agrees(rows, _copies(self.wide))
                if not self.agreed:
                    return False
                kinds = [_kind(self.wide, i) for i in range(len(self.wide.outputs))]
                collected = [room(i, (len(inputs[0]), *shape[1:]), dtype) for i, (shape, dtype) in enumerate(kinds)]
            for i, whole in enumerate(collected):
                whole[start : start + size] = self.wide.output(i)[: len(whole) - start]
            report(min(start + size, len(inputs[0])))
        return True

    def _agrees(self, rows: list[Array], results: list[Array]) -> bool:
        """Whether first, middle and last sample come out the same when they are run alone.

        A model may mix samples (a reshape that folds the batch away), and a runtime may take another kernel at
        batch 1. The model as it ships runs one sample, so that is what counts.
        """
        count, step = len(rows[0]), _rows(self.single, rows)
        if any(result.shape[:1] != (count,) for result in results):
            return False
        for start in sorted({0, count // 2 // step * step, (count - step) // step * step}):
            _invoke(self.single, [array[start : start + step] for array in rows])
            pairs = zip(_copies(self.single), (result[start : start + step] for result in results), strict=True)
            if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs):
                return False
        return True

    def _one_by_one(self, inputs: list[Array], step: int, report: Callable[[int], None], room: Room) -> None:
        """Outputs at the batch size that the model has; an input without a sample axis takes a row a run."""
        count, collected = len(inputs[0]), list[Array]()
        for start in range(0, count, step):
            _invoke(self.single, [_padded(array[start : start + step], step) for array in inputs])
            kinds = [_kind(self.single, i) for i in range(len(self.single.outputs))]
            if start == 0:
                first, joined = kinds, [shape[:1] == (step,) for shape, _ in kinds]
                collected = [
                    room(i, (count, *(shape[1:] if alike else shape)), dtype)
                    for i, ((shape, dtype), alike) in enumerate(zip(kinds, joined, strict=True))
                ]
            if kinds != first:
                raise ValueError("the output's shape depends on the sample; such outputs cannot be compared")
            for i, (whole, alike) in enumerate(zip(collected, joined, strict=True)):
                part = self.single.output(i)
                whole[start : start + step] = part[: count - start] if alike else part
                del part  # or the interpreter refuses to run again
            if start % PROGRESS_EVERY < step:
                report(start)


def _rows(model: Any, inputs: list[Array]) -> int:
    """Samples that one invocation takes: 1 where an input has no axis for samples."""
    shapes = zip(model.input_shapes, inputs, strict=True)
    sizes = {shape[0] if len(shape) == array.ndim else 1 for shape, array in shapes}
    if len(sizes) > 1:
        raise ValueError(f"the inputs take different numbers of samples at once: {sorted(sizes)}")
    return int(sizes.pop())


def _shape(shape: tuple[int, ...], array: Array, rows: int) -> tuple[int, ...]:
    return (rows, *array.shape[1:]) if len(shape) == array.ndim else array.shape[1:]


def _invoke(model: Any, rows: list[Array]) -> None:
    model.invoke([array.reshape(shape) for array, shape in zip(rows, model.input_shapes, strict=True)])


def _copies(model: Any) -> list[Array]:
    return [model.output(i).copy() for i in range(len(model.outputs))]


def _kind(model: Any, i: int) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of output number i."""
    output = model.output(i)
    return output.shape, output.dtype


def _at_once(inputs: list[Array]) -> int:
    elements = sum(array[:1].size for array in inputs)
    return max(1, min(SAMPLES_AT_ONCE, ELEMENTS_AT_ONCE // max(1, elements)))


def _padded(rows: Array, size: int) -> Array:
    """``size`` rows: the last one repeated where the data end early."""
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


def _answer(engine: Engine | None, request: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> Engine | None:
    if request["call"] == "load":
        engine = Engine(request["runtime"], request["model"], request["batch"])
        say({"result": "loaded", "delegated": engine.single.delegated})
        return engine
    assert engine is not None
    inputs = [_sent(engine.given, *sent) for sent in request["inputs"]]
    room = partial(_room, engine.mapped, request["outputs"])
    batched = engine.run(inputs, lambda done: say({"done": done}), room)
    shapes = [[engine.mapped[path].shape, engine.mapped[path].dtype.str] for path in request["outputs"]]
    say({"result": "batched" if batched else "single", "shapes": shapes})
    return engine


def _sent(given: dict[str, Array], path: str, is_new: bool) -> Array:
    """An input in memory that the other side writes; opened again where it made that anew."""
    if is_new or path not in given:
        given[path] = np.load(path, mmap_mode="r")
    return given[path]


def _room(mapped: dict[str, Array], paths: list[str], index: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """A file in memory for one output; the one of the run before where it fits, since new memory has to be cleared."""
    path = paths[index]
    if path not in mapped or (mapped[path].shape, mapped[path].dtype) != (shape, dtype):
        mapped[path] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return mapped[path]


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
    for request in _requests():
        try:
            engine = _answer(engine, request, say)
        except Exception as error:
            say({"error": f"{error}" or type(error).__name__})


if __name__ == "__main__":
    main()
