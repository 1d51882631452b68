"""Golden vectors of a small network on each runtime: what is recorded, and that it hangs together."""

from __future__ import annotations

import numpy as np
import pytest
from golden_network import recorded

from quantdiff.errors import NotConfirmed
from quantdiff.paper.vectors import _confirm, scaled
from quantdiff.sim.rounding.exact_sums import Channel
from quantdiff.sim.rounding.fixed_point import Rounding
from quantdiff.sim.runtime import Runtime

WITH_SUMS = [0, 1, 3]
RULES = {
    Runtime.XNNPACK: ("X" * 9, "X" * 9, "X" * 12),
    Runtime.BUILTIN: ("R" * 9, "R" * 8 + "G", "R" * 12),
    Runtime.REFERENCE: ("G" * 9, "G" * 9, "D" * 12),
    Runtime.TFLM: ("G" * 9, "G" * 9, "G" * 12),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", Runtime.REFERENCE.neighbours)
def test_each_channel_names_its_rule(runtime: Runtime) -> None:
    golden = recorded(runtime.value)
    of_products = [golden.operators[i] for i in WITH_SUMS]
    rules = tuple("".join(c.rounding.value for c in operator.channels) for operator in of_products)
    assert rules == RULES[runtime]
    assert [operator.mismatches for operator in golden.operators] == [0, 0, 0, 0]
    assert golden.samples == 2


@pytest.mark.golden
def test_every_vector_is_there() -> None:
    convolution, _, reshape, dense = recorded("tflm").operators
    keys = ["input", "weights", "bias", "output", "multiplier", "shift", "scale", "accumulator"]
    assert [vector.key for vector in convolution.vectors] == keys
    assert [vector.key for vector in reshape.vectors] == ["input_0", "input_1", "output_0"]
    shapes = {vector.key: vector.array.shape for vector in dense.vectors}
    assert shapes["input"] == (2, 1, 54)
    assert shapes["weights"] == (12, 54)
    assert shapes["accumulator"] == shapes["output"] == (2, 1, 12)
    assert convolution.clamp == (11, 127)  # RELU6 from the zero point up


X86 = Runtime.REFERENCE.neighbours


@pytest.mark.golden
def test_the_rules_part_on_the_ties_of_the_dense_layer() -> None:
    outputs = {runtime: recorded(runtime.value).operators[3].array("output") for runtime in X86}
    accumulator = recorded("reference").operators[3].array("accumulator")
    assert accumulator is not None
    ties = accumulator % 4 == 2
    assert (ties & (accumulator > 0)).any()
    assert (ties & (accumulator < 0)).any()
    assert len({None if y is None else y.tobytes() for y in outputs.values()}) == len(X86)


@pytest.mark.golden
def test_accumulators_are_the_sums_of_what_is_recorded() -> None:
    dense = recorded("tflm").operators[3]
    x, w, bias, accumulator = (dense.array(key) for key in ("input", "weights", "bias", "accumulator"))
    assert x is not None
    assert w is not None
    assert bias is not None
    np.testing.assert_array_equal((x.astype(np.int64) + 3) @ w.T.astype(np.int64) + bias, accumulator)


def test_mixed_rules_scale_each_channel_by_its_own() -> None:
    quarter = {"scale": 0.25, "mantissa": 2**30, "shift": -1}
    channels = tuple(Channel(rule, **quarter) for rule in (Rounding.RUY, Rounding.GEMMLOWP))  # type: ignore[arg-type]
    sums = np.asarray([[-10, -10], [10, 10], [4000, -4000]])
    np.testing.assert_array_equal(scaled(sums, channels, 1, (-128, 127)), [[-1, -2], [4, 4], [127, -128]])


@pytest.mark.golden
def test_an_output_that_does_not_follow_is_refused() -> None:
    dense = recorded("tflm").operators[3]
    y = dense.array("output")
    assert y is not None
    other = y.astype(np.int64)
    _confirm(dense.node, other, y)
    other[1, 0, 2] += 1
    with pytest.raises(NotConfirmed, match="FULLY_CONNECTED #3: 1 outputs of the runtime"):
        _confirm(dense.node, other, y)
