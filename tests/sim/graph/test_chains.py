"""Several runtimes at once give what each gives alone, and share what they hold in common."""

from __future__ import annotations

import numpy as np
import pytest
from golden import RUNTIMES
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph
from quantdiff.load.tflite import read_model
from quantdiff.quant import same_bits
from quantdiff.run.random_input import random_inputs
from quantdiff.sim.graph.chains import compare_rounding, simulate_each
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

SHAPE = (1, 9, 9, 17)


def graph_of(*more: Op, tensors: tuple[T, ...] = ()) -> Graph:
    rng = np.random.default_rng(0)
    written = [
        T("x", SHAPE, scale=0.5, zero_point=3),
        T("w", (17, 1, 1, 17), scale=0.25, data=rng.integers(-90, 90, (17, 1, 1, 17))),
        T("d", (1, 3, 3, 17), scale=0.25, axis=3, data=rng.integers(-90, 90, (1, 3, 3, 17))),
        T("b", (17,), "int32", scale=0.125, data=rng.integers(-900, 900, 17)),
        T("c", SHAPE, scale=16.0),
        T("y", SHAPE, scale=128.0, zero_point=-5),
        *tensors,
    ]
    strides = {"strideH": 1, "strideW": 1}
    operators = [
        Op("CONV_2D", ["x", "w", "b"], ["c"], strides),
        Op("DEPTHWISE_CONV_2D", ["c", "d", "b"], ["y"], strides | {"depthMultiplier": 1}),
        *more,
    ]
    return read_model(memoryview(write_tflite(written, operators, ["x"], ["y"]))).main


def test_each_chain_is_what_the_runtime_gives_alone() -> None:
    graph = graph_of(
        Op("SOFTMAX", ["y"], ["s"], {"beta": 1.0}), tensors=(T("s", SHAPE, scale=1 / 256, zero_point=-128),)
    )
    inputs = random_inputs(graph, 5)
    together = simulate_each(graph, inputs, RUNTIMES)
    for runtime in RUNTIMES:
        alone = simulate(graph, inputs, runtime)
        assert together[runtime].values.keys() == alone.values.keys()
        for index, value in alone.values.items():
            np.testing.assert_array_equal(together[runtime].values[index], value)


def test_what_is_equal_is_one_array() -> None:
    graph = graph_of()
    together = simulate_each(graph, random_inputs(graph, 5), RUNTIMES)
    first, second = (together[runtime].values[4] for runtime in (Runtime.REFERENCE, Runtime.TFLM))
    assert first is second
    assert not np.array_equal(first, together[Runtime.XNNPACK].values[4])


def test_rounding_alone() -> None:
    graph = graph_of()
    inputs = random_inputs(graph, 5)
    results, simulation = compare_rounding(graph, inputs, RUNTIMES)
    assert [(r.index, r.op, r.count) for r in results] == [(0, "CONV_2D", 6885), (1, "DEPTHWISE_CONV_2D", 6885)]
    xnnpack, reference = (simulate(graph, inputs, r).values for r in (Runtime.XNNPACK, Runtime.REFERENCE))
    assert results[0].differing[RUNTIMES[0]] == 0
    assert results[0].differing[Runtime.REFERENCE] == np.count_nonzero(xnnpack[4] != reference[4]) > 0
    np.testing.assert_array_equal(simulation.values[5], xnnpack[5])


def test_rounding_alone_a_few_samples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(
        Op("SOFTMAX", ["y"], ["s"], {"beta": 1.0}), tensors=(T("s", SHAPE, scale=1 / 256, zero_point=-128),)
    )
    inputs = random_inputs(graph, 5)
    whole, _ = compare_rounding(graph, inputs, RUNTIMES)
    for name in ("ELEMENTS_AT_ONCE", "BLOCKED_AT_ONCE"):
        monkeypatch.setattr(f"quantdiff.sim.graph.operators.{name}", 6000)  # two samples
    parts, _ = compare_rounding(graph, inputs, RUNTIMES)
    assert parts == whole
    assert any(result.differing[Runtime.REFERENCE] for result in whole)


def test_what_is_missing_is_named_and_the_rest_runs() -> None:
    tensors = (T("f", SHAPE, scale=0.5), T("g", SHAPE, scale=0.5))
    graph = graph_of(Op("Fancy", ["y"], ["f"], custom=True), Op("QUANTIZE", ["f"], ["g"]), tensors=tensors)
    inputs = random_inputs(graph, 2)
    for simulation in (*simulate_each(graph, inputs, RUNTIMES).values(), compare_rounding(graph, inputs, RUNTIMES)[1]):
        assert [(m.index, m.op) for m in simulation.missing] == [(2, "CUSTOM:Fancy")]
        assert simulation.skipped == (3,)


def test_bits_tell_zeros_and_shapes_apart() -> None:
    zero = np.zeros(2, np.float32)
    assert same_bits(zero, zero.copy())
    assert not same_bits(zero, -zero)
    assert not same_bits(zero, np.zeros((2, 1), np.float32))
    assert not same_bits(zero, np.zeros(2, np.int32))
