"""Operators whose arithmetic nobody wrote out step by step: what goes in, real arithmetic, what the kernel makes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.paper.arithmetic.registry import Case, Position
from quantdiff.paper.working import Number, Operand, Sheet, Step
from quantdiff.quant import Array
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.operators import enclose_operator, run_by_rule
from quantdiff.sim.graph.real_arithmetic import everything, run_ideal
from quantdiff.sim.node import NoKernel, kernels
from quantdiff.sim.real.registry import real_of


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
