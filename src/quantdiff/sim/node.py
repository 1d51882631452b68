"""An operator with its tensors at hand, and the few questions that every kernel asks of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from quantdiff.errors import reason_of
from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, quantize
from quantdiff.sim.runtime import Runtime

ACTIVATION_RANGE = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}
"""Real bounds of each fused activation."""


ELEMENTS_AT_MOST = 2**25
"""Of one sample of a tensor whose size stands in the values or options of a file: 128 MB of float32."""
TIMES_AT_MOST = 16
"""As large as what it is made of, where that is larger: a large image may be padded and resized."""


class NoKernel(Exception):
    """A kernel exists, but not for these types, options or this runtime; the message says which."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator, with the tensors that its indices name and the graph that it stands in."""

    operator: Operator
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    intermediates: tuple[Tensor, ...] = ()
    graph: Graph | None = field(default=None, compare=False, repr=False)

    def option(self, name: str, default: Any = None) -> Any:
        """A builtin option by its schema name in snake_case."""
        return self.operator.options.get(name, default)

    @property
    def activation(self) -> str:
        """The fused activation, ``NONE`` when there is none."""
        return str(self.option("fused_activation_function", "NONE"))

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.at(0)

    @property
    def y(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    def at(self, position: int) -> Tensor:
        """The input at ``position``, which must be there."""
        tensor = self.inputs[position] if position < len(self.inputs) else None
        if tensor is None:
            raise NoKernel(f"input {position} is left out")
        return tensor


@contextmanager
def fitting() -> Iterator[None]:
    """What a damaged operator makes kernels raise is no kernel for it.

    Raises:
        NoKernel: in place of all that.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NoKernel(f"its tensors do not fit together here: {reason_of(error)}") from error


def sized(shape: Iterable[Any], source: int = 0) -> tuple[int, ...]:
    """A shape that a file asks for by its values or options, as whole numbers; made of ``source`` elements.

    Raises:
        NoKernel: it is larger than any tensor that is meant.
    """
    sizes, most = tuple(int(size) for size in shape), max(ELEMENTS_AT_MOST, TIMES_AT_MOST * source)
    if prod(max(1, size) for size in sizes) > most:
        raise NoKernel(f"it makes a tensor of more than {most} elements")
    return sizes


def node_of(graph: Graph, operator: Operator) -> Node:
    """The operator with its tensors."""
    tensors = graph.tensors
    inputs = tuple(tensors[i] if i >= 0 else None for i in operator.inputs)
    outputs, between = (tuple(tensors[i] for i in indices) for indices in (operator.outputs, operator.intermediates))
    return Node(operator, inputs, outputs, between, graph)


def quant_of(tensor: Tensor) -> QuantParams:
    """The tensor's quantization; a kernel that asks needs one."""
    if tensor.quant is None or not tensor.quant.scale:
        raise NoKernel(f"tensor {tensor.name!r} ({tensor.dtype}) carries no scale")
    return tensor.quant


def scale_of(tensor: Tensor) -> Array:
    """Scale as float32: shape () per tensor, (channels,) per channel."""
    scale = np.asarray(quant_of(tensor).scale, np.float32)
    return scale[0] if scale.size == 1 else scale


def zero_point_of(tensor: Tensor) -> int:
    """The zero point of a tensor quantized as a whole, or the common one of its channels."""
    points = set(quant_of(tensor).zero_point) or {0}
    if len(points) > 1:
        raise NoKernel(f"tensor {tensor.name!r} has zero points that differ by channel")
    return points.pop()


def is_quantized(tensor: Tensor, *dtypes: str) -> bool:
    """True when the tensor has one of ``dtypes`` and carries a scale."""
    return tensor.dtype in dtypes and tensor.quant is not None and bool(tensor.quant.scale)


def clamp_of(node: Node, runtime: Runtime) -> tuple[int, int]:
    """Integer bounds of the fused activation on the output.

    LiteRT ``kernel_util.cc`` (``CalculateActivationRangeQuantizedImpl``): the bound in steps, half away.
    XNNPACK ``src/xnnpack/requantization.h`` (``xnn_qs8_quantize``): zero point added, then half to even.
    """
    low, high = INTEGER_RANGE[node.y.dtype]
    if node.activation == "NONE":
        return low, high
    if node.activation not in ACTIVATION_RANGE:
        raise NoKernel(f"fused activation {node.activation}")
    bounds = ACTIVATION_RANGE[node.activation]
    quant, xnnpack = quant_of(node.y), runtime.family is Runtime.XNNPACK
    first, last = (_bound(quant, node.y.dtype, real, xnnpack) if np.isfinite(real) else None for real in bounds)
    return low if first is None else max(low, first), high if last is None else min(high, last)


@lru_cache
def _bound(params: QuantParams, dtype: str, real: float, by_xnnpack: bool) -> int:
    """One real bound in the integers of ``dtype``, clipped to its range."""
    if by_xnnpack:
        (scale,), (zero_point,) = params.scale, params.zero_point
        steps = np.float32(real) / np.float32(scale) + np.float32(zero_point)
        return int(np.clip(np.rint(steps), *INTEGER_RANGE[dtype]))
    return int(quantize(np.asarray(real, np.float32), params, dtype))
