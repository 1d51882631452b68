"""Counts of parts of the data add up to those of the whole, and to the figures of the plain formulas."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import pytest

from quantdiff.compare.comparison import compare, count, settle
from quantdiff.errors import NotComparable
from quantdiff.quant import Array, Grid, QuantParams, Trace, Value

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


def test_the_figures_are_those_of_the_formulas() -> None:
    """Each sum is exact, by fractions, and rounded once."""
    reference, candidate = traces(slice(None))
    a, b = (trace.outputs[0].real.astype(np.float64) for trace in (reference, candidate))
    figures = compare(reference, candidate).figures
    signal, noise, power = (total(np.square(x)) for x in (a, a - b, b))
    assert figures.mean_abs_error == float(total(np.abs(a - b)) / a.size)
    assert figures.sqnr_db == 10 * (math.log10(signal) - math.log10(noise))
    assert figures.cosine == float(total(a * b)) / (math.sqrt(signal) * math.sqrt(power))
    assert figures.max_relative_error == (np.abs(a - b) / np.abs(a)).max()
    assert figures.not_close == np.mean(np.abs(a - b) > 0.01)
    assert figures.top1_agreement == np.mean(a.argmax(1) == b.argmax(1))


def total(values: Array) -> Fraction:
    return sum(map(Fraction, values.ravel().tolist()), Fraction(0))


def test_parts_that_pair_outputs_otherwise_do_not_add_up() -> None:
    def part(name: str) -> Trace:
        return Trace("tflite:reference", (Value(name, np.ones((2, 3), np.float32)),))

    with pytest.raises(NotComparable, match="pair the outputs differently"):
        count(part("a"), part("a")) + count(part("b"), part("b"))
