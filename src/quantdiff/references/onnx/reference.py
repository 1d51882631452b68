"""An ``.onnx`` as all that the rest of the house may ask of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from quantdiff.errors import BadModel, QuantdiffError
from quantdiff.flow import Flow
from quantdiff.graph import Model
from quantdiff.layer import Layer, TrainedRange
from quantdiff.load.data import Batch, Slot
from quantdiff.quant import Array, QuantParams, real_range
from quantdiff.recording import Recorder
from quantdiff.references.onnx.file import OnnxFile, constants_of, nodes_of, read
from quantdiff.references.onnx.lower import Translated, translated
from quantdiff.references.onnx.program import Node, Program
from quantdiff.references.onnx.recorder import ProgramRecorder, flow_of, layers_of
from quantdiff.references.onnx.rewritten import OWN, every_value, with_inputs, with_outputs
from quantdiff.references.onnx.session import Session
from quantdiff.references.reference import Count, trace_slices, unheard
from quantdiff.trace import Trace

SAMPLES = 2
"""Of the run that shows shapes: with two of them it can be told which axis is theirs."""
TRIED = (1, 8, 32, 224)
"""Sizes for axes that the file leaves open, until one runs: what is learned of it does not hang on them."""


@dataclass(frozen=True)
class OnnxReference:
    """A model that onnxruntime runs."""

    file: OnnxFile
    session: Session = field(compare=False, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

    @property
    def kind(self) -> str:
        """``qat`` where it rounds its activations itself."""
        ops = {node.op_type for node in self.file.proto.graph.node}
        return "qat" if "QuantizeLinear" in ops else "float"

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What it takes."""
        return self.file.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs."""
        return self.file.outputs

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs for all samples.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: onnxruntime raised an error.
        """
        return trace_slices(self, batch, self.session.run, on_progress)

    def layers(self) -> tuple[Layer, ...]:
        """Its operators by the names of the nodes, kernels in TFLite's axes; batch norm in them, as it is folded."""
        return layers_of(self._flow)

    def recorder(self) -> AbstractContextManager[Recorder]:
        """It with the values of all nodes."""
        return ProgramRecorder(self, self._translated, self._flow)

    def lower(self) -> Model:
        """Its graph in TFLite's operators.

        Raises:
            BadModel: an operator that has no words there, or sizes that the file leaves open.
        """
        sizes = [slot.name for slot in self.inputs if None in slot.shape[1:]]
        if sizes:
            raise BadModel(f"{self.name}: input {sizes[0]!r} leaves sizes open beside that of the batch; fix them")
        return self._translated.whole(self.name)

    def values(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """Every value by name, as the session with more outputs gives them."""
        return dict(zip(self._watched.outputs, self._watched.run(inputs), strict=True))

    def plain_outputs(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The outputs, when nobody watches."""
        return self.session.run(inputs)

    def again(self, inputs: Sequence[Array], given: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
        """The wanted values, each computed from the given ones before it."""
        asked = (tuple(given), tuple(wanted))
        if asked not in self._exchanged:
            self._exchanged.clear()
            proto = with_inputs(self.file.proto, {name: array.dtype for name, array in given.items()}, wanted)
            self._exchanged[asked] = Session(self.name, proto, rows_of(self.inputs))
        session = self._exchanged[asked]
        found = dict(zip(session.outputs, session.run([*inputs, *given.values()]), strict=True))
        return {name: found[OWN + name] if name in given else found[name] for name in wanted}

    @cached_property
    def _exchanged(self) -> dict[tuple[tuple[str, ...], tuple[str, ...]], Session]:
        return {}

    @cached_property
    def _watched(self) -> Session:
        return Session(self.name, with_outputs(self.file.proto, every_value(self.file.proto)), rows_of(self.inputs))

    @cached_property
    def _program(self) -> Program:
        """The nodes with what a run on zeros shows: shapes, and what does not depend on the data."""
        samples = rows_of(self.inputs) or SAMPLES
        bare = Program(self.name, self.inputs, self.outputs, nodes_of(self.file), samples=samples)
        found, varying = self._example(samples), bare.varying - bare.by_shape
        fixed = {name: array for name, array in found.items() if name not in varying}
        return replace(bare, constants=constants_of(self.file) | fixed, examples=found)

    def _example(self, samples: int) -> dict[str, Array]:
        """Every value for samples of zeros."""
        failed: QuantdiffError | None = None
        for size in TRIED:
            shapes = [(samples, *(n or size for n in slot.shape[1:])) for slot in self.inputs]
            zeros = [np.zeros(shape, slot.dtype) for shape, slot in zip(shapes, self.inputs, strict=True)]
            try:
                return dict(self.values(zeros)) | {s.name: z for s, z in zip(self.inputs, zeros, strict=True)}
            except QuantdiffError as error:
                failed = failed or error
        assert failed is not None
        raise failed

    @cached_property
    def _translated(self) -> Translated:
        return translated(self._program)

    @cached_property
    def _flow(self) -> Flow:
        return flow_of(self._translated, kernel_ranges(self._program), self.kind)


def open_onnx(path: Path) -> OnnxReference:
    """A file by its path.

    Raises:
        BadModel: it cannot be read, or onnxruntime refuses it.
        MissingExtra: the extra ``[onnx]`` is not installed.
    """
    file = read(path)
    return OnnxReference(file, Session(file.name, file.proto, rows_of(file.inputs)))


def rows_of(inputs: Sequence[Slot]) -> int | None:
    """How many samples the model takes at once; None for any number."""
    return next((slot.shape[0] for slot in inputs if slot.shape), 1)


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
