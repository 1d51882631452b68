"""WHERE, whose output is as long as the data say, and SPARSE_TO_DENSE."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import ELEMENTS, GROWN, LITERT, Case, Dice, run_real, run_simulator
from written_models import Op, T

from quantdiff.sim.runtime import Runtime


def places(dice: Dice) -> Case:
    shape = tuple(dice.side(1, 6) for _ in range(dice.size(1, 3)))
    x = dice.rng.random(shape) < dice.of(0, 0.3, 1)
    x.reshape(-1)[0] = True  # of nothing the interpreter has no view
    tensors = [T("x", shape, "bool"), T("y", (1, len(shape)), "int64", shape_signature=(-1, len(shape)))]
    return Case(tensors, [Op("WHERE", ["x"], ["y"])], {"x": x})


def spread(dice: Dice) -> Case:
    shape = tuple(dice.side(2, 6) for _ in range(dice.size(1, 3)))
    chosen = dice.rng.permutation(int(np.prod(shape)))[: dice.size(1, 3)]
    rows = np.argwhere(np.isin(np.arange(np.prod(shape)), chosen).reshape(shape))
    values = dice.rng.normal(size=len(rows)).astype(np.float32)
    tensors = [
        T("i", rows.shape, "int32", data=rows),
        T("s", (len(shape),), "int32", data=shape),
        T("v", values.shape, "float32"),
        T("d", (), "float32", data=dice.of(0.0, -0.0, 7.0)),
        T("y", shape, "float32"),
    ]
    op = Op("SPARSE_TO_DENSE", ["i", "s", "v", "d"], ["y"], {}, "SparseToDenseOptions")
    return Case(tensors, [op], {"v": values})


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize(("op", "maker"), [("WHERE", places), ("SPARSE_TO_DENSE", spread)])
def test_golden(
    elements: int, note: Callable[..., None], runtime: Runtime, op: str, maker: Callable[[Dice], Case]
) -> None:
    many = elements > ELEMENTS
    dice, count, wrong = Dice(grown=GROWN if many else 1), 0, 0
    while count < (elements if many else elements / 10):
        case = maker(dice)
        feeds = list(case.feeds.values())
        (real,), _ = run_real(case.write(), feeds, runtime)
        graph, simulation = run_simulator(case.write(), feeds, runtime)
        mine = simulation.values[graph.outputs[0]][0]
        assert (mine.shape, mine.dtype) == (real.shape, real.dtype)
        count, wrong = count + max(1, real.size), wrong + int(np.sum(mine != real))
    note(op, runtime, count, wrong)
