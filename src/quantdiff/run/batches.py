"""One model on one runtime, in the child process: many samples at once where that gives what single runs give.

Its outputs are kept in shared memory, or compared with another model's values on the spot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.run.conversation import Block, Piece, offsets_of, reserved, unpacked
from quantdiff.tally.rows import WIDTH, Write, check_sizes, writer

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


Quant = tuple[float, int]
"""Scale and zero point, as they travel."""


@dataclass(slots=True)
class Pair:
    """Values of another model, how both are to be read, and the integers that they are counted on."""

    number: int
    theirs: Array
    quants: tuple[QuantParams | None, QuantParams | None]
    grid: Grid | None
    compiled: bool
    write: Write | None = None

    def begin(self, ours: Array) -> Write:
        """What writes the rows of arrays like ``ours``; decided once, since it takes as long as a small array."""
        check_sizes(ours, self.theirs[: len(ours)], "an output")
        self.theirs = self.theirs.reshape(len(self.theirs), -1)
        self.write = writer(
            (self.quants[0], ours.dtype), (self.quants[1], self.theirs.dtype), self.grid, compiled=self.compiled
        )
        return self.write


@dataclass(slots=True)
class Room:
    """Blocks for outputs, by turn: that of the run before where it fits, since new memory has to be cleared."""

    blocks: dict[int, tuple[tuple[Kind, ...], Block]] = field(default_factory=dict)

    def make(self, turn: int, kinds: tuple[Kind, ...], size: int) -> Block:
        """The block of this turn; what another process still holds of the one before stays as it is.

        Raises:
            RuntimeFailed: the system has no room.
        """
        if turn not in self.blocks or self.blocks[turn][0] != kinds:
            self.blocks.pop(turn, None)
            self.blocks[turn] = kinds, reserved(size)
        return self.blocks[turn][1]


class Outputs:
    """Takes the outputs of one run; the requests of ``worker`` say which are ``kept``, and the ``pairs``."""

    def __init__(self, room: Room, turn: int, kept: Sequence[bool], pairs: Sequence[Any], theirs: list[Array]) -> None:
        self._room, self._turn, self._pairs = room, turn, dict[int, list[Pair]]()
        self._kept = [i for i, wanted in enumerate(kept) if wanted]
        self._count = len(pairs)
        self._filled: list[Array] = []
        self.pieces: list[Piece] = []
        self.block: Block | None = None
        for number, ((output, ours, quant, grid, compiled), array) in enumerate(zip(pairs, theirs, strict=True)):
            pair = Pair(number, array, (quant_of(ours), quant_of(quant)), grid_of(grid), compiled)
            self._pairs.setdefault(output, []).append(pair)

    def take(self, count: int, start: int, values: list[Array]) -> None:
        """Keep values, and count how far they are from others; see ``batches.Take``."""
        if self.block is None:
            self._begin(count, values)
        for array, i in zip(self._filled, self._kept, strict=False):  # behind them the rows
            array[start : start + len(values[i])] = values[i]
        for i, pairs in self._pairs.items():
            stop = start + len(values[i])
            for pair in pairs:
                rows = self._filled[-1][pair.number]
                write = pair.write or pair.begin(values[i])
                write(values[i].reshape(len(values[i]), -1), pair.theirs[start:stop], rows[start:stop])

    def _begin(self, count: int, values: list[Array]) -> None:
        """Room for what is kept of ``count`` samples and, where there are pairs, for a row a sample of each."""
        kinds = [((count, *values[i].shape[1:]), values[i].dtype.str) for i in self._kept]
        kinds += [((self._count, count, WIDTH), np.dtype(np.float64).str)] if self._pairs else []
        offsets, size = offsets_of(kinds)
        self.block = self._room.make(self._turn, tuple(kinds), size)
        self.pieces = [(0, offset, *kind) for offset, kind in zip(offsets, kinds, strict=True)]
        self._filled = unpacked(self.pieces, [self.block])


def sent_quant(quant: QuantParams | None) -> Quant | None:
    """Quantization of a whole tensor, as it travels."""
    return None if quant is None else (quant.scale[0], quant.zero_point[0])


def quant_of(sent: Quant | None) -> QuantParams | None:
    """What ``sent_quant`` sent."""
    return None if sent is None else QuantParams((sent[0],), (sent[1],))


def sent_grid(grid: Grid | None) -> tuple[Quant, str] | None:
    """A grid without the name of its tensor, as it travels."""
    return None if grid is None else ((grid.params.scale[0], grid.params.zero_point[0]), grid.dtype)


def grid_of(sent: tuple[Quant, str] | None) -> Grid | None:
    """What ``sent_grid`` sent."""
    return None if sent is None else Grid(QuantParams((sent[0][0],), (sent[0][1],)), sent[1], "")
