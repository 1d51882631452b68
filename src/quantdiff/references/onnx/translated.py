"""What a reference whose program is translated has in common, whatever framework runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TypeVar

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.flow import Flow
from quantdiff.graph import Model
from quantdiff.layer import Layer, TrainedRange
from quantdiff.load.data import Slot
from quantdiff.quant import Array, QuantParams, real_range
from quantdiff.recording import Recorder
from quantdiff.references.onnx.lower import Translated, translated
from quantdiff.references.onnx.program import Node, Program
from quantdiff.references.onnx.recorder import ProgramRecorder, flow_of, layers_of

SAMPLES = 2
"""Of the run that shows shapes: with two of them it can be told which axis is theirs."""
K = TypeVar("K")


def rows_of(inputs: Sequence[Slot]) -> int | None:
    """How many samples the model takes at once; None for any number."""
    return next((slot.shape[0] for slot in inputs if slot.shape), 1)


def in_runs(
    run: Callable[[Sequence[Array], Mapping[str, Array]], Mapping[K, Array]],
    inputs: Sequence[Array],
    given: Mapping[str, Array],
    rows: int | None,
) -> dict[K, Array]:
    """What ``run`` gives; a model of a fixed number of samples runs as often as it must, samples along axis 0."""
    count = len(inputs[0])
    if rows is None or (count == rows and count > 1):
        return dict(run(inputs, given))
    parts = []
    for start in range(0, count, rows):
        cut = {name: _filled(array, start, count, rows) for name, array in given.items()}
        parts.append(run([_filled(array, start, count, rows) for array in inputs], cut))
    return {name: _joined([part[name] for part in parts], count, rows) for name in parts[0]}


def _filled(array: Array, start: int, count: int, rows: int) -> Array:
    """As many samples as the model takes, the last one again where there are too few; several rows may be a sample."""
    each = len(array) // count
    part = array[start * each : (start + rows) * each]
    missing = rows * each - len(part)
    return np.concatenate([part, np.concatenate([part[-each:]] * (missing // each))]) if missing else part


def _joined(parts: Sequence[Array], count: int, rows: int) -> Array:
    if not parts[0].ndim and rows == 1:
        return np.stack(parts)
    if not parts[0].ndim or len(parts[0]) % rows:
        return parts[0]
    return np.concatenate(parts)[: count * (len(parts[0]) // rows)]


class TranslatedReference(ABC):
    """A model that can be said as a program of ONNX's words: layers, inner values and graph follow from that."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The file's name."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[Slot, ...]:
        """What it takes."""

    @abstractmethod
    def example(self, samples: int) -> Program:
        """Its nodes, with what a run on so many samples of zeros shows."""

    @cached_property
    def rows(self) -> int | None:
        """How many samples run at once where inner values are read; None for any number.

        One by one where not all values have the samples along their first axis: recurrent layers turn them.
        """
        fixed = rows_of(self.inputs)
        if fixed is not None:
            return fixed
        return None if _separable(self.example(SAMPLES), self.example(SAMPLES + 1)) else 1

    @cached_property
    def program(self) -> Program:
        """Its nodes, with what a run on zeros shows."""
        return self.example(self.rows or SAMPLES)

    @abstractmethod
    def plain_outputs(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The outputs, when nobody watches."""

    @abstractmethod
    def values(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """Every value by name."""

    @abstractmethod
    def again(self, inputs: Sequence[Array], given: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
        """The ``wanted`` values, each computed from the ``given`` ones before it."""

    @property
    def kind(self) -> str:
        """``qat`` where it rounds its activations itself."""
        return "qat" if self.rounds else "float"

    @property
    @abstractmethod
    def rounds(self) -> bool:
        """Whether activations are quantized in it."""

    def layers(self) -> tuple[Layer, ...]:
        """Its operators by the names of the nodes, kernels in TFLite's axes; batch norm in them, as it is folded."""
        return layers_of(self._flow)

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with the values of all nodes."""
        return ProgramRecorder(self, self._translation, self._flow)

    def lower(self) -> Model:
        """Its graph in TFLite's operators.

        Raises:
            BadModel: an operator that has no words there, or sizes that the file leaves open.
        """
        sizes = [slot.name for slot in self.inputs if None in slot.shape[1:]]
        if sizes:
            raise BadModel(f"{self.name}: input {sizes[0]!r} leaves sizes open beside that of the batch; fix them")
        return self._translation.whole(self.name)

    @cached_property
    def _translation(self) -> Translated:
        return translated(self.program)

    @cached_property
    def _flow(self) -> Flow:
        return flow_of(self._translation, kernel_ranges(self.program), self.kind)


def _separable(few: Program, more: Program) -> bool:
    """Whether every value that depends on the data has the samples along its first axis, and others know of none."""
    fed = few.varying - few.by_shape

    def apart(name: str) -> bool:
        a, b = few.examples[name], more.examples[name]
        if name not in fed:
            return a.dtype.kind != "f" or a.shape == b.shape
        return bool(a.ndim) and len(a) * more.samples == len(b) * few.samples and a.shape[1:] == b.shape[1:]

    return all(apart(name) for name in few.examples)


def kernel_ranges(program: Program) -> dict[str, TrainedRange]:
    """By the name of a dequantized constant the range of its integers, by channel where it has channels."""
    found = {}
    for node in program.nodes:
        if node.op == "DequantizeLinear" and all(name in program.constants for name in node.inputs if name):
            found[node.outputs[0]] = _range(node, program.constants)
    return found


def _range(node: Node, constants: Mapping[str, Array]) -> TrainedRange:
    stored, scale = constants[node.inputs[0]], constants[node.inputs[1]].reshape(-1)
    zero = constants[node.at(2)].reshape(-1) if node.at(2) else np.zeros(scale.size, np.int64)
    quant = QuantParams(tuple(map(float, scale)), tuple(map(int, zero)), 0 if scale.size > 1 else None)
    return TrainedRange("kernel", *real_range(quant, stored.dtype.name), node.op, stored.dtype.itemsize * 8)
