"""What ``reduce`` gives, and a reduced model without names and without its weights, as far as the fault stays."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.files import scratch
from quantdiff.graph import Graph, Tensor
from quantdiff.load.data import Batch
from quantdiff.load.tflite import read_model
from quantdiff.load.written import packed, unpacked
from quantdiff.ops import traits
from quantdiff.quant import Array, is_float
from quantdiff.search.fault import MODEL, Fault, Models
from quantdiff.search.reduce import Found, Search, ask

SEED = 0
INPUTS = "inputs"


@dataclass(frozen=True, slots=True)
class Anonymous:
    """The same without names; ``kept`` are the constants and inputs that are as they were: the fault needs them."""

    found: Found
    kept: tuple[str, ...]
    replaced: int


@dataclass(frozen=True, slots=True)
class _Constant:
    """A constant of one file: its tensor's number, and the axis along which its channels lie, None where none."""

    file: str
    tensor: Tensor
    axis: int | None


def anonymous(found: Found, fault: Fault) -> Anonymous:
    """Names replaced; the codes of each channel of each constant, and the elements of each input, in another order.

    What belongs together in two files is put into the same order. Where the fault is gone, one after the other is
    tried, and what makes it go stays.
    """
    bare = {name: _without_names(data) for name, data in found.models.items()}
    groups = _groups(bare)
    with scratch() as folder:
        if says := _ask(bare, found.batch, [*groups, INPUTS], groups, fault, folder):
            changed = [*groups, INPUTS]
        else:
            changed, says = [], ask(fault, bare, found.batch, folder)
            for name in [*groups, INPUTS]:
                if said := _ask(bare, found.batch, [*changed, name], groups, fault, folder):
                    changed, says = [*changed, name], said
    models, batch = _changed(bare, found.batch, changed, groups)
    kept = tuple(name for name in [*groups, INPUTS] if name not in changed)
    if not says:  # without names the outputs are no longer known as the same
        return Anonymous(found, ("names", *groups, INPUTS), 0)
    return Anonymous(replace(found, models=models, batch=batch, says=says), kept, len(changed))


def _ask(
    bare: Models, batch: Batch, names: Sequence[str], groups: Mapping[str, list[_Constant]], fault: Fault, folder: Path
) -> str:
    models, data = _changed(bare, batch, names, groups)
    return ask(fault, models, data, folder)


def _without_names(data: bytes) -> bytes:
    model = unpacked(data)
    model.description = b""
    for graph in model.subgraphs:
        graph.name = b"main"
        ends = {int(i): f"input {k}" for k, i in enumerate(graph.inputs)}
        ends |= {int(i): f"output {k}" for k, i in enumerate(graph.outputs)}
        for index, tensor in enumerate(graph.tensors):
            tensor.name = ends.get(index, f"tensor {index}").encode()
        for op in graph.operators:
            for name in ("container", "sharedName"):  # of a variable
                if getattr(op.builtinOptions, name, None):
                    setattr(op.builtinOptions, name, b"")
    return packed(model)


def _groups(models: Models) -> dict[str, list[_Constant]]:
    """The constants of the model by name, each with the one of the reference that has its shape and comes first."""
    found = {name: [*_constants(name, data)] for name, data in models.items()}
    others = [each for name, some in found.items() if name != MODEL for each in some]
    groups: dict[str, list[_Constant]] = {}
    for constant in found[MODEL]:
        alike = next((each for each in others if each.tensor.shape == constant.tensor.shape), None)
        groups[constant.tensor.name] = [constant] if alike is None else [constant, alike]
        others = [each for each in others if each is not alike]
    return groups


def _constants(file: str, data: bytes) -> Iterator[_Constant]:
    """What has values that say something of the training: quantized or float; not shapes and axes."""
    graph: Graph = read_model(memoryview(data)).main
    for tensor in graph.tensors:
        if tensor.data is not None and (tensor.quant is not None or is_float(tensor.dtype)) and tensor.data.size > 1:
            roles = [traits(op.op) for op in graph.readers(tensor.index)]
            axis = next((role.channel_axis for role in roles if role.weights is not None), None)
            whole = tensor.data.shape == tensor.shape and len(tensor.shape) > 1
            yield _Constant(file, tensor, axis if whole else None)


def _changed(
    bare: Models, batch: Batch, names: Sequence[str], groups: Mapping[str, list[_Constant]]
) -> tuple[Models, Batch]:
    """The same with these constants in another order; ``inputs`` are the data."""
    objects: dict[str, Any] = {name: unpacked(data) for name, data in bare.items()}
    for number, (name, group) in enumerate(groups.items()):
        for constant in group if name in names else ():
            stored = objects[constant.file].buffers[constant.tensor.buffer]
            stored.data = np.frombuffer(_shuffled(constant, number).tobytes(), np.uint8)
    if INPUTS in names:
        arrays = {name: _each_shuffled(array) for name, array in batch.arrays.items()}
        batch = Batch(arrays, None, batch.source)
    return {name: packed(each) for name, each in objects.items()}, batch


def _shuffled(constant: _Constant, number: int) -> Array:
    """Each channel's values in another order, the same one for arrays of one shape; a bias in real units."""
    rng, data, axis, quant = (
        np.random.default_rng((SEED, number)),
        constant.tensor.data,
        constant.axis,
        constant.tensor.quant,
    )
    assert data is not None
    if axis is None:
        order = rng.permutation(data.size)
        values: Array = data.reshape(-1)[order]
        if quant is not None and len(quant.scale) == data.size:
            scale = np.asarray(quant.scale, np.float64)
            values = np.rint(values * scale[order] / scale).astype(data.dtype)
        return values
    moved = np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1)
    order = np.stack([rng.permutation(moved.shape[1]) for _ in moved])
    rest = [n for k, n in enumerate(data.shape) if k != axis]
    made = np.take_along_axis(moved, order, axis=1).reshape(data.shape[axis], *rest)
    return np.ascontiguousarray(np.moveaxis(made, 0, axis))


def _each_shuffled(array: Array) -> Array:
    rng = np.random.default_rng(SEED)
    return np.stack([rng.permutation(row.reshape(-1)).reshape(row.shape) for row in array])


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is left of a model and its data.

    Attributes:
        check: what was asked for.
        before: what the whole says, ``max_steps is 7``.
        search: the part that is left, what it says, and how long that took.
        fault: asks again, and knows the command that does.
        operators: of the whole.
        samples: of the data.
        size: bytes of the whole.
        data: where the samples come from.
        anonymous: the same without names and weights, where that was asked for.
    """

    check: str
    before: str
    search: Search
    fault: Fault
    operators: int
    samples: int
    size: int
    data: str = ""
    anonymous: Anonymous | None = None

    @property
    def left(self) -> Found:
        """What is written: the anonymous one where that was asked for."""
        return self.search.found if self.anonymous is None else self.anonymous.found

    def line(self, folder: Path) -> str:
        """The command that shows it again."""
        return shlex.join(self.fault.command(folder))
