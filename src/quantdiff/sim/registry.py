"""One kernel per op: each module of ``sim/ops`` registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantdiff.lazy import Registry
from quantdiff.quant import Array
from quantdiff.sim.node import Node
from quantdiff.sim.rounding.rounded import Rounded

Function = Callable[..., Array | tuple[Array, ...] | Rounded]


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
