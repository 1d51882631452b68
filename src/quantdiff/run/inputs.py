"""What a ``.tflite`` is fed with: data by their name, bound to its inputs and quantized as the file says.

And whether they agree: what the grid of an input holds, and what the data reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadData, QuantdiffError
from quantdiff.files import is_tflite, python_function
from quantdiff.graph import Graph, Model, Tensor
from quantdiff.load.data import SUFFIXES, Batch, Order, Slot, bind, load_batch
from quantdiff.load.npz import blocks, is_dump
from quantdiff.load.sources.folders import from_images, from_recordings, holds_images, holds_recordings, preparation
from quantdiff.load.sources.generated import from_function
from quantdiff.load.sources.tables import from_csv
from quantdiff.load.tflite import load_tflite
from quantdiff.ops import INTO_INTEGERS
from quantdiff.quant import INTEGER_RANGE, Array, Grid, is_float, quantize
from quantdiff.run.random_input import CALLED, MADE_UP, made_up
from quantdiff.run.recorded import of_dump
from quantdiff.sim.arm64 import by_rows
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import kernel_of
from quantdiff.sim.node import node_of
from quantdiff.sim.runtime import Runtime


def load_data(data: Data, candidate: Any = None, images: str | None = None, audio: str | None = None) -> Batch:
    """A data set by its name.

    Args:
        data: an ``.npz`` (a recording of a device, too), ``.npy`` or ``.csv`` file, ``FILE.py:function``, a folder of
            images or sounds, ``random[:N[:SEED]]`` or ``smooth[:N[:SEED]]``; a ``Batch`` is taken as it is.
        candidate: the ``.tflite`` whose inputs say what shape data have that a function, a table or chance gives.
        images: how pictures are prepared: ``resize=224x224 center-crop scale=1/127.5 shift=-1 order=RGB``.
        audio: how recordings are prepared: ``mono length=16000 scale=32768 shift=0``.

    Returns:
        Samples along axis 0, in the reference's float units, with labels where they are known.

    Raises:
        BadData: they cannot be read or made.
    """
    if isinstance(data, Batch):
        return data
    name, path = str(data), Path(data)
    _check_prepared(path, images, audio)
    if made_up_kind(name):
        return made_up(name, _model(candidate, name))
    if python_function(name) is not None:
        return from_function(name, _slots(candidate))
    if path.suffix == ".py":
        raise BadData(f"{name}: a Python file; say which function gives the data: {name}:FUNCTION")
    return _of_folder(path, images, audio) if path.is_dir() else _of_file(path, candidate)


def _of_file(path: Path, candidate: Any) -> Batch:
    if path.suffix.lower() == ".csv":
        return from_csv(path, _slots(candidate))
    if is_dump(path):
        return of_dump(path, _model(candidate, str(path)))
    return load_batch(path)


def made_up_kind(name: str) -> str:
    """``random`` or ``smooth`` where a name asks for such data; nothing for what is there."""
    kind = name.partition(":")[0]
    return kind if kind in MADE_UP and not Path(name).exists() else ""


def _check_prepared(path: Path, images: str | None, audio: str | None) -> None:
    """Whether what is prepared lies in a folder, and is one of the two."""
    if images is not None and audio is not None:
        raise BadData(f"{path}: --images and --audio; a folder holds one of them")
    if not path.is_dir() and images is not None:
        raise BadData(f"{path}: --images is for a folder of images")
    if not path.is_dir() and audio is not None:
        raise BadData(f"{path}: --audio is for a folder of recordings")


def _of_folder(path: Path, images: str | None, audio: str | None) -> Batch:
    if images is not None or (audio is None and holds_images(path)):
        return from_images(path, preparation(images or ""))
    if audio is not None or holds_recordings(path):
        return from_recordings(path, audio or "")
    shards = find_shards([path])
    if len(shards) > 1:
        raise BadData(f"{path}: a data set in {len(shards)} parts, which this command does not take; give one file")
    return load_batch(shards[0])


def find_shards(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The data files of a data set in parts: those named, and those in a folder, in the order of their names.

    Raises:
        BadData: a folder without data files.
    """
    shards: list[Path] = []
    for path in paths:
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
        if not found:
            raise BadData(f"{path}: a folder without .npz, .npy, picture or sound files; put the data there")
        shards += found
    return tuple(shards)


def holds_parts(path: Path, images: str | None = None, audio: str | None = None) -> bool:
    """Whether a folder holds a data set in parts rather than images or sounds, which are prepared."""
    prepared = images is not None or audio is not None
    return not prepared and path.is_dir() and not holds_images(path) and not holds_recordings(path)


def _model(candidate: Any, name: str) -> Any:
    if isinstance(candidate, str | Path) and is_tflite(Path(candidate)):
        return load_tflite(Path(candidate))
    raise BadData(
        f"{name}: made-up data and recordings take their shapes from a .tflite candidate; give data of your own"
    )


def _slots(candidate: Any) -> Sequence[Slot]:
    """What the candidate takes; () where that is not known before it is opened."""
    try:
        return slots_of(_model(candidate, ""))
    except QuantdiffError:
        return ()


Data = str | Path | Batch


def inputs_of(model: Model, batch: Batch) -> list[Array]:
    """The batch as the model's inputs take it, one invocation a row: (invocations, *shape of the input).

    Raises:
        BadData: the data do not fit the model's inputs, or are too few for one invocation.
    """
    tensors, fed = _input_tensors(model), as_inputs(model, bound_inputs(model, batch))
    return [_by_invocation(array, tensor, _source(model)) for array, tensor in zip(fed, tensors, strict=True)]


def as_inputs(model: Model, arrays: Sequence[Array]) -> list[Array]:
    """Real values, one array per input of the model, as these take them.

    Raises:
        BadData: fractions for an input that takes whole numbers.
    """
    source = _source(model)
    return [_as_input(array, tensor, source) for array, tensor in zip(arrays, _input_tensors(model), strict=True)]


def bound_inputs(model: Model, batch: Batch) -> tuple[Array, ...]:
    """The batch in real units, one array per input of the model.

    Raises:
        BadData: the data do not fit the model's inputs.
    """
    return bind(batch, slots_of(model), _source(model))


def slots_of(model: Model) -> tuple[Slot, ...]:
    """What the main graph takes, by the names of its signature where it has one."""
    names, orders = signature_names(model), dict(enumerate(model.turned))
    return tuple(_slot(tensor, names, orders.get(k, ())) for k, tensor in enumerate(_input_tensors(model)))


def output_names(model: Model) -> tuple[str, ...]:
    """What the main graph gives, by the names of its signature where it has one."""
    names = signature_names(model)
    return tuple(names.get(i, model.main.tensors[i].label) for i in model.main.outputs)


def _input_tensors(model: Model) -> list[Tensor]:
    return [model.main.tensors[i] for i in model.main.inputs]


def _source(model: Model) -> str:
    return model.path.name if model.path else "the model"


def _by_invocation(array: Array, tensor: Tensor, model: str) -> Array:
    """Samples in groups of as many as one invocation takes; those left over are dropped."""
    if array.ndim != len(tensor.shape):
        return array
    rows = max(1, tensor.shape[0])
    if len(array) < rows:
        raise BadData(f"{model}: input {tensor.name!r} takes {rows} samples at once, the data have {len(array)}")
    return array[: len(array) // rows * rows].reshape(-1, rows, *array.shape[1:])


def _as_input(array: Array, tensor: Tensor, model: str) -> Array:
    """Real values as the tensor wants them: quantized, or as plain numbers of its dtype.

    Raises:
        BadData: fractions for an input that takes whole numbers.
    """
    if tensor.quant is not None and tensor.dtype in INTEGER_RANGE:
        return quantize(array, tensor.quant, tensor.dtype)
    try:
        values: Array = array.astype(tensor.dtype, copy=False)
    except TypeError as error:
        raise BadData(f"{model}: input {tensor.name!r} has type {tensor.dtype}, which cannot be fed") from error
    if not is_float(tensor.dtype) and not np.array_equal(values, array):
        raise BadData(f"{model}: input {tensor.name!r} takes {tensor.dtype}; the data hold fractions or larger numbers")
    return values


def _slot(tensor: Tensor, names: dict[int, str], order: Order) -> Slot:
    shape = tuple(tensor.shape_signature or tensor.shape)
    plain = tensor.name.removesuffix(":0").removeprefix("serving_default_")
    return Slot(names.get(tensor.index, tensor.name), shape, tensor.dtype, (tensor.name, plain), order)


def signature_names(model: Model) -> dict[int, str]:
    """Names by which people know inputs and outputs, where the file has a signature for the main graph."""
    signature = next((s for s in model.signatures if s.subgraph == 0), None)
    return {i: name for name, i in (*signature.inputs, *signature.outputs)} if signature else {}


CLIPPED, COARSE = 0.01, 8
"""The share of values beyond the ends, and the number of steps between the least and the most of the data, from which
a word is due."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the data reach at one input, ``count`` values so far, and how many are ``beyond`` what its grid holds.

    ``shape`` is that of a sample.
    """

    name: str
    shape: tuple[int, ...]
    grid: Grid
    count: int
    beyond: int
    least: float
    most: float

    def __add__(self, other: Reach) -> Reach:
        counts = self.count + other.count, self.beyond + other.beyond
        return Reach(
            self.name, self.shape, self.grid, *counts, min(self.least, other.least), max(self.most, other.most)
        )

    @property
    def ends(self) -> tuple[float, float]:
        """What the grid holds, in real units."""
        return _ends(self.grid)

    def fits(self, other: Reach) -> bool:
        """Whether another input could hold these data, where no word would be due."""
        scale = float(other.grid.params.scale[0])
        low, high = other.ends
        inside = low - scale <= self.least and self.most <= high + scale
        return self.shape == other.shape and inside and self.most - self.least >= COARSE * scale

    def warnings(self) -> Iterator[str]:
        """A word, where one is due."""
        low, high = self.ends
        reach = (
            f"the file's input {self.name!r} holds {low:.4g} … {high:.4g}, "
            f"the data reach {self.least:.4g} … {self.most:.4g}"
        )
        scale = float(self.grid.params.scale[0])
        if self.beyond > CLIPPED * self.count:
            share = self.beyond / self.count
            yield f"{reach}: {share:.0%} of the values are clipped; are the data prepared as in training?"
        elif self.least < self.most < self.least + COARSE * scale:
            steps = (self.most - self.least) / scale
            yield f"{reach}: {steps:.1f} steps for all of it; are the data prepared as in training?"


def data_warnings(model: Model, batch: Batch) -> tuple[str, ...]:
    """What a reader must know of the data before any figure."""
    return warnings_of(reaches(model, batch), batch.source)


def warnings_of(found: Sequence[Reach], source: str) -> tuple[str, ...]:
    """The same from what was counted of the data of that name."""
    if made := CALLED.fullmatch(source):
        return (f"on {made[1]} data {made[2]}, which no application sees",)
    return (*_swapped(found), *(line for each in found for line in each.warnings()))


def _swapped(found: Sequence[Reach]) -> Iterator[str]:
    """A word for two inputs that do not hold their data, and would hold each other's."""
    wrong = [each for each in found if any(each.warnings())]
    for one, other in combinations(wrong, 2):
        if one.fits(other) and other.fits(one):
            yield f"the data of {one.name!r} and {other.name!r} may be swapped: each input would hold the other's"


def reaches(model: Model, batch: Batch) -> tuple[Reach, ...]:
    """What is counted of the data at each input that lies on a grid; () for data that are made up."""
    if CALLED.fullmatch(batch.source):
        return ()
    graph, found = model.main, list[Reach]()
    for tensor, array in zip(graph.inputs, bound_inputs(model, batch), strict=True):
        grid = grid_at(graph, tensor)
        if grid is not None and array.dtype.kind in "fiu":
            found.append(_reach(graph.tensors[tensor].label, grid, array))
    return tuple(found)


def grid_at(graph: Graph, tensor: int) -> Grid | None:
    """The grid that an input lies on, or is quantized to."""
    readers = graph.readers(tensor)
    alone = readers[0] if len(readers) == 1 and readers[0].op == INTO_INTEGERS else None
    return graph.tensors[tensor].grid or (None if alone is None else graph.tensors[alone.outputs[0]].grid)


def _ends(grid: Grid) -> tuple[float, float]:
    scale, zero_point = float(grid.params.scale[0]), int(grid.params.zero_point[0])
    low, high = ((q - zero_point) * scale for q in INTEGER_RANGE[grid.dtype])
    return low, high


def _reach(name: str, grid: Grid, array: Array) -> Reach:
    (low, high), scale = _ends(grid), float(grid.params.scale[0])
    beyond, least, most = 0, np.inf, -np.inf
    for _, part in blocks(array):
        beyond += int(np.count_nonzero((part < low - scale) | (part > high + scale)))
        least, most = min(least, float(part.min())), max(most, float(part.max()))
    return Reach(name, array.shape[1:], grid, array.size, beyond, least, most)


# Nobody promises that these take a larger batch than the file's: SVDF's state, resized, corrupts LiteRT 2.3's heap.
NEVER_BATCHED = ("VAR_HANDLE", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_COMPOSITE", "CUSTOM")


def may_batch(graph: Graph, rules: Rules | None = None) -> bool:
    """Whether several samples may be run at once: no state, no control flow, no custom code.

    Nor where the runtime of these ``rules`` rounds several rows otherwise than one (``sim.arm64.by_rows``).
    """
    has_state = any(tensor.is_variable for tensor in graph.tensors)
    if has_state or any(op.op.startswith(NEVER_BATCHED) for op in graph.operators):
        return False
    if not isinstance(rules, Runtime) or not rules.on_arm64:  # a profile is computed sample by sample
        return True
    nodes = (node_of(graph, op) for op in graph.operators)
    return not any(by_rows(node, kernel_of(node, rules).family) for node in nodes)
