"""Operators of a device that has no runtime's kernel: its exact sum and how that is scaled, or the rule as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.paper.arithmetic.registry import Case, Position, known
from quantdiff.paper.arithmetic.scaling import add_zero_point, channel_of, clamp_step, signed
from quantdiff.paper.by_kernel import by_kernel
from quantdiff.paper.working import Sheet, Step
from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel, check_8_bit
from quantdiff.sim.rounding.exact_sums import clamp_behind, exact_sums, has_sums, scales_of, zero_point_behind
from quantdiff.sim.rounding.fixed_point import Rounding
from quantdiff.sim.rounding.requantization import ACCUMULATE, Channel
from quantdiff.sim.rounding.scaling import AFTER, LETTERS, Way, scale_sums, way_named


def by_rule(
    graph: Graph, operator: Operator, case: Case, fed: tuple[Mapping[int, Array], Position], rule: str
) -> Sheet:
    """The element by a rule that has a name (``docs/reference/rules.md``); products are those of every runtime.

    Raises:
        NoKernel: there is no such rule for this op and these types.
    """
    (values, at), way = fed, way_named(rule)
    sheet = by_kernel(graph, operator, case, values, at, rule)
    if way is None or not has_sums(case.node):
        return sheet
    steps, products = tuple(_scaled(case, at, way)), None
    with suppress(NoKernel):
        products = known()[operator.op](case, at).products if operator.op in known() else None
    return Sheet(sheet.operands, steps, products, f"{rule}: an exact sum, scaled")


def channels_by(node: Node, rule: str) -> tuple[Channel, ...]:
    """How the output channels of a sum of products in 8 bits are scaled, where the rule has a letter.

    Raises:
        NoKernel: it has none, or the op no such sum.
    """
    way, (letter, _, _) = way_named(rule), rule.partition(",")
    if way is None or letter not in LETTERS or node.operator.op not in ACCUMULATE:
        raise NoKernel(f"no integers that stand for {rule!r}")
    check_8_bit(node)
    scales = np.broadcast_to(scales_of(node)[way.scale], node.y.shape[-1])
    return tuple(channel_of(scale, Rounding(letter)) for scale in scales)


def _scaled(case: Case, at: Position, way: Way) -> Iterator[Step]:
    """The sum, its multiplier, and the way's own rounding; the zero point before it or behind it."""
    node, z = case.node, zero_point_behind(case.node)
    sums = exact_sums(node, *case.arrays)
    scale, total = np.broadcast_to(scales_of(node)[way.scale], sums.shape)[at], int(sums[at])
    after = way.ending.endswith(AFTER)
    rounded = int(scale_sums(np.asarray(total), scale, way, z)) - (0 if after else z)
    exact = total * float(scale) + (z if after else 0)
    words = f"{total} · multiplier" + (f" + {signed(z)}" if after else "")
    yield Step("sum", "of what is stored, zero points taken off", total)
    yield Step("multiplier", f"scales of the inputs by that of y, {way.scale}", float(scale))
    yield Step("round", f"{words}: {way.multiplier} {way.ending.removesuffix(AFTER)}", rounded, exact)
    if not after:
        yield add_zero_point(rounded, z)
    yield clamp_step(node, rounded if after else rounded + z, clamp_behind(node))
