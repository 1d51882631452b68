"""A part of a ``.tflite`` as a file of its own, with the inputs that it has in the whole; shown to give the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantdiff.errors import BadModel, NoSuchElement
from quantdiff.graph import Graph
from quantdiff.load.data import Batch
from quantdiff.load.extract import Part, extract, part_of
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.load.written import unpacked
from quantdiff.quant import Array, same_bits
from quantdiff.run.conversation import TIMEOUT, block_of
from quantdiff.run.inner_tensors import Reading, read_everything
from quantdiff.run.inputs import inputs_of, load_data
from quantdiff.run.random_input import SAMPLES, random_inputs, samples_for
from quantdiff.run.recorded import as_batch
from quantdiff.run.runner import started
from quantdiff.run.runtimes import check_installed, check_takes_others


@dataclass(frozen=True, slots=True)
class Extract:
    """A part of a model.

    Attributes:
        model: the bytes of a ``.tflite``.
        part: its operators and ends, as numbers of the whole.
        names: the operators, ``3 CONV_2D``.
        ends: the names of its inputs and of its outputs.
        batch: what its inputs were in the whole, in real units, samples along axis 0.
        runtime: that recorded them.
        count: values of its outputs, over all samples.
        mismatches: those that it gives otherwise than the whole.
        source: the data that the whole was run on.
    """

    model: bytes = field(repr=False)
    part: Part
    names: tuple[str, ...]
    ends: tuple[tuple[str, ...], tuple[str, ...]]
    batch: Batch
    runtime: str
    count: int
    mismatches: int
    source: str


def load_and_extract(
    path: Path,
    chosen: Sequence[int],
    data: Path | Batch | None = None,
    runtime: str = "xnnpack",
    samples: int = SAMPLES,
    timeout: float = TIMEOUT,
) -> Extract:
    """Cut the operators ``chosen`` out of a file, record what they are given, and run the part on it.

    Raises:
        BadModel, BadData, NoSuchElement: the file, the data or the operators are not there, or do not fit; or a tensor
            at the cut cannot be recorded.
        RuntimeFailed: the runtime refuses the whole or the part.
    """
    check_installed([runtime])
    check_takes_others([runtime], "extract", "a part of it")
    model = load_tflite(path)
    graph, part = model.main, part_of(model.main, chosen)
    if not part.inputs:
        raise NoSuchElement(f"{path}: these operators compute on constants alone, so nothing goes in; name one behind")
    count = samples_for(graph, samples)
    if data is None:
        inputs, source = random_inputs(graph, count), "seeded random input"
    else:
        batch = load_data(data, path)
        inputs, source = [array[:count] for array in inputs_of(model, batch)], batch.source
    with started(runtime, timeout) as runner:
        seen = read_everything(model, inputs, runner)
    made = extract(unpacked(model.whole()), part)
    given, expected = (recorded(graph, ends, seen, runtime) for ends in (part.inputs, part.outputs))
    part_model = read_model(memoryview(made))
    got = run_part(made, path, given, len(part.outputs), runtime, timeout)
    wrong = sum(int(a.size if a.shape != b.shape else (a != b).sum()) for a, b in zip(got, expected, strict=True))
    wrong = wrong or sum(not same_bits(a, b) for a, b in zip(got, expected, strict=True))
    names = tuple(f"{i} {graph.operators[i].op}" for i in part.operators)
    labels = tuple(tuple(graph.tensors[i].label for i in ends) for ends in (part.inputs, part.outputs))
    return Extract(
        made, part, names, (labels[0], labels[1]), as_batch(part_model, given, source), runtime,
        sum(array.size for array in expected), wrong, source,
    )  # fmt: skip


def recorded(graph: Graph, tensors: Sequence[int], seen: Reading, runtime: str) -> list[Array]:
    """What the whole gave at the ends of a part. Shapes: (samples, *shape of the tensor).

    Raises:
        BadModel: one of them cannot be read.
    """
    for i in tensors:
        if i not in seen.values:
            tensor = graph.tensors[i]
            raise BadModel(
                f"tensor {tensor.label!r} of type {tensor.dtype} cannot be read on {runtime}, which computes over it "
                "or does not give it back: cut before or behind it, or name another --runtime"
            )
    return [seen.values[i] for i in tensors]


def run_part(
    part: bytes, path: Path, inputs: Sequence[Array], outputs: int, runtime: str, timeout: float = TIMEOUT
) -> list[Array]:
    """The outputs of a model that is in no file, sample by sample. Shapes: (samples, *shape of the tensor) each.

    Raises:
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    with started(runtime, timeout) as process:
        process.load(path, batch=False, content=block_of(part))
        return process.run(inputs, outputs, lambda done: None, apart=True)[0]
