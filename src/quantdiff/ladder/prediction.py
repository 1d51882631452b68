"""The error to expect, before any runtime is run: exactly, from its simulator, and in closed form.

Where the reference does not round, rounding is noise through the file's graph. What weights, biases, the input's grid
and clipping change is computed, in real arithmetic. Each rounding adds a twelfth of a step squared to the variance
about that; variances go through sums by ``w²`` and through curves by the square of their slope (to first order: Widrow
and Kollár, "Quantization Noise", 2008, chapters 4 and 8). Roundings count as independent and their sum as normal. What
is clipped carries no noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Operator
from quantdiff.ladder.account import layers_of
from quantdiff.ladder.closed_form import expected_flips, free_share, positive_part
from quantdiff.ladder.explanation import BIAS, CLIPPING, INPUT, WEIGHTS, Explanation
from quantdiff.ladder.real_graph import Values
from quantdiff.ladder.real_operator import IDENTITY, aligned, compute, real_function
from quantdiff.ladder.rungs import Target, by_run, lowered_values, real_inputs
from quantdiff.ladder.set_up import Ladder, Question, set_up
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.ops import traits
from quantdiff.quant import Array, Trace
from quantdiff.run.inner_tensors import Reading, read_at_once, readable_tensors, simulate_tensors
from quantdiff.sim.device import Rules
from quantdiff.sim.node import ACTIVATION_RANGE, NoKernel, node_of
from quantdiff.sim.ops.resampling import filter_of

CODES = 256
NOISY, SET_UP_ON = 16, 64
"""Samples whose variances are followed, and those that tell which output is which."""


@dataclass(frozen=True, slots=True)
class ExpectedLayer:
    """Shares of a layer's elements that will differ: by the simulator, and in closed form (None: none is known).

    ``codes`` counts the reference's 8-bit integers. Shape (channels, 256); None for wider ones.
    """

    layer: str
    tensor: str
    exactly: float
    closed_form: float | None = None
    codes: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The same for the outputs, of which there are ``count``, and layer by layer."""

    reference: str
    runtime: str
    count: int
    exactly: float
    closed_form: float | None
    layers: tuple[ExpectedLayer, ...]

    def beside(self, explanation: Explanation) -> Explanation:
        """An explanation with what was expected beside what was measured."""
        shares = {each.tensor: each for each in self.layers}
        layers = tuple(
            replace(layer, expected_exactly=each.exactly, expected=each.closed_form)
            if (each := shares.get(layer.tensor))
            else layer
            for layer in explanation.layers
        )
        return replace(explanation, expected_exactly=self.exactly, expected=self.closed_form, layers=layers)


Tell = Callable[[Prediction], None]


def unheard(expected: Prediction) -> None:
    """Tell nobody."""
    del expected


@dataclass(slots=True)
class Tally:
    """What is added up of one layer while the data pass by."""

    count: int = 0
    differing: int = 0
    codes: Array | None = None

    def add(self, reference: Array, simulated: Array) -> None:
        """Integers of both, of one slice. Shapes: (samples, …, channels)."""
        self.count += reference.size
        self.differing += int(np.count_nonzero(simulated.reshape(reference.shape) != reference))
        if reference.dtype.itemsize == 1:
            counts = _codes(reference)
            self.codes = counts if self.codes is None else self.codes + counts

    def __add__(self, other: Tally) -> Tally:
        codes = [each.codes for each in (self, other) if each.codes is not None]
        return Tally(
            self.count + other.count, self.differing + other.differing, sum(codes[1:], codes[0]) if codes else None
        )


def predict(question: Question, runtime: Rules) -> Prediction | None:
    """What will differ between the two models on a runtime, which need not be installed.

    None where the simulator lacks an operator, or for no data.

    Raises:
        BadData: the data do not fit a model's inputs.
        NotComparable: the outputs of the two do not fit each other.
    """
    begun = set_up_prediction(question, runtime) if len(question.batch) else None
    found = None if begun is None else foreseen(begun, question.batch)
    return None if begun is None or found is None else predicted(begun, found)


@dataclass(frozen=True, slots=True)
class Begun:
    """What the first samples tell, and the share of each tensor that noise will make differ."""

    ladder: Ladder
    runtime: Rules
    noise: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What is added up of some samples: of the outputs, and layer by layer."""

    outputs: Tally
    layers: Mapping[int, Tally]

    def __add__(self, other: Foreseen) -> Foreseen:
        layers = {i: tally + other.layers[i] for i, tally in self.layers.items()}
        return Foreseen(self.outputs + other.outputs, layers)


def set_up_prediction(question: Question, runtime: Rules) -> Begun | None:
    """By the first samples; None where the simulator lacks an operator. Raises as ``predict``."""
    tensors = readable_tensors(question.model.main, runtime)
    first = question.batch.part(slice(min(SET_UP_ON, read_at_once(question.model, tensors))))
    try:
        with closing(simulate_tensors(question.model, tensors, first, runtime)) as readings:
            reading = next(readings)
            ladder = set_up(question, reading, question.trace(reading.rows))
            return Begun(ladder, runtime, _noise(ladder, reading))
    except UnsupportedOp:
        return None


def foreseen(begun: Begun, batch: Batch) -> Foreseen | None:
    """What the simulator gives for some samples; None where it lacks an operator. Raises as ``predict``."""
    question, outputs, layers = begun.ladder.question, Tally(), dict[int, Tally]()
    tensors = readable_tensors(question.model.main, begun.runtime)
    try:
        with closing(simulate_tensors(question.model, tensors, batch, begun.runtime)) as readings:
            for reading in readings:
                _add(begun.ladder, reading, question.trace(reading.rows), outputs, layers)
    except UnsupportedOp:
        return None
    return Foreseen(outputs, layers)


def predicted(begun: Begun, found: Foreseen) -> Prediction:
    """The prediction of all that was added up."""
    return _value(begun.ladder, begun.runtime, found.outputs, found.layers, begun.noise)


def _noise(ladder: Ladder, reading: Reading) -> dict[int, float]:
    """By tensor the share that will differ, of the first samples, where the reference rounds nothing itself."""
    found = ladder.switches
    if found is None or found.own:
        return {}
    inputs = real_inputs(ladder.question.model, reading.rows.part(slice(NOISY)))
    return expected_shares(found, inputs)


def _add(ladder: Ladder, reading: Reading, own: Trace, outputs: Tally, layers: dict[int, Tally]) -> None:
    targets = ladder.grids.targets(reading.outputs)
    flat = [by_run(value.real, len(reading.inputs[0])) for value in own.outputs]
    for target, ours in zip(targets, ladder.grids.of_reference(flat), strict=True):
        outputs.count += target.values.size
        outputs.differing += int(np.count_nonzero(Target(ours.reshape(-1), target.tolerance).wrong(target.values)))
    if ladder.switches is None:
        return
    tensors = [i for _, i in layers_of(ladder.switches) if i in reading.values]
    for tensor, values in lowered_values(ladder.switches, reading.rows, tensors).items():
        stored = reading.values[tensor]
        if stored.dtype.kind in "iu":
            ours = ladder.switches.file.grids[tensor].integers(values).astype(stored.dtype)
            layers.setdefault(tensor, Tally()).add(ours, stored)


def _value(
    ladder: Ladder, runtime: Rules, outputs: Tally, layers: Mapping[int, Tally], noise: Mapping[int, float]
) -> Prediction:
    """The shares, with those of the closed form: by rare flips where the reference rounds too, else by ``noise``."""
    found = ladder.switches
    closed = dict(noise)
    names: dict[int, str] = {}
    if found is not None:
        names = {i: name for name, i in layers_of(found)}
        graph = found.file.graph
        inside = {
            i: free_share(graph, graph.producer(i), i, tally.codes)
            for i, tally in layers.items()
            if tally.codes is not None
        }
        flips = expected_flips(found, runtime, inside) if found.own else {}
        closed |= {i: flips[i].share for i in layers if i in flips}
    ends = () if found is None else found.ends
    last = [closed[i] for i in ends if i is not None and i in closed]
    return Prediction(
        ladder.question.kind,
        runtime.value,
        outputs.count,
        outputs.differing / outputs.count,
        last[0] if len(last) == len(ends) == 1 else None,
        tuple(
            ExpectedLayer(
                names[i], ladder.question.model.main.tensors[i].label, t.differing / t.count, closed.get(i), t.codes
            )
            for i, t in layers.items()
        ),
    )


def _codes(integers: Array) -> Array:
    """How often each integer, channel by channel. Shapes: (…, channels) -> (channels, 256)."""
    channels = integers.shape[-1] if integers.ndim > 1 else 1
    codes = integers.reshape(-1, channels).astype(np.int64) - np.iinfo(integers.dtype).min
    counts = np.bincount((codes + CODES * np.arange(channels)).ravel(), minlength=CODES * channels)
    return counts.reshape(channels, CODES)


ROUNDING = 1 / 12  # of a step squared: the variance of an error that is anywhere in a step alike
ELEMENTWISE = ("ADD", "SUB", "MUL", "DIV", "SQUARED_DIFFERENCE", "PRELU", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC",
               "TANH", "GELU", "ELU", "EXP", "LOG", "SQRT", "RSQRT", "RELU", "RELU6", "RELU_N1_TO_1", "ABS", "NEG",
               "SQUARE", "SIN", "COS")  # fmt: skip
Rule = Callable[[Switches, Operator, Values, Mapping[int, Array]], Array]
SLOPE = 0.5  # steps to each side, over which the slope of a curve is taken


def expected_shares(switches: Switches, inputs: Sequence[Array]) -> dict[int, float]:
    """Share of the elements of each tensor on a grid that will differ, by index; up to what has no variance here.

    Shapes: inputs (samples, *shape of the model's input), real.

    Raises:
        UnsupportedOp: an operator has no real function.
    """
    file, found = switches.file, dict[int, float]()
    reference = file.run(inputs, switches.rewritten)
    values = {**file.constants, **file.run(inputs, switches.setting(frozenset({INPUT, WEIGHTS, BIAS, CLIPPING})))}
    variances: dict[int, Array] = {i: np.zeros(values[i].shape) for i in file.graph.inputs}
    for operator in file.operators:
        made = _of_operator(switches, operator, values, variances)
        for tensor in operator.outputs if made is not None else ():
            assert made is not None
            variances[tensor] = np.broadcast_to(made, values[tensor].shape)
            if tensor in file.varying:
                grid, bounds = file.grids[tensor], ACTIVATION_RANGE.get(_activation(operator), (-np.inf, np.inf))
                low, high = (max(grid.ends[0], bounds[0]), min(grid.ends[1], bounds[1]))
                inside = (values[tensor] > low) & (values[tensor] < high)
                changed = (values[tensor].clip(low, high) - reference[tensor].clip(low, high)) / grid.scale
                spread = inside * np.sqrt(variances[tensor]) / grid.scale
                found[tensor] = float(differing(changed, spread).mean())
                variances[tensor] = inside * (variances[tensor] + ROUNDING * grid.scale**2)
    return found


def differing(mean: Array, spread: Array) -> Array:
    """How likely a value comes to another step, whose error in steps is normal: ``E min(|e|, 1)``. Shapes are equal."""
    ends = positive_part(mean, spread) + positive_part(-mean, spread)
    return np.asarray(ends - positive_part(mean - 1, spread) - positive_part(-mean - 1, spread))


def _activation(operator: Operator) -> str:
    return str(operator.options.get("fused_activation_function", "NONE"))


def _of_operator(
    switches: Switches, operator: Operator, values: Values, variances: Mapping[int, Array]
) -> Array | None:
    """The variance of what an operator gives before its grid, real units squared; None where nothing is known."""
    file = switches.file
    moving = [i for i in operator.inputs if i in values and i not in file.constants]
    how = _rule_of(operator.op)
    if how is None or not moving or len(operator.outputs) != 1 or any(i not in variances for i in moving):
        return None
    try:
        return how(switches, operator, values, variances)
    except (NoKernel, UnsupportedOp, ValueError, IndexError, TypeError):
        return None


def _rule_of(op: str) -> Rule | None:
    known = traits(op)
    if known.weights is not None:
        return _of_sums
    if known.moves or op in IDENTITY:
        return _moved
    return _by_slopes if op in ELEMENTWISE else RULES.get(op)


def _moved(switches: Switches, operator: Operator, values: Values, variances: Mapping[int, Array]) -> Array:
    """As the values; of several the largest where one is chosen."""
    return _with(switches, operator, variances, values)


def _with(switches: Switches, operator: Operator, given: Values, values: Values) -> Array:
    """The operator without its activation and its bias, other arrays in place of its data and weights."""
    file, known = switches.file, traits(operator.op)
    plain = replace(operator, options={**operator.options, "fused_activation_function": "NONE"})
    arguments = [
        None if i < 0 or k == known.bias
        else given[i] if i in given
        else np.zeros_like(values[i]) if known.joins
        else values[i]
        for k, i in enumerate(operator.inputs)
    ]  # fmt: skip
    varies = [i >= 0 and i not in file.constants for i in operator.inputs]
    return compute(node_of(file.graph, plain), arguments, varies)[0]


def _of_sums(switches: Switches, operator: Operator, values: Values, variances: Mapping[int, Array]) -> Array:
    """What arrives goes by ``w²``."""
    x, w = operator.inputs[traits(operator.op).x], operator.inputs[traits(operator.op).weights or 1]
    if w not in switches.file.constants:
        raise NoKernel("its weights are no constant")
    return _with(switches, operator, {x: variances[x], w: np.square(values[w])}, values)


def _by_slopes(switches: Switches, operator: Operator, values: Values, variances: Mapping[int, Array]) -> Array:
    """Element by element, each operand's variance by the square of the slope along it."""
    file, total = switches.file, np.zeros(())
    real, node = real_function(operator.op), node_of(file.graph, operator)
    if real is None:
        raise NoKernel("no real function")
    operands = aligned([values[i] for i in operator.inputs], [i not in file.constants for i in operator.inputs])
    for place, (tensor, operand) in enumerate(zip(operator.inputs, operands, strict=True)):
        if tensor not in variances or operand is None:
            continue
        step = SLOPE * (file.grids[tensor].scale if tensor in file.grids else 2.0**-10)
        ends = []
        for shift in (step, -step):
            given = [None if x is None else x + (shift if k == place else 0.0) for k, x in enumerate(operands)]
            ends.append(real.function(node, *given))
        total = total + np.square((ends[0] - ends[1]) / (2 * step)) * variances[tensor].reshape(operand.shape)
    return total


def _of_softmax(switches: Switches, operator: Operator, values: Values, variances: Mapping[int, Array]) -> Array:
    """``∂y_i / ∂x_j = β y_i (δ_ij − y_j)``."""
    del switches
    y, given = values[operator.outputs[0]], variances[operator.inputs[0]]
    beta = float(np.float32(str(operator.options.get("beta", 1.0))))
    together = (np.square(y) * given).sum(axis=-1, keepdims=True)
    return np.asarray(np.square(beta * y) * ((1 - 2 * y) * given + together))


def _of_mean(switches: Switches, operator: Operator, values: Values, variances: Mapping[int, Array]) -> Array:
    """A mean of ``n`` has an ``n``-th of their mean variance."""
    x, y = operator.inputs[0], operator.outputs[0]
    summed = _with(switches, operator, {x: variances[x]}, values)
    if operator.op == "SUM":
        return summed
    if operator.op == "AVERAGE_POOL_2D":
        height, width = filter_of(node_of(switches.file.graph, operator))
        return np.asarray(summed / (height * width))
    return np.asarray(summed * (values[y][0].size / values[x][0].size))


RULES: Mapping[str, Rule] = {"SOFTMAX": _of_softmax, **dict.fromkeys(("MEAN", "SUM", "AVERAGE_POOL_2D"), _of_mean)}
