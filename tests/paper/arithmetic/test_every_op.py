"""Every element of small models, on paper and by the simulator's kernels, for every runtime's rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph, dense_values
from quantdiff.load.tflite import read_model
from quantdiff.paper.arithmetic.steps import Case, known
from quantdiff.quant import Array
from quantdiff.run.random_input import random_inputs
from quantdiff.sim.graph.operators import kernel_of, run_operator
from quantdiff.sim.node import NoKernel, node_of
from quantdiff.sim.runtime import Runtime

RNG = np.random.default_rng(11)
STRIDED = {"strideH": 2, "strideW": 1, "padding": 0, "fusedActivationFunction": 1}
IMAGE = (1, 5, 4, 4)


def one(op: str, tensors: Sequence[T], inputs: Sequence[str], options: Mapping[str, Any] | None = None) -> Graph:
    """A graph of one operator from the tensors named to ``y``."""
    fed = [t.name for t in tensors if t.data is None and t.name != "y"]
    data = write_tflite(tensors, [Op(op, inputs, ["y"], options or {})], fed, ["y"])
    return read_model(memoryview(data)).main


def weights(*shape: int) -> Array:
    return RNG.integers(-127, 128, shape)


def filtered(op: str, kernel: Sequence[int], out: Sequence[int], axis: int, **options: Any) -> Graph:
    channels = out[-1]
    scales = RNG.uniform(0.001, 0.01, channels).astype(np.float32)
    tensors = [
        T("x", IMAGE, scale=0.25, zero_point=-7),
        T("w", kernel, scale=scales, zero_point=0, axis=axis, data=weights(*kernel)),
        T("b", (channels,), "int32", scale=np.float32(0.25) * scales, data=RNG.integers(-900, 900, channels)),
        T("y", out, scale=0.125, zero_point=5),
    ]
    return one(op, tensors, ["x", "w", "b"], {**STRIDED, **options})


def pair(op: str, a: Sequence[int] = (1, 3, 20), b: Sequence[int] = (1, 1, 20), out: float = 0.05) -> Graph:
    tensors = [T("a", a, scale=0.04, zero_point=3), T("b", b, scale=0.02, zero_point=-9), T("y", a, scale=out)]
    return one(op, tensors, ["a", "b"], {"fusedActivationFunction": 0})


def far_apart() -> Graph:
    """A coarse 0 and a fine operand."""
    row = (1, 20)
    tensors = [T("a", row, scale=0.04, zero_point=3, data=3), T("b", row, scale=1e-8), T("y", row, scale=1e-7)]
    return one("ADD", tensors, ["a", "b"], {"fusedActivationFunction": 0})


def moved(op: str, x: tuple[str, float | None], y: tuple[str, float | None], size: int = 37) -> Graph:
    tensors = [
        T(name, (1, size), dtype, scale, 0 if scale is None else -4)
        for name, (dtype, scale) in (("x", x), ("y", y))
    ]  # fmt: skip
    return one(op, tensors, ["x"])


def pool(op: str) -> Graph:
    tensors = [T("x", IMAGE, scale=0.5, zero_point=1), T("y", (1, 3, 4, 4), scale=0.5, zero_point=1)]
    return one(op, tensors, ["x"], {**STRIDED, "filterHeight": 3, "filterWidth": 2})


def dense(
    shape: Sequence[int], out: Sequence[int], dtype: str = "int8", keep: bool = False, bias: bool = True
) -> Graph:
    unsigned = 128 if dtype == "uint8" else 0
    tensors = [
        T("x", shape, dtype, 0.25, 3 + unsigned),
        T("w", (3, 8), dtype, 0.01, unsigned - 2 if unsigned else 0, data=weights(3, 8) + unsigned),
        T("b", (3,), "int32", 0.0025, data=[100, -2000, 3]),
        T("y", out, dtype, 0.25, 3),
    ]
    options = {"keepNumDims": keep, "fusedActivationFunction": 3}
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    return one("FULLY_CONNECTED", [t for t in tensors if bias or t.name != "b"], inputs, options)


GRAPHS: dict[str, Callable[[], Graph]] = {
    "dense": lambda: dense((1, 8), (1, 3)),
    "dense on uint8": lambda: dense((1, 8), (1, 3), "uint8"),
    "dense without bias": lambda: dense((1, 8), (1, 3), bias=False),
    "dense, axes folded": lambda: dense((1, 2, 2, 8), (4, 3)),
    "dense, axes kept": lambda: dense((1, 2, 2, 8), (1, 2, 2, 3), keep=True),
    "conv": lambda: filtered("CONV_2D", (5, 3, 2, 4), (1, 3, 4, 5), 0),
    "conv in groups": lambda: filtered("CONV_2D", (6, 3, 2, 2), (1, 3, 4, 6), 0),
    "conv, dilated": lambda: filtered("CONV_2D", (5, 2, 2, 4), (1, 5, 4, 5), 0, strideH=1, dilationHFactor=2),
    "depthwise": lambda: filtered("DEPTHWISE_CONV_2D", (1, 3, 3, 4), (1, 3, 4, 4), 3, depthMultiplier=1),
    "depthwise, three of each": lambda: filtered(
        "DEPTHWISE_CONV_2D", (1, 3, 3, 12), (1, 3, 4, 12), 3, depthMultiplier=3
    ),
    "add": lambda: pair("ADD"),
    "sub": lambda: pair("SUB"),
    "mul": lambda: pair("MUL", out=0.01),
    "add, nothing left of the shift": far_apart,
    "add, beyond the delegate's ratio": lambda: pair("ADD", out=0.00007),
    "average": lambda: pool("AVERAGE_POOL_2D"),
    "largest": lambda: pool("MAX_POOL_2D"),
    "quantize": lambda: moved("QUANTIZE", ("float32", None), ("int8", 0.25)),
    "requantize": lambda: moved("QUANTIZE", ("int8", 0.3), ("int8", 0.25)),
    "dequantize": lambda: moved("DEQUANTIZE", ("int8", 0.3), ("float32", None)),
}


def elements(graph: Graph, runtime: Runtime) -> Iterator[tuple[tuple[int, ...], Any, Any]]:
    """Every element of the output: where, on paper, by the kernel."""
    (operator,) = graph.operators
    inputs = dict(zip(graph.inputs, random_inputs(graph, 1), strict=True))
    node = node_of(graph, operator)
    (kernel,) = run_operator(graph, operator, inputs, runtime)
    arrays = [inputs[i][0] if i in inputs else dense_values(graph.tensors[i]) for i in operator.inputs]
    case = Case(node, arrays, kernel_of(node, runtime))
    for at in np.ndindex(*kernel.shape[1:]):
        yield at, known()[operator.op](case, at).result, kernel[0][at].item()


@pytest.mark.parametrize("runtime", Runtime)
@pytest.mark.parametrize("name", GRAPHS)
def test_paper_equals_kernel(name: str, runtime: Runtime) -> None:
    for at, paper, kernel in elements(GRAPHS[name](), runtime):
        assert paper == kernel, at


def test_every_op_that_can_be_written_out_is_here() -> None:
    assert {graph().operators[0].op for graph in GRAPHS.values()} == set(known())


def test_other_types_are_refused() -> None:
    tensors = [T("a", (1, 4), "float32"), T("b", (1, 4), "float32"), T("y", (1, 4), "float32")]
    node = node_of(graph := one("ADD", tensors, ["a", "b"]), graph.operators[0])
    with pytest.raises(NoKernel, match="float32"):
        known()["ADD"](Case(node, [np.zeros((1, 4), np.float32)] * 2, Runtime.REFERENCE), (0, 0))
