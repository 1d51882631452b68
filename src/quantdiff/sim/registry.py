"""One kernel per op: each module of ``sim/ops`` registers itself when it is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from quantdiff.quant import Array

Function = Callable[..., Array | tuple[Array, ...]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, and whether it may see many samples at once as a longer first axis."""

    function: Function
    batched: bool


_KERNELS: dict[str, Kernel] = {}


def kernel(*ops: str, batched: bool = True) -> Callable[[Function], Function]:
    """Register a function ``(node, *inputs, runtime) -> output(s)`` for the ops named.

    ``batched=False`` when the first axis matters: an option names it, or the tail rounds otherwise.
    """

    def register(function: Function) -> Function:
        for op in ops:
            if op in _KERNELS:
                raise ValueError(f"two kernels for {op}")
            _KERNELS[op] = Kernel(function, batched)
        return function

    return register


@cache
def kernels() -> dict[str, Kernel]:
    """Every kernel by op, after importing the whole folder once."""
    for module in iter_modules(import_module("quantdiff.sim.ops").__path__):
        import_module(f"quantdiff.sim.ops.{module.name}")
    return _KERNELS
