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


@pytest.mark.parametrize("op", ["FULLY_CONNECTED", "CONV_2D"])
@pytest.mark.parametrize("points", [(0, -300), (200, 0)])
def test_a_zero_point_beyond_its_type_is_kept_whole_by_reference_alone(op: str, points: tuple[int, int]) -> None:
    shapes = {"FULLY_CONNECTED": ((1, 4), (2, 4), (1, 2)), "CONV_2D": ((1, 1, 1, 4), (2, 1, 1, 4), (1, 1, 1, 2))}[op]
    x, w, y = (
        T(n, s, scale=0.5, zero_point=p) for n, s, p in zip("xwy", shapes, (points[0], 0, points[1]), strict=True)
    )
    w.data = np.arange(1, 9).reshape(shapes[1])
    stride = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    step = Op(op, ["x", "w", "b"], ["y"], stride if op == "CONV_2D" else {})
    tensors = [x, w, T("b", (2,), "int32", scale=0.25, data=[0, 0]), y]
    values = np.ones(shapes[0], np.int8)
    model = Case(tensors, [step], {"x": values}).write()
    low = -128
    assert run_simulator(model, [values], Runtime.REFERENCE)[1].values[3].reshape(-1).tolist() == [low, low]
    (missing,) = run_simulator(model, [values], Runtime.BUILTIN)[1].missing
    assert missing.why.endswith("int8 has no such value, and builtin's products keep its low 8 bits")
