"""A device that was measured: which rule each kind of operator obeys there, by the name of the rule.

A rule is the kernel of a runtime (``builtin``), a way to scale the exact sum (``S``, ``int16 half-up``; see
``sim/rounding/scaling.py``), or the real function with an ending (``real half-even``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.node import Node, NoKernel, quant_of
from quantdiff.sim.real.registry import INTEGERS, real_of
from quantdiff.sim.registry import Kernel, kernels
from quantdiff.sim.rounding.exact_sums import clamp_behind, exact_sums, scales_of, zero_point_behind
from quantdiff.sim.rounding.scaling import AFTER, FLOATS, all_endings, scale_sums, way_named
from quantdiff.sim.runtime import Runtime

REAL = "real "
RUNTIMES = {runtime.value: runtime for runtime in Runtime}


@dataclass(frozen=True, slots=True)
class Device:
    """The rules by kind of operator; ``value`` names it.

    Single operators, by index and name of the first output, come before their kind. A rule that is empty says that the
    device obeys none that is known.
    """

    value: str
    kinds: tuple[tuple[str, str], ...]
    operators: tuple[tuple[tuple[int, str], str], ...] = ()

    def rule_of(self, node: Node) -> str:
        """The rule of one operator.

        Raises:
            NoKernel: the device was never seen to run this kind, or obeys no rule that is known.
        """
        kind = kind_of(node)
        rule = dict(self.operators).get(place_of(node), dict(self.kinds).get(kind))
        if rule is None:
            raise NoKernel(f"{self.value} has no rule for {kind}: identify the device on a model that has one")
        if not rule:
            raise NoKernel(f"{self.value} says that the device obeys no known rule there")
        return rule


Rules = Runtime | Device
"""By whose rules the simulator computes."""


def kind_of(node: Node) -> str:
    """What operators have in common that obey one rule: op and types, such as ``QUANTIZE float32 → int8``."""
    given = [t.dtype for t in node.inputs[:2] if t is not None and t.quant is not None] or [
        t.dtype for t in node.inputs[:1] if t is not None
    ]
    made = node.outputs[0].dtype if node.outputs else ""
    types = " × ".join(dict.fromkeys(given))
    return f"{node.operator.op} {types}" + (f" → {made}" if made not in given else "")


def place_of(node: Node) -> tuple[int, str]:
    """Which operator of a model it is: its index, and the name of what it gives."""
    return node.operator.index, node.outputs[0].name if node.outputs else ""


def kernel_by(rule: str, node: Node) -> tuple[Runtime, Kernel | None]:
    """Whose kernel computes an operator by a rule, and what stands in for that kernel, if something does.

    Raises:
        NoKernel: there is no such rule for the op.
    """
    if rule in RUNTIMES:
        return RUNTIMES[rule], None
    own = kernels().get(node.operator.op)
    batched = own.batched if own else False
    way = way_named(rule)
    if way is not None:
        return Runtime.REFERENCE, Kernel(partial(_by_way, rule), batched, shared=False)
    if rule.startswith(REAL) and rule.removeprefix(REAL) in all_endings():
        return Runtime.REFERENCE, Kernel(partial(_by_real, rule.removeprefix(REAL)), batched, shared=False)
    raise NoKernel(f"there is no rule {rule!r}")


def is_rule(name: str) -> bool:
    """Whether there is a rule of that name."""
    real = name.startswith(REAL) and name.removeprefix(REAL) in all_endings()
    return name in RUNTIMES or real or way_named(name) is not None


def _by_way(rule: str, node: Node, *inputs: Array | None, runtime: Runtime) -> Array:
    del runtime
    way, scales = way_named(rule), scales_of(node)
    if way is None or way.scale not in scales:
        raise NoKernel(f"no rule {rule!r} for {node.operator.op}")
    y = scale_sums(exact_sums(node, *inputs), scales[way.scale], way, zero_point_behind(node))
    return y.clip(*clamp_behind(node)).astype(node.y.dtype)


def _by_real(ending: str, node: Node, *inputs: Array | None, runtime: Runtime) -> Array:
    del runtime
    return ended(real_steps(node, *inputs), node, ending)


def real_steps(node: Node, *inputs: Array | None) -> Array:
    """The real value of the output in steps from its zero point, double, before anything is rounded.

    Raises:
        NoKernel: the op has no real function for these types, or gives no integers.
    """
    real = real_of(node)
    if real is None or node.y.dtype not in INTEGERS:
        raise NoKernel("no real function")
    y = real.value(node, *inputs)
    scale, _ = quant_of(node.y).along(y.ndim)
    return np.asarray(y / scale.astype(np.float64))


def ended(steps: Array, node: Node, ending: str) -> Array:
    """The integers of real steps by an ending. Shape as ``steps``."""
    (zero_point,) = set(quant_of(node.y).zero_point) or {0}
    after, plain = ending.endswith(AFTER), FLOATS[ending.removesuffix(AFTER)]
    whole = plain(steps + zero_point) if after else plain(steps) + zero_point
    return whole.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)
