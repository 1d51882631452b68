"""State in resource variables: many samples in a row, each finding what the one before it left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import RUNTIMES, Dice, run_rounds, same
from sim.graph.test_resources import STATE, sliding

from quantdiff.load.tflite import read_model
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

SAMPLES = 50


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden(note: Callable[..., None], elements: int, runtime: Runtime) -> None:
    dice, count, wrong = Dice(), 0, 0
    while count < elements:
        content = sliding(dice)
        x = dice.integers((SAMPLES, 1, 1, *STATE[2:]))
        (real,), _ = run_rounds(content, [x], runtime)
        model = read_model(memoryview(content))
        mine = simulate(model.main, [x], runtime, model.subgraphs).values[model.main.outputs[0]]
        count, wrong = count + real.size, wrong + int(np.sum(~same(mine, real)))
    note("VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE", runtime, count, wrong)
