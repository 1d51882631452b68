"""A function that the user names and that makes a module: exported here, on the data that it will be given."""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, reason_of
from quantdiff.lazy import require
from quantdiff.load.data import Batch, channels_first, turned
from quantdiff.load.own_code import function_of
from quantdiff.quant import Array
from quantdiff.references.torch.archive import read
from quantdiff.references.torch.interpreter import Interpreter
from quantdiff.references.torch.reference import TorchReference

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
