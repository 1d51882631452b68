"""An operator with its tensors at hand, the few questions that every kernel asks of them, and the kernels by op.

Each module of ``sim/ops`` registers its kernels when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from quantdiff.errors import reason_of
from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.lazy import Registry
from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, quantize
from quantdiff.sim.runtime import Runtime

if TYPE_CHECKING:  # which asks nodes itself
    from quantdiff.sim.rounding.rounded import Rounded

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


WEIGHTS = ("int8", "int4", "int2")


def is_hybrid(node: Node) -> bool:
    """True for float32 × int8, int4 or int2 → float32."""
    w = node.at(1)
    stored = is_quantized(w, *WEIGHTS) or (w.dtype in WEIGHTS and w.blocks is not None)
    return node.x.dtype == node.y.dtype == "float32" and stored


def is_real(node: Node) -> bool:
    """True for float32 × float32 → float32."""
    return node.x.dtype == node.at(1).dtype == node.y.dtype == "float32"


def is_wide(node: Node) -> bool:
    """True for int16 × int8 → int16."""
    x = node.at(traits(node.operator.op).x)
    return is_quantized(x, "int16") and node.at(1).dtype == "int8" and node.y.dtype == "int16"


def check_8_bit(node: Node) -> None:
    """Refuse all but int8 × int8 → int8 and uint8 × uint8 → uint8, the weights perhaps stored in 4 or 2 bits."""
    x, w, y = node.x, node.at(1), node.y
    narrow = x.dtype == "int8" and w.dtype in ("int4", "int2")
    if not (is_quantized(x, "int8", "uint8") and x.dtype == y.dtype and (w.dtype == x.dtype or narrow)):
        raise NoKernel(f"types {x.dtype} × {w.dtype} -> {y.dtype}")


Values = Mapping[int, Array]


def one_by_one(values: Values) -> Iterator[dict[int, Array]]:
    """The samples, each with its first axis; one where nothing is fed."""
    count = max((len(array) for array in values.values()), default=1)
    for i in range(count):
        yield {index: array[i : i + 1] for index, array in values.items()}


Function = Callable[..., "Array | tuple[Array, ...] | Rounded"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, whether it may see many samples at once as a longer first axis, and several runtimes at once."""

    function: Function
    batched: bool | Callable[[Node], bool]
    shared: bool


KERNELS: Registry[Kernel] = Registry("quantdiff.sim.ops")


def kernel(
    *ops: str, batched: bool | Callable[[Node], bool] = True, shared: bool = False
) -> Callable[[Function], Function]:
    """Register a function ``(node, *inputs, runtime) -> output(s)`` for the ops named.

    ``batched=False`` when the first axis matters: an option names it, or the tail rounds otherwise; or a question to
    the node.
    ``shared=True`` for a function ``(node, *inputs, runtimes) -> one output for each runtime``, or ``Rounded``,
    which accumulates once for all.
    """

    def register(function: Function) -> Function:
        for op in ops:
            KERNELS.add(op, Kernel(function, batched, shared))
        return function

    return register


def kernels() -> Mapping[str, Kernel]:
    """Every kernel by op."""
    return KERNELS.load()
