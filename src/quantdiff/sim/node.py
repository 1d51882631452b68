"""An operator with its tensors at hand, the few questions that are asked of these, and what computes it, by op.

Each module of ``sim/ops`` registers its kernels when it is imported, each of ``sim/real`` real functions, in double.
Both take compiled loops where these repay that numba is loaded, which takes a second.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module
from math import prod
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from quantdiff.errors import reason_of
from quantdiff.graph import PACKED, Graph, Operator, Tensor, real_values
from quantdiff.lazy import Registry
from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array, QuantParams, quantize
from quantdiff.sim.runtime import Runtime

if TYPE_CHECKING:
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


WORTH = 2**19
"""Outputs of one call from which on NumPy alone loses more than numba takes to load."""


MODULE = "quantdiff.sim.loops"


def loops(elements: float) -> ModuleType | None:
    """The compiled loops if ``elements`` outputs repay them or they are there anyway; None says NumPy."""
    return _load() if elements >= WORTH or MODULE in sys.modules else None


@cache
def _load() -> ModuleType | None:
    """The module, or None where numba cannot be had: the NumPy text gives the same integers."""
    try:
        return import_module(MODULE)
    except ImportError:
        return None


RealFunction = Callable[..., Array]
INTEGERS = ("int8", "uint8", "int16")
UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True)
class Real:
    """``function(node, *inputs)`` gives real values, double; ``curve`` says that runtimes approximate them.

    Quantized inputs come as real values, double, unless ``stored``: then as the integers that they are.
    ``anywhere``: further axes in front change nothing, as element goes to element or the last axis alone counts.
    ``bounded``: the fused activation is done too.
    """

    function: RealFunction
    curve: bool = False
    stored: bool = False
    anywhere: bool = False
    bounded: bool = False

    def __call__(self, node: Node, *inputs: Array | None, runtime: Runtime) -> Array:
        """The output's integers: the real value, clamped by the fused activation, to the nearest step."""
        del runtime
        y = self.value(node, *inputs)
        return y.astype(np.float32) if node.y.dtype == "float32" else nearest(y, node.y)

    def value(self, node: Node, *inputs: Array | None) -> Array:
        """The real value of the output, clamped by the fused activation."""
        given = inputs if self.stored else [_real(t, x) for t, x in zip(node.inputs, inputs, strict=False)]
        bounds, y = bounds_of(node), self.function(node, *given)
        return y if self.bounded or bounds == UNBOUNDED else y.clip(*bounds)


REALS: Registry[Real] = Registry("quantdiff.sim.real")


def real(
    *ops: str, curve: bool = False, stored: bool = False, anywhere: bool = False, bounded: bool = False
) -> Callable[[RealFunction], RealFunction]:
    """Register the real function of the ops named; ``OP float32`` where that of integers is another."""

    def register(function: RealFunction) -> RealFunction:
        for op in ops:
            REALS.add(op, Real(function, curve, stored, anywhere, bounded))
        return function

    return register


def reals() -> Mapping[str, Real]:
    """Every real function by op."""
    return REALS.load()


def real_of(node: Node) -> Real | None:
    """The real function of the node's op: all is quantized, or all is float and products are summed."""
    varying = [t for t in node.inputs if t is not None and not t.is_constant]
    if node.y.dtype == "float32" and all(t.dtype == "float32" for t in varying):
        return reals().get(f"{node.operator.op} float32")
    found = reals().get(node.operator.op)
    fits = is_quantized(node.y, *INTEGERS) and all(is_quantized(t, *INTEGERS) or t.dtype == "float32" for t in varying)
    return found if fits else None


def dequantized(tensor: Tensor, q: Array) -> Array:
    """Real values of stored integers, double: the stored float32 scale times the distance from the zero point."""
    scale, zero_point = quant_of(tensor).along(q.ndim)
    values: Array = (q.astype(np.float64) - zero_point) * scale.astype(np.float64)
    return values


def nearest(y: Array, tensor: Tensor) -> Array:
    """The integer nearest to each real value, halves up as fake-quant has it, clipped to the tensor's type.

    TensorFlow ``core/kernels/fake_quant_ops_functor.h``: ``floor(x / scale + 0.5)`` from the lower end.
    """
    scale, zero_point = quant_of(tensor).along(y.ndim)
    compiled = loops(y.size) if scale.ndim == 0 and y.dtype == np.float64 and y.flags.c_contiguous else None
    if compiled is not None and tensor.dtype in INTEGERS:
        found = np.empty(y.shape, tensor.dtype)
        grid = float(scale), float(zero_point), *map(float, INTEGER_RANGE[tensor.dtype])
        compiled.store(y.reshape(-1), grid, found.reshape(-1))
        return found
    steps = np.floor(y / scale.astype(np.float64) + 0.5) + zero_point
    return steps.clip(*INTEGER_RANGE[tensor.dtype]).astype(tensor.dtype)


def bounds_of(node: Node) -> tuple[float, float]:
    """Between which the fused activation leaves a value."""
    if node.activation not in ACTIVATION_RANGE:
        raise NoKernel(f"fused activation {node.activation}")
    return ACTIVATION_RANGE[node.activation]


def _real(tensor: Tensor | None, x: Array | None) -> Array | None:
    if tensor is not None and (tensor.block_scales is not None or is_quantized(tensor, *PACKED)):
        return real_values(tensor)
    if tensor is None or x is None or not is_quantized(tensor, *INTEGERS):
        return x
    return dequantized(tensor, x)
