"""Every tensor of a model as a real runtime has it, by a way that does not change what runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantdiff.bitwise import differing
from quantdiff.graph import Graph, Model
from quantdiff.load.rewrite import with_outputs
from quantdiff.quant import Array
from quantdiff.run.child import RuntimeProcess
from quantdiff.sim.runtime import Runtime

Parts = list[tuple[list[int], list[int]]]

READABLE = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
"""Types that every runtime's Python interface can give back."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Every readable tensor, whether reading them left the final outputs alone, and what a delegate runs."""

    values: Mapping[int, Array]
    faithful: bool
    delegated: Parts


def run_runtime(model: Model, inputs: Sequence[Array], runtime: Runtime, timeout: float) -> Observed:
    """Run the model twice: as it is, and with every readable tensor as an output.

    Shapes: each input (samples, *shape of the model's input), each value likewise.

    Raises:
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    assert model.path is not None
    graph = model.main
    tensors = readable_tensors(graph, runtime)
    with RuntimeProcess(runtime.value, timeout=timeout) as process, tempfile.TemporaryDirectory() as folder:
        process.load(model.path, batch=False)
        delegated = process.delegated
        final, _ = process.run(inputs, len(graph.outputs), lambda done: None)
        rewritten = Path(folder) / model.path.name
        rewritten.write_bytes(with_outputs(model.path.read_bytes(), tensors))
        process.load(rewritten, batch=False)
        arrays, _ = process.run(inputs, len(tensors), lambda done: None)
    values = dict(zip(graph.inputs, inputs, strict=True))
    values |= {i: _by_sample(a, len(graph.tensors[i].shape)) for i, a in zip(tensors, arrays, strict=True)}
    outputs = (_by_sample(a, len(graph.tensors[i].shape)) for i, a in zip(graph.outputs, final, strict=True))
    faithful = all(differing(values[i], y) == 0 for i, y in zip(graph.outputs, outputs, strict=True) if i in values)
    return Observed(values, faithful, delegated)


def readable_tensors(graph: Graph, runtime: Runtime) -> list[int]:
    """The outputs, and every tensor that an operator makes and the runtime can give back."""
    hidden = "DENSIFY" if runtime is Runtime.XNNPACK else ""  # unpacked inside the delegate, never into the tensor
    made = (i for operator in graph.operators if operator.op != hidden for i in operator.outputs)
    return [i for i in dict.fromkeys((*graph.outputs, *made)) if graph.tensors[i].dtype in READABLE]


def _by_sample(array: Array, rank: int) -> Array:
    """The runs along an axis of their own: a child joins runs along an axis of size 1 where there is one.

    A file that leaves a shape open may say rank 0 for more than a number: then there was one.
    """
    return array[:, None] if array.ndim == rank or (rank == 0 and array.ndim > 1) else array
