"""Operators that stay with LiteRT's own kernels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring, is_integer_value
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.xnnpack.checks import all_float
from quantdiff.sim.xnnpack.delegate import RULES, taken


@check("XNN01", Severity.INFO, Wiring)
def xnnpack_declines(wiring: Wiring) -> Iterator[Found]:
    """XNNPACK, LiteRT's default on a CPU, leaves this quantized operator to the slower built-in kernels.

    Each one also splits the part that XNNPACK runs in two. Usual in int8 models for SOFTMAX and AVERAGE_POOL_2D, and
    harmless at the end of a model; in the middle, another op may do (MEAN for the pool, a fused activation for RELU).
    The built-in kernels round by other rules: `quantdiff verify` shows what differs.
    """
    for node in wiring.nodes:
        if any(map(is_integer_value, (*node.inputs, *node.outputs))) and not _taken(node):
            dtypes = ", ".join(dict.fromkeys(t.dtype for t in (*node.inputs, *node.outputs) if t))
            yield Found(wiring.operator(node), f"{_why(node)}: {dtypes}")


def _why(node: Node) -> str:
    rule = RULES.get(node.operator.op)
    if rule is None:
        return "an op that it does not know"
    return "in float only" if rule is all_float else "not with these types, scales or options"


def _taken(node: Node) -> bool:
    """The delegate's answer; an operator that lacks what its rule asks for is not taken."""
    try:
        with np.errstate(all="ignore"):
            return taken(node)
    except (QuantdiffError, NoKernel, LookupError, ValueError):
        return False
