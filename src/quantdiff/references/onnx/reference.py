"""An ``.onnx`` as all that the rest of the house may ask of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.load.data import Batch, Slot
from quantdiff.progress import Count, unheard
from quantdiff.quant import Array
from quantdiff.references.onnx.branches import decided
from quantdiff.references.onnx.file import OnnxFile, constants_of, nodes_of, read
from quantdiff.references.onnx.program import Program
from quantdiff.references.onnx.rewritten import OWN, every_value, with_inputs, with_outputs
from quantdiff.references.onnx.session import Session
from quantdiff.references.onnx.translated import TranslatedReference, outputs_by_sample, rows_of
from quantdiff.references.reference import trace_slices
from quantdiff.trace import Trace

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
