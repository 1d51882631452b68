"""Whole networks: the simulator gives every tensor of every operator as the four runtimes do, and the whole chain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from networks import NETWORKS, thorough
from quantized_models import Made

from quantdiff.compare.verification import load_and_verify
from quantdiff.load.data import load_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.run.inputs import inputs_of
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

SAMPLES = 24
SHAPES = {
    "mobilenet": {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "SOFTMAX", "QUANTIZE", "DEQUANTIZE"},
    "resnet": {"CONV_2D", "ADD", "CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D", "QUANTIZE"},
    "ds_cnn": {"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "FULLY_CONNECTED"},
    "autoencoder": {"DEQUANTIZE", "FULLY_CONNECTED", "RELU", "QUANTIZE"},
    "lstm ptq": {"UNIDIRECTIONAL_SEQUENCE_LSTM", "SOFTMAX"},
}

pytestmark = [pytest.mark.keras, pytest.mark.golden]


@pytest.mark.parametrize("name", thorough(NETWORKS))
def test_network_is_exact_on_every_runtime(networks: Callable[[str], Made], name: str) -> None:
    made = networks(name)
    verdicts = load_and_verify(made.tflite, ["all"], data=made.data, samples=SAMPLES).verdicts
    for runtime, verdict in verdicts.items():
        assert verdict.status == "exact", runtime
        assert verdict.faithful
        assert verdict.delegated_as_expected
        assert verdict.chain_count > 0


@pytest.mark.parametrize("name", thorough(SHAPES))
def test_network_holds_the_operators_that_it_is_here_for(networks: Callable[[str], Made], name: str) -> None:
    assert {operator.op for operator in load_tflite(networks(name).tflite).main.operators} >= SHAPES[name]


@pytest.mark.parametrize("name", thorough(["mobilenet", "resnet", "ds_cnn", "CNN", "dense4"]))
def test_network_learned_something(networks: Callable[[str], Made], name: str) -> None:
    model, batch = load_tflite(networks(name).tflite), load_batch(networks(name).data)
    assert batch.labels is not None
    x = [array[:200] for array in inputs_of(model, batch)]
    guesses = simulate(model.main, x, Runtime.REFERENCE).values[model.main.outputs[0]]
    assert np.mean(guesses.reshape(200, -1).argmax(axis=1) == batch.labels[:200]) > 0.6
