"""CONV_2D and DEPTHWISE_CONV_2D: edges by hand, then every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, run_simulator
from weighted_ops import image
from written_models import Op, T

from quantdiff.sim.runtime import Runtime


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, lambda dice: image(dice, op == "DEPTHWISE_CONV_2D"), runtime, times=5)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_golden_uint8(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(f"{op} uint8", lambda dice: image(dice, op == "DEPTHWISE_CONV_2D", "uint8"), runtime, times=5)


def test_padding_counts_as_the_zero_point() -> None:
    tensors = [
        T("x", (1, 2, 2, 1), scale=1.0, zero_point=5),
        T("w", (1, 3, 3, 1), scale=1.0, data=np.ones((1, 3, 3, 1))),
        T("b", (1,), "int32", scale=1.0, data=[0]),
        T("y", (1, 2, 2, 1), scale=1.0, zero_point=-2),
    ]
    x = np.asarray([6, 7, 8, 9], np.int8).reshape(1, 2, 2, 1)  # minus the zero point: 1 + 2 + 3 + 4
    op = Op("CONV_2D", ["x", "w", "b"], ["y"], {"padding": 0, "strideH": 1, "strideW": 1})
    for runtime in RUNTIMES:
        graph, simulation = run_simulator(Case(tensors, [op], {"x": x}).write(), [x], runtime)
        assert simulation.values[graph.outputs[0]].reshape(-1).tolist() == [8, 8, 8, 8]


def test_the_tail_of_depthwise_channels_rounds_away_from_zero() -> None:
    channels = 9  # eight in the vector, one behind
    tensors = [
        T("x", (1, 1, 1, channels), scale=1.0),
        T("w", (1, 1, 1, channels), scale=1.0, axis=3, data=np.ones((1, 1, 1, channels))),
        T("b", (channels,), "int32", scale=1.0, data=np.zeros(channels)),
        T("y", (1, 1, 1, channels), scale=4.0),
    ]
    x = np.full((1, 1, 1, channels), -6, np.int8)  # −6 / 4 is a tie in the shift
    op = Op("DEPTHWISE_CONV_2D", ["x", "w", "b"], ["y"], {"strideH": 1, "strideW": 1, "depthMultiplier": 1})
    model = Case(tensors, [op], {"x": x}).write()
    graph, simulation = run_simulator(model, [x], Runtime.BUILTIN)
    assert simulation.values[graph.outputs[0]].reshape(-1).tolist() == [-1] * 8 + [-2]
