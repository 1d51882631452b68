"""Work out one output element as a person would on paper, and hold it against the real runtime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantdiff.errors import BadModel, NoSuchElement, NotConfirmed, UnsupportedOp
from quantdiff.graph import STATE, Graph, Model, Operator, dense_values
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.arithmetic.steps import Case, known
from quantdiff.paper.by_kernel import bounds_of, by_body, by_bounds, by_kernel, by_rule, by_state
from quantdiff.paper.working import Given, Number, Sheet, Working
from quantdiff.quant import Array, differing
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.inputs import inputs_of, load_data, may_batch
from quantdiff.run.runner import Runner, started
from quantdiff.run.runtimes import RUNTIMES, check_installed, versions
from quantdiff.sim.device import Device, Rules, kernel_by
from quantdiff.sim.enclosures import ENCLOSURES
from quantdiff.sim.graph.operators import kernel_of, ran_by
from quantdiff.sim.graph.simulator import CONTROL, replay, run_stateless
from quantdiff.sim.node import Node, NoKernel, kernels, node_of
from quantdiff.sim.runtime import Runtime

HANDLE = "VAR_HANDLE"
NO_NUMBERS = {
    HANDLE: "gives the name of a variable; READ_VARIABLE gives what it holds",
    "ASSIGN_VARIABLE": "gives no tensor but stores its input; READ_VARIABLE gives what was stored",
    "CALL_ONCE": "gives no tensor but runs a subgraph once, before the first sample",
}


@dataclass(frozen=True, slots=True)
class Question:
    """Which element of which operator, on which runtime, by name. The first index of ``element`` is the sample."""

    op: int
    element: tuple[int, ...]
    runtime: str = "xnnpack"


def load_and_work(model: Path, data: Path | Batch, question: Question, timeout: float = TIMEOUT) -> Working:
    """As ``work``, from files."""
    return work(load_tflite(model), load_data(data, model), question, timeout)


def work(model: Model, batch: Batch, question: Question, timeout: float = TIMEOUT) -> Working:
    """The arithmetic of one element, on the tensors that the runtime itself computed up to there.

    Raises:
        UnsupportedOp: this op, or these types, cannot be written out.
        NoSuchElement: no such operator, sample or element.
        NotConfirmed: the runtime gave another value than this arithmetic.
        NotSimulated: nobody knows the runtime's rules.
        RuntimeFailed, BadModel, BadData: the runtime refuses, or model and data do not fit.
    """
    graph = model.main
    operator = _operator(graph, question.op)
    check_installed([question.runtime])
    sample, at = place(graph, operator, question.element)
    with started(question.runtime, timeout) as runner:
        rules = runner.known_rules
        samples = _tensors_to_sample(model, inputs_of(model, batch), sample, question, runner)
    values = {index: array[-1] for index, array in samples.items()}
    arrays = _arrays(graph, operator, values)
    given = values[operator.outputs[0]]
    _check_place(operator, at, given.shape)
    node = node_of(graph, operator)
    sheet = _sheet(model, node, arrays, samples, (rules, at))
    others = tuple(_given(model, operator, samples, other, at) for other in _neighbours(rules))
    gave = given[at].item()
    claims = [gave, *(each.value for each in others if each.runtime == rules.value and sheet.bounds is None)]
    confirm(operator, sheet, claims, question.runtime)
    return Working(
        question.op, operator.op, question.element, at, question.runtime, ran_by(node, rules),
        sheet, gave, _real(sheet, gave), others, _made_by(model, batch),
    )  # fmt: skip


def _operator(graph: Graph, index: int) -> Operator:
    if not 0 <= index < len(graph.operators):
        raise NoSuchElement(f"no operator #{index}: the model has {len(graph.operators)}; quantdiff inspect lists them")
    operator = graph.operators[index]
    if operator.op not in (*kernels(), *ENCLOSURES, *CONTROL, *STATE):
        raise UnsupportedOp(f"{_name(operator)} cannot be written out: the simulator has no such operator")
    if not operator.outputs or operator.op == HANDLE:
        raise NoSuchElement(f"{_name(operator)} {NO_NUMBERS.get(operator.op, 'gives no tensor')}: it has no element")
    return operator


def _name(operator: Operator) -> str:
    return f"{operator.op} #{operator.index}"


def place(graph: Graph, operator: Operator, element: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Invocation and place in the output tensor: the sample in front, or in place of the tensor's first index."""
    shape = graph.tensors[operator.outputs[0]].shape
    rows = next(iter(graph.tensors[graph.inputs[0]].shape), 1) if graph.inputs else 1
    if len(element) == len(shape) and max(1, shape[0]) == max(1, rows):
        invocation, row = divmod(element[0], max(1, rows))
        return invocation, (row, *element[1:])
    return element[0], element[1:]


def _check_place(operator: Operator, at: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if len(at) != len(shape) or any(not 0 <= i < size for i, size in zip(at, shape, strict=True)):
        raise NoSuchElement(
            f"{_name(operator)}: its output has shape {list(shape)}, no element {list(at)}; give the sample and then "
            f"{len(shape)} indices, or {len(shape)} in all where the first of these counts samples"
        )


def _tensors_to_sample(
    model: Model, inputs: Sequence[Array], sample: int, question: Question, runner: Runner
) -> dict[int, Array]:
    """Every tensor as the runtime gave it; the last sample is the one, a model with a state sees those before it."""
    count = min((len(array) for array in inputs), default=1)
    if not 0 <= sample < count:
        raise NoSuchElement(f"no sample {question.element[0]}: the data have {count}, counted from 0")
    first = sample if may_batch(model.main) else 0
    part = [array[first : sample + 1] for array in inputs]
    runner.attend(model, inputs)
    seen = read_everything(model, part, runner)
    if seen.changed:
        raise NotConfirmed(f"{question.runtime} gives other outputs when the tensors between are read")
    return dict(seen.values)


def _arrays(graph: Graph, operator: Operator, values: dict[int, Array]) -> list[Array | None]:
    if operator.outputs[0] not in values:
        raise UnsupportedOp(f"{_name(operator)}: its output cannot be read from the runtime")
    if operator.op in STATE:
        return [None] * len(operator.inputs)  # a variable is no tensor
    return [None if i < 0 else values[i] if i in values else _constant(graph, operator, i) for i in operator.inputs]


def _constant(graph: Graph, operator: Operator, index: int) -> Array | None:
    tensor = graph.tensors[index]
    if tensor.is_variable:
        return None  # a state starts afresh
    if not tensor.is_constant:
        raise UnsupportedOp(f"{_name(operator)}: tensor {tensor.name!r} cannot be read from the runtime")
    return dense_values(tensor)


def _sheet(
    model: Model,
    node: Node,
    arrays: Sequence[Array | None],
    samples: dict[int, Array],
    asked: tuple[Rules, tuple[int, ...]],
) -> Sheet:
    """Step by step where that is known for these types, else by the kernel or the rule as a whole."""
    (rules, at), operator = asked, node.operator
    values = {index: array[-1] for index, array in samples.items()}
    try:
        if operator.op in STATE:
            return by_state(model, Case(node, arrays, Runtime.REFERENCE), samples, rules, at)
        if operator.op in CONTROL:
            return by_body(model, Case(node, arrays, Runtime.REFERENCE), values, rules, at)
        return _by_arithmetic(model.main, node, arrays, values, asked)
    except NoKernel as error:
        raise UnsupportedOp(f"{_name(operator)} cannot be written out: {error}") from error
    except (ValueError, IndexError, TypeError, ArithmeticError) as error:
        raise BadModel(f"{_name(operator)}: its tensors do not fit together ({error})") from error


def _by_arithmetic(
    graph: Graph,
    node: Node,
    arrays: Sequence[Array | None],
    values: dict[int, Array],
    asked: tuple[Rules, tuple[int, ...]],
) -> Sheet:
    (rules, at), operator = asked, node.operator
    if isinstance(rules, Device):
        runtime, own = kernel_by(rules.rule_of(node), node)
        if own is not None:
            return by_rule(graph, operator, Case(node, arrays, runtime), (values, at), rules.rule_of(node))
    else:
        runtime = rules
    case = Case(node, arrays, kernel_of(node, runtime))
    with suppress(NoKernel):
        if operator.op in known():
            return known()[operator.op](case, at)
    try:
        return by_kernel(graph, operator, case, values, at)
    except NoKernel:
        with suppress(NoKernel):
            return by_bounds(graph, operator, case, (values, at), rules)
        raise


def _neighbours(rules: Rules) -> Sequence[Rules]:
    """Whose rules to show beside each other: those of one architecture, of this one's beside a device's."""
    if not isinstance(rules, Device):
        return rules.neighbours
    return (rules, *(entry.simulated for entry in RUNTIMES.values() if entry.simulated))


def _given(model: Model, operator: Operator, samples: dict[int, Array], rules: Rules, at: tuple[int, ...]) -> Given:
    """What the simulator gives by these rules on the same inputs."""
    graph, kernel = model.main, ran_by(node_of(model.main, operator), rules)
    feeds = {i: samples[i][-1:] for i in operator.inputs if i in samples}
    try:
        if operator.op in STATE:
            y = replay(graph, samples, rules, model.subgraphs).values[operator.outputs[0]][-1]
        else:
            y = run_stateless(graph, model.subgraphs, rules, None, operator, feeds)[0][0]
    except NoKernel as error:
        with suppress(NoKernel):
            return Given(rules.value, kernel, None, bounds=bounds_of(graph, operator, feeds, at, rules))
        return Given(rules.value, kernel, None, str(error))
    except KeyError:
        return Given(rules.value, kernel, None, "the variable holds nothing there")
    return Given(rules.value, kernel, y[at].item())


def confirm(operator: Operator, sheet: Sheet, claims: Sequence[Number | None], runtime: str) -> None:
    """The steps, the simulator and the runtime must give the same bits, or the runtime a value within the bounds."""
    if sheet.bounds is not None and all(claim is not None and between(claim, sheet.bounds) for claim in claims):
        return
    if any(claim is None or differing(np.asarray(claim), np.asarray(sheet.result)) for claim in claims):
        raise NotConfirmed(
            f"{_name(operator)}: on paper {sheet.result}, {runtime} gave {claims[0]}; "
            "quantdiff verify shows which operators differ with these versions"
        )


def between(value: Number, bounds: tuple[Number, Number]) -> bool:
    """Whether both parts of a number lie within those of two others, as NaN does within NaN."""
    x, low, high = (np.asarray([number.real, number.imag]) for number in (value, *bounds))
    return bool(np.all(((low <= x) & (x <= high)) | (np.isnan(x) & np.isnan(low))))


def _real(sheet: Sheet, gave: Number) -> Number:
    y = sheet.operands[-1]
    if isinstance(gave, complex):
        return gave
    return float(gave) if y.scale is None or y.zero_point is None else y.scale * (gave - y.zero_point)


def _made_by(model: Model, batch: Batch) -> dict[str, object]:
    return {"command": "work", "model": str(model.path), "data": batch.source, "versions": versions()}
