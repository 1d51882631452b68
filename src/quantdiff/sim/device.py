"""A device that was measured: which rule each kind of operator obeys there, by the name of the rule.

A rule is the kernel of a runtime (``builtin``), a way to scale the exact sum (``S``, ``int16 half-up``; see
``sim/rounding/scaling.py``), the real function with an ending (``real half-even``), or, where floats are quantized, a
quotient or a product by the inverse of the scale, with an ending (``inverse float32 half-even``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from quantdiff.ops import traits
from quantdiff.quant import INTEGER_RANGE, Array
from quantdiff.sim.node import INTEGERS, Kernel, Node, NoKernel, kernels, quant_of, real_of, scale_of
from quantdiff.sim.rounding.exact_sums import clamp_behind, exact_sums, scales_of, zero_point_behind
from quantdiff.sim.rounding.scaling import AFTER, FLOATS, all_endings, scale_sums, way_named
from quantdiff.sim.runtime import Runtime

REAL = "real "
QUOTIENTS = tuple(f"{how} {dtype} " for dtype in ("float32", "float64") for how in ("quotient", "inverse"))
"""How a float becomes steps: divided by the scale, or multiplied by its inverse."""
WRAPS = ", wraps"
"""What lies beyond the type of integers keeps its low bits, where others saturate; of quotients alone."""
FAR = 2.0**30
"""Steps beyond every type of integers that is quantized to."""
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
        if rule is None and _rounds_nothing(node):
            return Runtime.REFERENCE.value
        if rule is None:
            raise NoKernel(f"{self.value} has no rule for {kind}: identify the device on a model that has one")
        if not rule:
            raise NoKernel(f"{self.value} says that the device obeys no known rule there")
        return rule

    def runtime_of(self, node: Node) -> Runtime:
        """The runtime whose kernel gives what the device gives.

        Raises:
            NoKernel: no runtime obeys its rule.
        """
        rule = self.rule_of(node)
        if rule not in RUNTIMES:
            raise NoKernel(f"{self.value} obeys no runtime's rule there, but {rule}")
        return RUNTIMES[rule]


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


def _rounds_nothing(node: Node) -> bool:
    """Whether the op only moves values, here from one grid to the same: what every device does alike."""
    known = traits(node.operator.op)
    grids = {t.quant for t in (*node.inputs, *node.outputs) if t is not None and t.quant is not None}
    return known.by_shape or (known.moves and len(grids) <= 1)


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
    how, ending = _parts(rule)
    if how:
        function = partial(_by_real, ending) if how == REAL else partial(_by_quotient, how, ending)
        return Runtime.REFERENCE, Kernel(function, batched, shared=False)
    raise NoKernel(f"there is no rule {rule!r}")


def is_rule(name: str) -> bool:
    """Whether there is a rule of that name."""
    return name in RUNTIMES or bool(_parts(name)[0]) or way_named(name) is not None


def _parts(rule: str) -> tuple[str, str]:
    """How the steps are had that an ending rounds, and that ending; empty for other rules."""
    how = next((each for each in (REAL, *QUOTIENTS) if rule.startswith(each)), "")
    ending = rule.removeprefix(how)
    plain = ending.removesuffix(WRAPS) if how in QUOTIENTS else ending
    return (how, ending) if plain in all_endings() else ("", "")


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


def _by_quotient(how: str, ending: str, node: Node, x: Array, *, runtime: Runtime) -> Array:
    del runtime
    return ended(float_steps(how, node, x), node, ending)


def quantizes_floats(node: Node) -> bool:
    """True where a float becomes an integer of one scale."""
    quant = node.y.quant
    return node.operator.op == "QUANTIZE" and node.x.dtype == "float32" and quant is not None and quant.axis is None


def float_steps(how: str, node: Node, x: Array) -> Array:
    """A float in steps of the output, in the type that ``how`` names. Shape as ``x``.

    Raises:
        NoKernel: the operator quantizes no float.
    """
    if not quantizes_floats(node):
        raise NoKernel("no floats that are quantized")
    operation, dtype = how.split()
    given, scale = x.astype(dtype), scale_of(node.y).astype(dtype)
    steps = given / scale if operation == "quotient" else given * (np.ones((), dtype) / scale)
    return np.asarray(np.clip(steps, -FAR, FAR))


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
    z, wraps = np.asarray(zero_point, steps.dtype), ending.endswith(WRAPS)
    plain = ending.removesuffix(WRAPS)
    function = FLOATS[plain.removesuffix(AFTER)]
    whole = function(steps + z) if plain.endswith(AFTER) else function(steps) + z
    if wraps:
        return whole.astype(np.int64).astype(node.y.dtype)
    return whole.clip(*INTEGER_RANGE[node.y.dtype]).astype(node.y.dtype)
