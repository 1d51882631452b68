"""Operators whose arithmetic nobody wrote out step by step: by the kernel, by a device's rule, by their subgraphs.

The kernel: what goes in, real arithmetic, what it makes. The rule: an exact sum and how that is scaled. Subgraphs and
states: which operators lead to the element, call by call.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.paper.arithmetic.steps import Case, Position, add_zero_point, channel_of, clamp_step, known, signed
from quantdiff.paper.working import Number, Operand, Sheet, Step
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import enclose_operator, everything, run_by_rule, run_ideal
from quantdiff.sim.graph.simulator import Called, Calls, replay, run_control
from quantdiff.sim.node import Node, NoKernel, check_8_bit, kernels, real_of
from quantdiff.sim.rounding.exact_sums import (
    ACCUMULATE,
    Channel,
    clamp_behind,
    exact_sums,
    has_sums,
    scales_of,
    zero_point_behind,
)
from quantdiff.sim.rounding.fixed_point import Rounding
from quantdiff.sim.rounding.scaling import AFTER, LETTERS, Way, scale_sums, way_named
from quantdiff.sim.xnnpack.attention import attention


def by_kernel(
    graph: Graph, operator: Operator, case: Case, values: Mapping[int, Array], at: Position, rule: str = ""
) -> Sheet:
    """The element by the simulator's kernel, or by a rule that stands in for it, beside real arithmetic.

    Raises:
        NoKernel: the simulator has none either.
    """
    feeds = {i: values[i][None] for i in operator.inputs if i in values}
    y = run_by_rule(graph, operator, feeds, rule or case.runtime.value)[0][0]
    function = inspect.unwrap(kernels()[operator.op].function)
    formula = (inspect.getdoc(function) or "").partition("\n")[0].replace("``", "").rstrip(".")
    steps = (*_real(graph, operator, case, feeds, at), Step("y", "" if rule else formula, y[at].item()))
    whole = f"as a whole, sim/ops/{Path(inspect.getsourcefile(function) or operator.op).name}"
    return Sheet((*operands_of(case, y, at), operand_of("y", case.node.y, y, at)), steps, rule=rule or whole)


def by_bounds(
    graph: Graph, operator: Operator, case: Case, fed: tuple[Mapping[int, Array], Position], rules: Rules
) -> Sheet:
    """The least and the largest value that the element can have, where the order of the runtime's sums is not known.

    Raises:
        NoKernel: there is no interval either.
    """
    values, at = fed
    feeds = {i: values[i][None] for i in operator.inputs if i in values}
    y, (low, high) = values[operator.outputs[0]], bounds_of(graph, operator, feeds, at, rules)
    steps = (
        *_real(graph, operator, case, feeds, at),
        Step("least", "what the sums give in any order, and every rounding on the way", low),
        Step("largest", "the same", high),
        Step("y", "the middle of both", (low + high) / 2),
    )
    operands = (*operands_of(case, y, at), operand_of("y", case.node.y, y, at))
    return Sheet(operands, steps, rule="in bounds: the order of the runtime's sums is not known", bounds=(low, high))


def bounds_of(
    graph: Graph, operator: Operator, feeds: Mapping[int, Array], at: Position, rules: Rules
) -> tuple[Number, Number]:
    """The ends of the interval at one place; of complex numbers both parts have one.

    Raises:
        NoKernel: there is none.
    """
    found = enclose_operator(graph, operator, feeds, rules)
    low, high = (array[0].astype(np.float64) for array in (found.low, found.high))
    if graph.tensors[operator.outputs[0]].dtype.startswith("complex"):
        low, high = (np.ascontiguousarray(array).view(np.complex128) for array in (low, high))
    return low[at].item(), high[at].item()


def operands_of(case: Case, y: Array, at: Position) -> Iterator[Operand]:
    """The inputs, each with its element at the place where it has the output's shape."""
    for k, (tensor, array) in enumerate(zip(case.node.inputs, case.arrays, strict=True)):
        if tensor is not None:
            yield operand_of(f"x{k}", tensor, array, at if array is not None and array.shape == y.shape else None)


def _real(graph: Graph, operator: Operator, case: Case, feeds: Mapping[int, Array], at: Position) -> Iterator[Step]:
    """Real arithmetic, where the op has a real function."""
    if real_of(case.node) is None:
        return
    try:
        (y, *_) = run_ideal(graph, operator, feeds, runtime=case.runtime, choice=everything)
    except NoKernel:
        return
    yield Step("real", "in double, to the nearest value that y can hold", y[0][at].item())


def operand_of(role: str, tensor: Tensor, array: Array | None, at: Position | None) -> Operand:
    """A tensor, with the value that stands at ``at``, where one does."""
    quant = tensor.quant if tensor.quant is not None and len(tensor.quant.scale) == 1 else None
    scale, zero_point = (quant.scale[0], next(iter(quant.zero_point), 0)) if quant is not None else (None, None)
    value: Number | None = array[at].item() if array is not None and at is not None else None
    return Operand(role, tensor.name, tensor.dtype, scale, zero_point, at, value)


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


GIVES = {
    "IF": "what the branch gives",
    "WHILE": "what the last body gives, or what went in",
    "STABLEHLO_COMPOSITE": "what its decomposition gives",
}
AS_A_WHOLE = "as a whole, sim/xnnpack/attention.py"
Values = Mapping[int, Array]


def by_body(model: Model, case: Case, values: Values, rules: Rules, at: Position) -> Sheet:
    """IF, WHILE, composites: an element of each operator of their subgraphs, call by call.

    Raises:
        NoKernel: something in a body has no kernel, or a loop does not end.
    """
    operator, kept = case.node.operator, list[Called]()
    feeds = {i: values[i][None] for i in operator.inputs if i in values}
    y = run_control(model.main, operator, feeds, rules, model.subgraphs, Calls(kept=kept))[0][0]
    formula = GIVES[operator.op] if kept else (inspect.getdoc(attention) or "").partition("\n")[0].replace("``", "")
    steps = (*_called(kept, y.shape, at), Step("y", formula.rstrip("."), y[at].item()))
    rule = "subgraphs, call by call; an element of each operator" if kept else AS_A_WHOLE
    return Sheet((*operands_of(case, y, at), operand_of("y", case.node.y, y, at)), steps, rule=rule)


def _called(kept: Sequence[Called], shape: tuple[int, ...], at: Position) -> Iterator[Step]:
    counts = Counter[str]()
    for call in kept:
        counts[call.which] += 1
        for inner in call.body.operators:
            yield from _step(call.body, inner, call.values, f"{call.which} {counts[call.which]}: ", (shape, at))


def _step(
    body: Graph, inner: Operator, values: Values, before: str, asked: tuple[tuple[int, ...], Position]
) -> Iterator[Step]:
    """The element at the place asked for where the shape is the same, else the first one; what is empty has none."""
    (shape, at), index = asked, next(iter(inner.outputs), -1)
    if index in values and values[index][0].size:
        array, tensor = values[index][0], body.tensors[index]
        place = at if array.shape == shape else (0,) * array.ndim
        where = f", element {list(place)}" if place else ""
        yield Step(f"{before}{inner.op} #{inner.index}", f"{tensor.label}{where}", array[place].item())


def by_state(model: Model, case: Case, samples: Values, rules: Rules, at: Position) -> Sheet:
    """READ_VARIABLE: what was stored before, sample by sample, and what the variable holds then.

    Shapes: of ``samples`` all up to the one that is asked for, (samples, …).

    Raises:
        NoKernel: nothing was stored, or what is stored cannot be simulated.
    """
    graph, operator = model.main, case.node.operator
    found = replay(graph, samples, rules, model.subgraphs)
    for item in found.missing:
        raise NoKernel(f"{item.op} #{item.index}: {item.why}")
    y = found.values[operator.outputs[0]][-1]
    steps = (*_stored(graph, operator, samples, (y.shape, at)), Step("y", "what the variable holds", y[at].item()))
    rule = "what was stored last"
    return Sheet((operand_of("y", case.node.y, y, at),), steps, rule=rule)


def _stored(
    graph: Graph, operator: Operator, samples: Values, asked: tuple[tuple[int, ...], Position]
) -> Iterator[Step]:
    """What is stored into the variable in each sample, up to this reading."""
    (shape, at), name = asked, _variable(graph, operator)
    writers = [each for each in graph.operators if each.op == "ASSIGN_VARIABLE" and _variable(graph, each) == name]
    count = max((len(array) for array in samples.values()), default=1)
    for sample in range(count):
        for each in writers:
            array = samples.get(each.inputs[1])
            earlier = sample < count - 1 or each.index < operator.index
            if earlier and array is not None and array[sample].shape == shape:
                text = f"{graph.tensors[each.inputs[1]].label}, element {list(at)}"
                yield Step(f"sample {sample}: {each.op} #{each.index}", text, array[sample][at].item())


def _variable(graph: Graph, operator: Operator) -> object:
    """The name under which VAR_HANDLE knows what the operator reads or writes; None where nothing names it."""
    handle = graph.producer(operator.inputs[0])
    return None if handle is None else (handle.options.get("container"), handle.options.get("shared_name"))
