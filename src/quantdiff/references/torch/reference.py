"""A ``.pt2`` as all that the rest of the house may ask of a reference.

Or a function of the user's that makes a module: exported here, on the data that it will be given.
"""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, reason_of
from quantdiff.lazy import require
from quantdiff.load.data import Batch, Slot, channels_first, turned
from quantdiff.load.own_code import function_of
from quantdiff.quant import Array, Trace
from quantdiff.references.onnx.program import Program
from quantdiff.references.onnx.translated import TranslatedReference, in_runs, outputs_by_sample, rows_of
from quantdiff.references.reference import trace_slices
from quantdiff.references.torch.archive import Exported, read
from quantdiff.references.torch.calls import Said
from quantdiff.references.torch.interpreter import Interpreter
from quantdiff.references.torch.words import said
from quantdiff.run.runner import Count, unheard


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


EXAMPLES = 2
IMAGES = 4  # axes, that of samples among them
"""Samples that the module is exported on: with one, the number of samples would be taken for fixed."""


def open_module(source: Path, batch: Batch | None) -> TorchReference:
    """What ``FILE.py:function`` makes, in evaluation mode.

    Raises:
        BadModel: it fails, makes no module, or torch.export cannot follow it; or the data are not known.
        MissingExtra: the extra ``[torch]`` is not installed.
    """
    torch = require("torch", extra="torch")
    if batch is None:
        raise BadModel(f"{source}: which sizes the module takes follows from the data, and this command has none")
    module = function_of(source, BadModel)()
    if not isinstance(module, torch.nn.Module):
        raise BadModel(f"{source}: gives a {type(module).__name__}, not a torch.nn.Module; let it return the network")
    notes = tuple(_notes(source, module))
    exported = read(source, _exported(torch, source, module.eval(), batch))
    exported = replace(exported, notes=(*exported.notes, *notes))
    return TorchReference(exported, Interpreter(exported))


def _notes(source: Path, module: Any) -> Iterator[str]:
    """What was found of its state."""
    if module.training:
        yield f"{source.name}: came in training mode and is compared in evaluation mode"
    dtypes = {str(p.dtype).removeprefix("torch.") for p in module.parameters()} - {"float32"}
    if dtypes:
        yield f"{source.name}: has parameters in {', '.join(sorted(dtypes))}"


def _exported(torch: Any, source: Path, module: Any, batch: Batch) -> io.BytesIO:
    """The file that torch.export would write; images are given channels first where it refuses them as they are."""
    failed: Exception | None = None
    for arrays in _examples(module, batch):
        example = tuple(
            torch.from_numpy(np.array(array, np.float32 if array.dtype.kind == "f" else None)) for array in arrays
        )
        shapes = tuple({0: torch.export.Dim.AUTO} for _ in example)
        try:
            buffer = io.BytesIO()
            with warnings.catch_warnings():  # of what recurrent modules keep beside their parameters
                warnings.simplefilter("ignore")
                torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), buffer)
        except Exception as error:  # torch raises what it likes
            failed = failed or error
            continue
        buffer.seek(0)
        return buffer
    raise BadModel(
        f"{source}: torch.export cannot follow the module on these data: {reason_of(failed or ValueError())}"
    )


def _examples(module: Any, batch: Batch) -> Iterator[Sequence[Array]]:
    """The first samples, as the arguments of ``forward`` are called, else in their order; then channels first."""
    names = [name for name in inspect.signature(module.forward).parameters if name in batch.arrays]
    arrays = [batch.arrays[name] for name in names] if len(names) == len(batch.arrays) else [*batch.arrays.values()]
    few = [array[:EXAMPLES] if len(array) >= EXAMPLES else np.repeat(array, EXAMPLES, axis=0) for array in arrays]
    yield few
    if any(array.ndim == IMAGES for array in few):
        yield [turned(array, channels_first(IMAGES - 1)) if array.ndim == IMAGES else array for array in few]
