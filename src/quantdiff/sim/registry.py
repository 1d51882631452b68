"""One kernel per op: each module of ``sim/ops`` registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from quantdiff.quant import Array
from quantdiff.sim.node import Node

Function = Callable[..., Array | tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, whether it may see many samples at once as a longer first axis, and several runtimes at once."""

    function: Function
    batched: bool | Callable[[Node], bool]
    shared: bool


_KERNELS: dict[str, Kernel] = {}


def kernel(
    *ops: str, batched: bool | Callable[[Node], bool] = True, shared: bool = False
) -> Callable[[Function], Function]:
    """Register a function ``(node, *inputs, runtime) -> output(s)`` for the ops named.

    ``batched=False`` when the first axis matters: an option names it, or the tail rounds otherwise; or a question to
    the node.
    ``shared=True`` for a function ``(node, *inputs, runtimes) -> one output for each runtime``, which
    accumulates once for all.
    """

    def register(function: Function) -> Function:
        for op in ops:
            if op in _KERNELS:
                raise ValueError(f"two kernels for {op}")
            _KERNELS[op] = Kernel(function, batched, shared)
        return function

    return register


@cache
def kernels() -> dict[str, Kernel]:
    """Every kernel by op, after importing the whole folder once."""
    for module in iter_modules(import_module("quantdiff.sim.ops").__path__):
        import_module(f"quantdiff.sim.ops.{module.name}")
    return _KERNELS
