"""One model on one runtime, many samples at once where that gives what single runs give; runs in the child process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from quantdiff.quant import Array

Take = Callable[[int, int, list[Array]], None]
"""What becomes of the outputs: samples in all, the first of those that come, these of every output along axis 0.

The arrays are the interpreter's own memory: they are to be let go before ``Take`` returns.
"""
Kind = tuple[tuple[int, ...], Any]
"""Shape and dtype."""

ELEMENTS_AT_ONCE = 2**18  # input elements in one invocation: fills the kernels, and large outputs stay near
SAMPLES_AT_ONCE = 1024
PROGRESS_EVERY = 256  # samples, where they run one by one


class OpenModel(Protocol):
    """A model that is open on a runtime, at one batch size: what an adapter gives, in the child process.

    Attributes:
        inputs: shape of each input as the next ``invoke`` takes it, in the order of the file.
        outputs: how many outputs the model has.
        delegated: input and output tensors (indices) of every part of the graph that a delegate runs.
    """

    inputs: list[tuple[int, ...]]
    outputs: int
    delegated: list[tuple[list[int], list[int]]]

    def resize(self, shapes: list[tuple[int, ...]]) -> bool:
        """Give the inputs other shapes; False where the runtime or the model refuses, and the model is of no more use.

        One that cannot at all, and stays as it is, says False too.
        """
        ...

    def invoke(self, inputs: list[Array]) -> None:
        """Run once, from the state that the model has when it is opened.

        Shapes and dtypes: those of the file's inputs, integers as they are stored.

        Raises:
            Exception: the runtime refuses; its text is what the person reads.
        """
        ...

    def output(self, i: int) -> Array:
        """Output number ``i`` of the last run, with the file's dtype.

        May be the runtime's own memory: the caller lets go of it before the next call.
        """
        ...


class Adapter(Protocol):
    """The module that drives a runtime; only the child process imports it."""

    def open_model(self, model: str, runtime: str) -> OpenModel:
        """Load the file ``model`` on the runtime of that name.

        Raises:
            Exception: the runtime refuses the model; its text is what the person reads.
        """
        ...


class Engine:
    """One model on one runtime, at its own batch size and, where it allows that, at a larger one."""

    def __init__(self, open_model: Callable[[], OpenModel], batch: bool) -> None:
        self.open, self.may_batch = open_model, batch
        self.single = self.open()
        self.wide: OpenModel | None = None
        self.agreed = False

    def run(self, inputs: list[Array], report: Callable[[int], None], take: Take, *, apart: bool = False) -> bool:
        """Give all outputs to ``take``; tell whether they were computed in batches.

        ``apart``: one run a sample, whose outputs keep their shapes whole behind axis 0, whatever the file says.
        """
        if apart:
            self._fit(inputs, 1)
            self._one_by_one(inputs, 1, report, take, apart=True)
            return False
        rows = _rows(self.single, inputs)
        self._fit(inputs, rows)
        size = min(_at_once(inputs), len(inputs[0]))
        has_axis = all(len(shape) == a.ndim for shape, a in zip(self.single.inputs, inputs, strict=True))
        if self.may_batch and has_axis and size > rows:
            if self._in_batches(inputs, size, report, take):
                return True
            self.may_batch = False
        self._one_by_one(inputs, rows, report, take)
        return False

    def _fit(self, inputs: list[Array], rows: int) -> None:
        """Give the sizes that the file leaves open the values that the data have."""
        wanted = [_shape(shape, array, rows) for shape, array in zip(self.single.inputs, inputs, strict=True)]
        if wanted != self.single.inputs and not self.single.resize(wanted):
            raise ValueError(f"the model refuses inputs of shape {wanted}")

    def _in_batches(self, inputs: list[Array], size: int, report: Callable[[int], None], take: Take) -> bool:
        """Outputs computed ``size`` samples at a time; False where that gives other values than single runs."""
        shapes = [(size, *shape[1:]) for shape in self.single.inputs]
        if self.wide is None or self.wide.inputs != shapes:
            self.wide, self.agreed = self.open(), False
            if not self.wide.resize(shapes):
                return False
        count = len(inputs[0])
        for start in range(0, count, size):
            rows = [_padded(array[start : start + size], size) for array in inputs]
            if not self._invoked(rows):
                return False
            if start == 0:
                self.agreed = self.agreed or self._agrees(rows, _copies(self.wide))
                if not self.agreed:
                    return False
            take(count, start, [self.wide.output(i)[: count - start] for i in range(self.wide.outputs)])
            report(min(start + size, count))
        return True

    def _invoked(self, rows: list[Array]) -> bool:
        """Run many at once; False where a runtime that took the size then cannot: a RESHAPE to one sample."""
        assert self.wide is not None
        try:
            _invoke(self.wide, rows)
        except (RuntimeError, ValueError):
            if self.agreed:
                raise
            return False
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

    def _one_by_one(
        self, inputs: list[Array], step: int, report: Callable[[int], None], take: Take, *, apart: bool = False
    ) -> None:
        """Outputs at the batch size that the model has; an input without a sample axis takes a row a run."""
        count, first = len(inputs[0]), list[Kind]()
        for start in range(0, count, step):
            _invoke(self.single, [_padded(array[start : start + step], step) for array in inputs])
            parts = [self.single.output(i) for i in range(self.single.outputs)]
            kinds = [(part.shape, part.dtype) for part in parts]
            if kinds != (first := first or kinds):
                raise ValueError("the output's shape depends on the sample; such outputs cannot be compared")
            joins = [p.shape[:1] == (step,) and not apart for p in parts]
            take(count, start, [p[: count - start] if j else p[None] for p, j in zip(parts, joins, strict=True)])
            del parts  # or the interpreter refuses to run again
            if start % PROGRESS_EVERY < step:
                report(start)


def _rows(model: OpenModel, inputs: list[Array]) -> int:
    """Samples that one invocation takes: 1 where an input has no axis for samples."""
    shapes = zip(model.inputs, inputs, strict=True)
    sizes = {shape[0] if len(shape) == array.ndim else 1 for shape, array in shapes}
    if len(sizes) > 1:
        raise ValueError(f"the inputs take different numbers of samples at once: {sorted(sizes)}")
    return int(sizes.pop())


def _shape(shape: tuple[int, ...], array: Array, rows: int) -> tuple[int, ...]:
    return (rows, *array.shape[1:]) if len(shape) == array.ndim else array.shape[1:]


def _invoke(model: OpenModel, rows: list[Array]) -> None:
    model.invoke([array.reshape(shape) for array, shape in zip(rows, model.inputs, strict=True)])


def _copies(model: OpenModel) -> list[Array]:
    return [model.output(i).copy() for i in range(model.outputs)]


def _at_once(inputs: list[Array]) -> int:
    elements = sum(array[:1].size for array in inputs)
    return max(1, min(SAMPLES_AT_ONCE, ELEMENTS_AT_ONCE // max(1, elements)))


def _padded(rows: Array, size: int) -> Array:
    """``size`` rows: the last one repeated where the data end early."""
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
