"""A ``.pt2`` as all that the rest of the house may ask of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from quantdiff.load.data import Batch, Slot
from quantdiff.progress import Count, unheard
from quantdiff.quant import Array
from quantdiff.references.onnx.program import Program
from quantdiff.references.onnx.translated import TranslatedReference, in_runs, outputs_by_sample, rows_of
from quantdiff.references.reference import trace_slices
from quantdiff.references.torch.archive import Exported, read
from quantdiff.references.torch.calls import Said
from quantdiff.references.torch.interpreter import Interpreter
from quantdiff.references.torch.words import said
from quantdiff.trace import Trace


@dataclass(frozen=True)
class TorchReference(TranslatedReference):
    """A program that is run node by node on torch's own operators."""

    exported: Exported
    interpreter: Interpreter = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.exported.name

    @property
    def inputs(self) -> tuple[Slot, ...]:
        """What it takes."""
        return self.exported.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs."""
        return self.exported.outputs

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the file."""
        return self.exported.notes

    @property
    def stored_samples(self) -> int:
        """How many samples of data the file carries beyond an example."""
        return self.exported.stored_samples

    @property
    def rounds(self) -> bool:
        """Whether activations are quantized in it."""
        ops = (str(node["target"]) for node in self.exported.nodes)
        return any("quantize_per_tensor" in op or "fake_quant" in op for op in ops)

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        """Its outputs for all samples.

        Raises:
            BadData: the data do not fit its inputs.
            RuntimeFailed: torch raised an error.
        """

        def outputs(inputs: Sequence[Array], rows: int | None) -> list[Array]:
            found = in_runs(self._run, inputs, {}, rows)
            return [found[name] for name in self.outputs]

        fixed = rows_of(self.inputs)
        return trace_slices(self, batch, lambda some: outputs_by_sample(outputs, some, fixed), on_progress)

    def plain_outputs(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """The outputs, when nobody watches."""
        found = self.values(inputs)
        return [found[name] for name in self.outputs]

    def values(self, inputs: Sequence[Array]) -> Mapping[str, Array]:
        """Every value by name."""
        return self.again(inputs, {}, ())

    def again(self, inputs: Sequence[Array], given: Mapping[str, Array], wanted: Sequence[str]) -> Mapping[str, Array]:
        """Every value, each computed from the given ones before it."""
        del wanted
        return in_runs(self._run, inputs, given, self.rows)

    def _run(self, inputs: Sequence[Array], given: Mapping[str, Array]) -> Mapping[str, Array]:
        names = [slot.name for slot in self.inputs]
        found = {**dict(zip(names, inputs, strict=True)), **self.interpreter.run(inputs, given)}
        return found | {name: each.values(found[each.of]) for name, each in self._words.integers.items()}

    @cached_property
    def _words(self) -> Said:
        return said(self.exported.nodes, self.exported.state)

    def example(self, samples: int) -> Program:
        """The nodes in ONNX's words, with what a run on zeros shows."""
        words = self._words
        shapes = [(samples, *(n or 1 for n in slot.shape[1:])) for slot in self.inputs]
        zeros = [np.zeros(shape, slot.dtype) for shape, slot in zip(shapes, self.inputs, strict=True)]
        found = dict(self._run(zeros, {}))
        for name, like in words.like.items():
            found[name] = found[like]
        unseen = frozenset(words.like)
        learned = {name: each.trained for name, each in words.integers.items() if each.trained is not None}
        bare = Program(self.name, self.inputs, self.outputs, words.nodes, {}, found, samples, unseen, learned)
        return bare.with_constants({**self.exported.state, **words.constants})


def open_torch(path: Path) -> TorchReference:
    """A file by its path.

    Raises:
        BadModel: it cannot be read, or reading it would run code.
        MissingExtra: the extra ``[torch]`` is not installed.
    """
    exported = read(path)
    return TorchReference(exported, Interpreter(exported))
