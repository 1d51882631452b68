"""A network by the converter's dynamic range: dense, convolution and depthwise together, and the chain."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from golden import LITERT, run_real, run_simulator

from quantdiff.experiment.zoo import convert
from quantdiff.load.tflite import read_model
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.sim.runtime import Runtime


@cache
def network() -> bytes:
    """Layers that are large enough for the converter to quantize them."""
    keras = frameworks().keras
    keras.utils.set_random_seed(0)
    layers = keras.layers
    body = [
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(128, 1, activation="relu"),
        layers.DepthwiseConv2D(3, strides=3, bias_initializer="random_normal"),
        layers.Flatten(),
        layers.Dense(32, activation="relu", bias_initializer="random_normal"),
        layers.Dense(40),
    ]
    with quiet():
        model = keras.Sequential([layers.InputLayer((14, 14, 8)), *body])
    return convert(model, None)


@pytest.mark.keras
@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_network_is_exact(runtime: Runtime) -> None:
    x = np.random.default_rng(0).normal(size=(1, 14, 14, 8)).astype(np.float32)
    graph, simulation = run_simulator(network(), [x], runtime)
    assert not simulation.missing
    (real,), _ = run_real(network(), [x], runtime)
    np.testing.assert_array_equal(simulation.values[graph.outputs[0]][0], real)


@pytest.mark.keras
def test_network_is_hybrid() -> None:
    graph = read_model(memoryview(network())).main
    weights = [graph.tensors[operator.inputs[1]].dtype for operator in graph.operators if len(operator.inputs) > 2]
    assert weights == ["int8"] * 5
