"""An ``.onnx`` as all that the rest of the house may ask of a reference, run by onnxruntime.

One thread, nothing rewritten, so that every value is that of the operator as it stands; with more outputs, or values
given from outside, the operators stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, QuantdiffError, RuntimeFailed, reason_of
from quantdiff.lazy import require
from quantdiff.load.data import Batch, Slot
from quantdiff.quant import Array, Trace
from quantdiff.references.onnx.branches import decided
from quantdiff.references.onnx.file import OnnxFile, constants_of, nodes_of, packages, read
from quantdiff.references.onnx.program import Program
from quantdiff.references.onnx.translated import TranslatedReference, in_runs, outputs_by_sample, rows_of
from quantdiff.references.reference import trace_slices
from quantdiff.run.runner import Count, unheard

TRIED = (1, 8, 32, 224)
"""Sizes for axes that the file leaves open, until one runs: what is learned of it does not hang on them."""


@dataclass(frozen=True)
class OnnxReference(TranslatedReference):
    """A model that onnxruntime runs."""

    file: OnnxFile
    session: Session = field(compare=False, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

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

        def outputs(inputs: Sequence[Array], rows: int | None) -> Sequence[Array]:
            return [*self.session.run(inputs, rows).values()]

        fixed = rows_of(self.inputs)
        return trace_slices(self, batch, lambda some: outputs_by_sample(outputs, some, fixed), on_progress)

    @property
    def rounds(self) -> bool:
        """Whether activations are quantized in it."""
        return any(node.op_type == "QuantizeLinear" for node in self.file.proto.graph.node)

    def values(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """Every value by name, as the session with more outputs gives them."""
        return self._watched.run(inputs, self.rows)

    def plain_outputs(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The outputs, when nobody watches."""
        return [*self.session.run(inputs, self.rows).values()]

    def again(self, inputs: Sequence[Array], given: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
        """The wanted values, each computed from the given ones before it."""
        asked = (tuple(given), tuple(wanted))
        if asked not in self._exchanged:
            self._exchanged.clear()
            proto = with_inputs(self.file.proto, {name: array.dtype for name, array in given.items()}, wanted)
            self._exchanged[asked] = Session(self.name, proto)
        session = self._exchanged[asked]
        found = session.run([*inputs, *given.values()], self.rows)
        return {name: found[OWN + name] if name in given else found[name] for name in wanted}

    @cached_property
    def _exchanged(self) -> dict[tuple[tuple[str, ...], tuple[str, ...]], Session]:
        return {}

    @cached_property
    def _watched(self) -> Session:
        return Session(self.name, with_outputs(self.file.proto, every_value(self.file.proto)))

    def example(self, samples: int) -> Program:
        """The nodes with what a run on zeros shows: shapes, and what does not depend on the data."""
        failed: QuantdiffError | None = None
        for size in TRIED:
            shapes = [(samples, *(n or size for n in slot.shape[1:])) for slot in self.inputs]
            zeros = {s.name: np.zeros(shape, s.dtype) for shape, s in zip(shapes, self.inputs, strict=True)}
            try:
                found = self._watched.run([*zeros.values()], None) | zeros
            except QuantdiffError as error:
                failed = failed or error
                continue
            bare = Program(self.name, self.inputs, self.outputs, nodes_of(self.file), examples=found, samples=samples)
            return bare.with_constants(constants_of(self.file))
        assert failed is not None
        raise failed


def open_onnx(path: Path) -> OnnxReference:
    """A file by its path.

    Raises:
        BadModel: it cannot be read, or onnxruntime refuses it.
        MissingExtra: the extra ``[onnx]`` is not installed.
    """
    file = read(path)
    proto = decided(file.proto, lambda current: _known(replace(file, proto=current)))
    return OnnxReference(replace(file, proto=proto), Session(file.name, proto))


def _known(file: OnnxFile) -> Mapping[str, Array] | None:
    """What does not depend on the data, for all that a run on zeros shows."""
    try:
        return OnnxReference(file, Session(file.name, file.proto)).program.constants
    except QuantdiffError:  # then whoever looks into it says why; its outputs may be there all the same
        return None


QUIET = 4
"""onnxruntime's level of messages: fatal errors alone."""


class Session:
    """A model that is ready to run."""

    def __init__(self, name: str, proto: Any) -> None:
        ort = require("onnxruntime", extra="onnx")
        self.name = name
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute, options.log_severity_level = True, QUIET
        try:
            self._session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has a dozen kinds of its own
            raise BadModel(f"{name}: onnxruntime refuses it: {_reason(error)}") from error
        self.inputs = [each.name for each in self._session.get_inputs()]
        self.outputs = [each.name for each in self._session.get_outputs() if each.type.startswith("tensor(")]

    def run(self, inputs: Sequence[Array], rows: int | None) -> dict[str, Array]:
        """All outputs by name, samples along axis 0, ``rows`` at once; None for all of them.

        Raises:
            RuntimeFailed: onnxruntime raised an error.
        """
        return in_runs(lambda some, _: self._once(some), inputs, {}, rows)

    def _once(self, inputs: Sequence[Array]) -> dict[str, Array]:
        try:
            fed = dict(zip(self.inputs, map(np.ascontiguousarray, inputs), strict=True))
            found = self._session.run(self.outputs, fed)
            return {name: np.asarray(each) for name, each in zip(self.outputs, found, strict=True)}
        except Exception as error:  # it has a dozen kinds of its own
            raise RuntimeFailed(f"{self.name}: onnxruntime cannot run it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What it says after its own code."""
    return reason_of(ValueError(str(error).rpartition("] : ")[2].partition(" : ")[2] or str(error)))


OWN = "quantdiff/own/"
"""In front of the name of a value that is computed, where another one takes its place."""


def every_value(proto: Any) -> tuple[str, ...]:
    """The names of all that nodes give, in their order."""
    return tuple(name for node in proto.graph.node for name in node.output if name)


def with_outputs(proto: Any, names: Iterable[str]) -> Any:
    """The model that gives these values too, after its own outputs."""
    onnx = packages()
    copy = type(proto)()
    copy.CopyFrom(proto)
    have = {each.name for each in copy.graph.output}
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in have)
    return copy


def with_inputs(proto: Any, given: Mapping[str, np.dtype[Any]], wanted: Iterable[str]) -> Any:
    """The model that takes the ``given`` values as inputs after its own, and gives the ``wanted`` ones alone.

    A value that is given and wanted is the one that is computed.
    """
    onnx = packages()
    copy = type(proto)()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        for k, name in enumerate(node.output):
            if name in given:
                node.output[k] = OWN + name
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(dtype) for name, dtype in given.items()}
    copy.graph.input.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items())
    del copy.graph.output[:], copy.graph.value_info[:]
    names = (OWN + name if name in given else name for name in wanted)
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return copy
