"""Operators whose arithmetic nobody wrote out step by step: what goes in, real arithmetic, what the kernel makes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.paper.arithmetic.registry import Case, Position
from quantdiff.paper.working import Number, Operand, Sheet, Step
from quantdiff.quant import Array
from quantdiff.sim.graph.operators import run_by_rule
from quantdiff.sim.graph.real_arithmetic import everything, run_ideal
from quantdiff.sim.node import NoKernel
from quantdiff.sim.real.registry import real_of
from quantdiff.sim.registry import kernels


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
    operands = [
        _operand(f"x{k}", tensor, array, at if array is not None and array.shape == y.shape else None)
        for k, (tensor, array) in enumerate(zip(case.node.inputs, case.arrays, strict=True))
        if tensor is not None
    ]
    steps = (*_real(graph, operator, case, feeds, at), Step("y", "" if rule else formula, y[at].item()))
    whole = f"as a whole, sim/ops/{Path(inspect.getsourcefile(function) or operator.op).name}"
    return Sheet((*operands, _operand("y", case.node.y, y, at)), steps, rule=rule or whole)


def _real(graph: Graph, operator: Operator, case: Case, feeds: Mapping[int, Array], at: Position) -> Iterator[Step]:
    """Real arithmetic, where the op has a real function."""
    if real_of(case.node) is None:
        return
    try:
        (y, *_) = run_ideal(graph, operator, feeds, runtime=case.runtime, choice=everything)
    except NoKernel:
        return
    yield Step("real", "in double, to the nearest value that y can hold", y[0][at].item())


def _operand(role: str, tensor: Tensor, array: Array | None, at: Position | None) -> Operand:
    """A tensor, with the value that stands at ``at``, where one does."""
    quant = tensor.quant if tensor.quant is not None and len(tensor.quant.scale) == 1 else None
    scale, zero_point = (quant.scale[0], next(iter(quant.zero_point), 0)) if quant is not None else (None, None)
    value: Number | None = array[at].item() if array is not None and at is not None else None
    return Operand(role, tensor.name, tensor.dtype, scale, zero_point, at, value)
