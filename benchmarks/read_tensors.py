"""Read all tensors of a model: ``load_tflite`` beside the object API of the package ``tflite``, in one run.

    uv run --group bench python benchmarks/read_tensors.py MODEL.tflite

Three ways of using the package: its objects number by number, as its examples do; the same with the constants'
values too; and with a NumPy array for each vector. ``load_tflite`` reads more in the same time: operators with
their options, signatures, metadata, all of it checked against the file's bounds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tflite

from quantdiff.load.tflite import load_tflite

ROUNDS = 7


def numbers(owner: Any, field: str) -> list[float]:
    """A vector, one call per number."""
    read, length = getattr(owner, field), getattr(owner, f"{field}Length")()
    return [read(i) for i in range(length)]


def array(owner: Any, field: str) -> Any:
    """A vector as one NumPy array."""
    return getattr(owner, f"{field}AsNumpy")()


def read_all(path: Path, vector: Callable[[Any, str], Any], data: Callable[[Any, str], Any]) -> list[Any]:
    """Name, shape, dtype, quantization and data of every tensor through the package's objects."""
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    tensors = [graph.Tensors(i) for graph in graphs for i in range(graph.TensorsLength())]
    return [read_one(model, tensor, vector, data) for tensor in tensors]


def read_one(model: Any, tensor: Any, vector: Callable[[Any, str], Any], data: Callable[[Any, str], Any]) -> Any:
    """One tensor."""
    quant, buffer = tensor.Quantization(), model.Buffers(tensor.Buffer())
    shapes = vector(tensor, "Shape"), vector(tensor, "ShapeSignature")
    own = tensor.Name(), tensor.Type(), tensor.IsVariable(), *shapes
    params = quant and [vector(quant, field) for field in ("Scale", "ZeroPoint", "Min", "Max")]
    return own, params, quant and quant.QuantizedDimension(), buffer.DataLength() and data(buffer, "Data")


def best(read: Callable[[], object]) -> float:
    """The fastest of some rounds, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        read()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main(path: Path) -> None:
    """One JSON document: milliseconds, and how many times faster."""
    ours = best(lambda: load_tflite(path))
    theirs = {
        "number by number, values too": best(lambda: read_all(path, numbers, numbers)),
        "number by number": best(lambda: read_all(path, numbers, array)),
        "array by array": best(lambda: read_all(path, array, array)),
    }
    report = {way: {"ms": round(ms, 2), "times as long": round(ms / ours, 1)} for way, ms in theirs.items()}
    count = sum(len(graph.tensors) for graph in load_tflite(path).subgraphs)
    print(json.dumps({"model": path.name, "tensors": count, "load_tflite ms": round(ours, 2), **report}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
