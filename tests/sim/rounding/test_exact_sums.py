"""Exact sums of reductions, which the rules of devices scale."""

from __future__ import annotations

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.load.tflite import read_model
from quantdiff.sim.graph.operators import run_by_rule
from quantdiff.sim.node import node_of
from quantdiff.sim.rounding.exact_sums import averaged, reach_of_sums


@pytest.mark.parametrize(("op", "right", "reach"), [("MEAN", 4, 4 * 127), ("SUM", 15, 4 * 127)])
def test_a_mean_is_a_sum_over_its_count(op: str, right: int, reach: int) -> None:
    """1 + 2 + 4 + 8 = 15, and 3.75 is nearest to 4."""
    tensors = [T("x", (1, 4), scale=0.5), T("axis", (1,), "int32", data=[1]), T("y", (1,), scale=0.5)]
    graph = read_model(
        memoryview(write_tflite(tensors, [Op(op, ["x", "axis"], ["y"], {}, "ReducerOptions")], ["x"], ["y"]))
    ).main
    x = np.asarray([[[1, 2, 4, 8]]], np.int8)
    assert run_by_rule(graph, graph.operators[0], {0: x}, "int16 half-away")[0].tolist() == [[right]]
    node = node_of(graph, graph.operators[0])
    assert averaged(node) == 4
    assert int(reach_of_sums(node)[1]) == reach
