"""Which kernels compute otherwise on ARM64 than on x86-64; all others give the same bits on both."""

from __future__ import annotations

from collections.abc import Callable

from quantdiff.sim.node import Node
from quantdiff.sim.runtime import Runtime

DIFFERS: dict[tuple[Runtime, str], Callable[[Node], bool]] = {}
"""By the runtime whose kernel runs and the op: whether the node is one for which it has other kernels there."""


def differs(node: Node, kernel: Runtime) -> bool:
    """True where the kernel of this runtime on ARM64 has a rule of its own for the operator."""
    rule = DIFFERS.get((kernel, node.operator.op))
    return rule is not None and rule(node)
