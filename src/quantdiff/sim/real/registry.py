"""The real function of an op, in double: each module of ``sim/real`` registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quantdiff.graph import PACKED, Tensor, real_values
from quantdiff.lazy import Registry
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.accumulate import loops
from quantdiff.sim.node import ACTIVATION_RANGE, Node, NoKernel, is_quantized, quant_of
from quantdiff.sim.runtime import Runtime

Function = Callable[..., Array]
INTEGERS = ("int8", "uint8", "int16")
UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True)
class Real:
    """``function(node, *inputs)`` gives real values, double; ``curve`` says that runtimes approximate them.

    Quantized inputs come as real values, double, unless ``stored``: then as the integers that they are.
    ``anywhere``: further axes in front change nothing, as element goes to element or the last axis alone counts.
    ``bounded``: the fused activation is done too.
    """

    function: Function
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
) -> Callable[[Function], Function]:
    """Register the real function of the ops named; ``OP float32`` where that of integers is another."""

    def register(function: Function) -> Function:
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
