"""Tallies of parts of the data add up to the tally of the whole, and to the figures of the plain metrics."""

from __future__ import annotations

import itertools
from functools import reduce
from operator import add

import numpy as np
import pytest

from quantdiff.compare import metrics
from quantdiff.compare.comparison import compare, count, settle
from quantdiff.compare.streaming import tally
from quantdiff.errors import NotComparable
from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.trace import Trace, Value

STEP = QuantParams((0.043,), (7,))
GRID = Grid(STEP, "int8", "y")


def outputs(samples: int) -> tuple[Array, Array]:
    dice = np.random.default_rng(3)
    real = dice.standard_normal((samples, 10)).astype(np.float32)
    return real, np.clip(np.rint(real / 0.043 + 7 + dice.normal(0, 0.4, real.shape)), -128, 127).astype(np.int8)


def traces(rows: slice, samples: int = 1000) -> tuple[Trace, Trace]:
    real, integers = outputs(samples)
    reference = Trace("qat", (Value("y", real[rows]),))
    return reference, Trace("tflite:reference", (Value("y", integers[rows], STEP, GRID),))


@pytest.mark.parametrize("cuts", [(500,), (1, 2, 3), (999,), (100, 300, 301, 900)])
def test_parts_add_up_to_the_whole_to_the_last_bit(cuts: tuple[int, ...]) -> None:
    edges = (0, *cuts, 1000)
    parts = [count(*traces(slice(a, b))) for a, b in itertools.pairwise(edges)]
    whole = compare(*traces(slice(None)))
    assert settle(reduce(add, parts)) == whole
    assert settle(reduce(add, reversed(parts))) == whole


def test_the_figures_are_those_of_the_metrics() -> None:
    reference, candidate = traces(slice(None))
    (a,), (b,) = ([value.real for value in trace.outputs] for trace in (reference, candidate))
    figures = compare(reference, candidate).figures
    assert figures.mean_abs_error == metrics.mean_abs_error(a, b)
    assert figures.sqnr_db == metrics.sqnr_db(a, b)
    assert figures.cosine == metrics.cosine(a, b)
    assert figures.max_relative_error == metrics.max_relative_error(a, b)
    assert figures.not_close == metrics.not_close(a, b, 0.01)
    assert figures.top1_agreement == metrics.top1_agreement(a, b)


def test_sums_hold_by_hand() -> None:
    seen = tally(np.array([[1.0, 2.0], [0.0, -4.0]]), np.array([[1.5, 2.0], [0.25, -3.0]]), 0.25)
    sums = (seen.errors, seen.noise, seen.signal, seen.power, seen.product)
    assert [float(each) for each in sums] == [1.75, 1.3125, 21.0, 15.3125, 17.5]
    assert (seen.count, seen.far, seen.decisions, seen.agreeing) == (4, 2, 2, 2)
    assert (seen.differing, seen.max_steps) == (None, None)


def test_no_grid_in_one_part_is_no_grid_at_all() -> None:
    a, b = np.array([[1, 2]]), np.array([[1, 3]])
    assert (tally(a, b, 0, (a, b)) + tally(a, b, 0, (a, b))).differing == 2
    assert (tally(a, b, 0, (a, b)) + tally(a, b, 0)).differing is None


def test_parts_that_pair_outputs_otherwise_do_not_add_up() -> None:
    def part(name: str) -> Trace:
        return Trace("tflite:reference", (Value(name, np.ones((2, 3), np.float32)),))

    with pytest.raises(NotComparable, match="pair the outputs differently"):
        count(part("a"), part("a")) + count(part("b"), part("b"))
