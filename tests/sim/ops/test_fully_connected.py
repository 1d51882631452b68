"""FULLY_CONNECTED: edges by hand, then every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, run_simulator
from weighted_ops import dense
from written_models import Op, T

from quantdiff.sim.runtime import Runtime


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("per_channel", [False, True])
def test_golden(exact: Callable[..., None], runtime: Runtime, per_channel: bool) -> None:
    name = f"FULLY_CONNECTED, {'per channel' if per_channel else 'per tensor'}"
    exact(name, lambda dice: dense(dice, per_channel), runtime, cases=150)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_uint8(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("FULLY_CONNECTED uint8", lambda dice: dense(dice, False, "uint8"), runtime)


def test_by_hand() -> None:
    tensors = [
        T("x", (1, 2), scale=0.5, zero_point=-1),
        T("w", (3, 2), scale=0.5, data=[[1, 2], [3, -4], [127, 127]]),
        T("b", (3,), "int32", scale=0.25, data=[1, -2, 0]),
        T("y", (1, 3), scale=0.5, zero_point=3),
    ]
    case = Case(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"])], {})
    x = np.asarray([[2, 3]], np.int8)  # minus the zero point: 3, 4
    model = Case(tensors, case.operators, {"x": x}).write()
    # sums 3·1 + 4·2 + 1 = 12, 3·3 − 4·4 − 2 = −9, 889; times 0.5: 6, −4.5, 444.5; plus 3, clipped to 127
    want = {Runtime.REFERENCE: [9, -2, 127], Runtime.BUILTIN: [9, -1, 127], Runtime.XNNPACK: [9, -1, 127]}
    for runtime, y in want.items():
        graph, simulation = run_simulator(model, [x], runtime)
        assert simulation.values[graph.outputs[0]].reshape(-1).tolist() == y, runtime


def test_keeps_dimensions() -> None:
    tensors = [
        T("x", (1, 3, 2), scale=0.5),
        T("w", (4, 2), scale=0.5, data=np.arange(8).reshape(4, 2)),
        T("y", (1, 3, 4), scale=0.5),
    ]
    op = Op("FULLY_CONNECTED", ["x", "w", None], ["y"], {"keepNumDims": True})
    x = np.arange(6, dtype=np.int8).reshape(1, 3, 2)
    graph, simulation = run_simulator(Case(tensors, [op], {"x": x}).write(), [x], Runtime.REFERENCE)
    assert simulation.values[graph.outputs[0]].shape == (1, 1, 3, 4)
