"""Ops that copy values elsewhere, or compare them as they stand, and float arithmetic: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, Maker, run_simulator
from movement import MAKERS, Moved, image
from written_models import Op, T

from quantdiff.sim.runtime import Runtime

# SPACE_TO_BATCH_ND is there, and pads with memory that it never sets.
NOT_IN_TFLM = {"SPACE_TO_BATCH_ND", "ARG_MIN int8", "TILE", "GATHER batches"}


def plain(op: str, kind: str | None = None) -> Maker:
    """Arithmetic on numbers that nobody quantized."""

    def make(dice: Dice) -> Case:
        shape = image(dice)
        other = dice.of(shape, (1, 1, 1, shape[3]))
        options = {"fusedActivationFunction": dice.of(0, 1, 3)} if kind else {}
        tensors = [T("a", shape, "float32"), T("b", other, "float32"), T("y", shape, "float32")]
        feeds = {n: dice.rng.normal(0, 5, s).astype(np.float32) for n, s in (("a", shape), ("b", other))}
        return Case(tensors, [Op(op, ["a", "b"], ["y"], options, kind)], feeds)

    return make


ARITHMETIC: dict[str, Maker] = {
    "ADD float32": plain("ADD", "AddOptions"),
    "DIV float32": plain("DIV", "DivOptions"),
    "MUL float32": plain("MUL", "MulOptions"),
    "SUB float32": plain("SUB", "SubOptions"),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if runtime is Runtime.TFLM and op in NOT_IN_TFLM:
        pytest.skip("this runtime has no such op")
    exact(op, MAKERS[op], runtime, times=0.2, cases=20)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_golden_arithmetic(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, ARITHMETIC[op], runtime, times=0.2, cases=20)


def test_padding_that_tflm_never_sets_is_refused() -> None:
    case = Moved(Dice(), "SPACE_TO_BATCH_ND").x((1, 2, 2, 1)).constant([2, 2]).constant([[0, 0], [2, 0]]).case()
    _, simulation = run_simulator(case.write(), list(case.feeds.values()), Runtime.TFLM)
    assert "never sets" in simulation.missing[0].why
