"""Every operator that the simulator knows has its row of traits."""

from __future__ import annotations

from quantdiff.graph import STATE
from quantdiff.ladder.real_operator import BY_SAMPLE, IDENTITY, real_function
from quantdiff.ops import CLAMPS, TRAITS, traits
from quantdiff.sim.node import ACTIVATION_RANGE, kernels, reals
from quantdiff.sim.rounding.exact_sums import ACCUMULATE

WITHOUT_REAL = {"BROADCAST_ARGS", "COMPLEX_ABS", "IMAG", "LSTM", "RANK", "REAL", "SVDF", "UNSORTED_SEGMENT_PROD"}
"""Ops at which the account of ``explain`` ends, though the simulator has them."""
BY_STRUCTURE = {"SHAPE", "FILL", "EMBEDDING_LOOKUP"}


def test_every_op_of_the_simulator_has_a_row() -> None:
    named = {*kernels(), *(name.partition(" ")[0] for name in reals())}
    assert sorted(named - set(TRAITS)) == [], "add a row to src/quantdiff/ops.py"


def test_explain_goes_behind_every_op_of_the_simulator() -> None:
    known = {*IDENTITY, *BY_SAMPLE, *BY_STRUCTURE, *STATE}
    lacking = {op for op in kernels() if op not in known and not traits(op).moves and real_function(op) is None}
    assert lacking == WITHOUT_REAL, "add a real function to sim/real/"


def test_what_sums_products_has_weights() -> None:
    assert {op for op in ACCUMULATE if traits(op).weights is None} <= {"BATCH_MATMUL"}


def test_a_bias_stands_behind_its_weights() -> None:
    assert all(each.weights is not None and each.bias > each.weights for each in TRAITS.values() if each.bias)


def test_what_can_be_fused_is_what_kernels_know_as_fused() -> None:
    assert {"NONE", *CLAMPS} == set(ACTIVATION_RANGE)


def test_what_keeps_the_order_moves_and_what_joins_is_on_one_grid() -> None:
    assert all(each.moves for each in TRAITS.values() if each.keeps_order)
    assert all(each.one_grid for each in TRAITS.values() if each.joins)
