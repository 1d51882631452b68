"""One kernel per op: each module of ``sim/ops`` registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantdiff.quant import Array
from quantdiff.registry import Registry

Function = Callable[..., Array | tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, and whether it may see many samples at once as a longer first axis."""

    function: Function
    batched: bool


KERNELS: Registry[Kernel] = Registry("quantdiff.sim.ops")


def kernel(*ops: str, batched: bool = True) -> Callable[[Function], Function]:
    """Register a function ``(node, *inputs, runtime) -> output(s)`` for the ops named.

    ``batched=False`` when the first axis matters: an option names it, or the tail rounds otherwise.
    """

    def register(function: Function) -> Function:
        for op in ops:
            KERNELS.add(op, Kernel(function, batched))
        return function

    return register


def kernels() -> Mapping[str, Kernel]:
    """Every kernel by op."""
    return KERNELS.load()
