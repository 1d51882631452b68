"""The error to expect where the reference does not round: rounding as noise, through the file's graph.

What weights, biases, the input's grid and clipping change is computed, in real arithmetic. Each rounding adds a twelfth
of a step squared to the variance about that; variances go through sums by ``w²`` and through curves by the square of
their slope (to first order: Widrow and Kollár, "Quantization Noise", 2008, chapters 4 and 8). Roundings count as
independent and their sum as normal. What is clipped carries no noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import Operator
from quantdiff.ladder.closed_form import positive_part
from quantdiff.ladder.mechanisms import BIAS, CLIPPING, INPUT, WEIGHTS
from quantdiff.ladder.real_graph import Values
from quantdiff.ladder.real_operator import IDENTITY, aligned, compute, real_function
from quantdiff.ladder.switches import Switches
from quantdiff.ops import traits
from quantdiff.quant import Array
from quantdiff.sim.node import ACTIVATION_RANGE, NoKernel, node_of
from quantdiff.sim.ops.resampling import filter_of

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
