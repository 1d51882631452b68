"""UNIDIRECTIONAL_SEQUENCE_LSTM: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice
from written_models import Op, T

from quantdiff.sim.runtime import Runtime

GATES = ("i", "f", "c", "o")


def lstm(dice: Dice) -> Case:
    batch, time, inputs, cells = 1, dice.size(2, 9), dice.of(1, 7, 16, 28), dice.of(1, 8, 20, 33)
    s_x, s_h, s_c = dice.scale(-6, -4), float(np.float32(1 / dice.of(128, 127.5, 100))), 2.0 ** dice.of(-12, -11, -10)
    wild = dice.of(0, 0, 3)  # gates far outside their range
    z_x, z_h = dice.zero_point(), dice.of(0, -3, 20)
    tensors = [T("x", (batch, time, inputs), scale=s_x, zero_point=z_x)]
    for prefix, width in (("w", inputs), ("r", cells)):
        tensors += [
            T(prefix + g, (cells, width), scale=dice.scale(-6, -4 + wild), data=dice.integers((cells, width), low=-127))
            for g in GATES
        ]
    tensors += [T("b" + g, (cells,), "int32", 1e-4, data=dice.rng.integers(-3000, 3000, cells)) for g in GATES]
    tensors += [
        T("state", (batch, cells), "int8", s_h, z_h, is_variable=True),
        T("cell", (batch, cells), "int16", s_c, 0, is_variable=True),
        T("y", (batch, time, cells), "int8", s_h, z_h),
        *(T(f"between{k}", (0,), "float32") for k in range(4)),
        T("hidden", (0,), "int8", s_h, z_h),
    ]
    names: list[str | None] = ["x", *("w" + g for g in GATES), *("r" + g for g in GATES)]
    names += [None] * 3 + ["b" + g for g in GATES] + [None, None, "state", "cell"] + [None] * 4
    options = {"fusedActivationFunction": 4, "cellClip": dice.of(0.0, 10.0, 1.0)}
    op = Op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        names,
        ["y"],
        options,
        "UnidirectionalSequenceLSTMOptions",
        intermediates=[*(f"between{k}" for k in range(4)), "hidden"],
    )
    return Case(tensors, [op], {"x": dice.integers((batch, time, inputs))})


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("UNIDIRECTIONAL_SEQUENCE_LSTM", lstm, runtime, times=0.3, cases=15)
