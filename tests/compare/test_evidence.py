"""What a page shows beyond figures: histogram, changed decisions, the worst samples, pictures."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from quantdiff.compare.evidence import confusion_of, decisions_of, evidence_of, pictures_of
from quantdiff.compare.layers.figures import BINS, StepHistogram, step_histogram
from quantdiff.load.data import Batch
from quantdiff.quant import Array, Grid, QuantParams, Trace, Value
from quantdiff.report.html.outcome import png

PARAMS = QuantParams((0.5,), (0,))


def histogram_of(errors: Array, step: float) -> StepHistogram:
    """In one part; in two parts it is the same."""
    whole = step_histogram(lambda: [errors], step)
    if len(errors) > 1:
        assert step_histogram(lambda: np.array_split(errors, 2), step) == whole
    return whole


def test_a_histogram_by_hand() -> None:
    errors = np.array([0.0, 0.0, 0.5, -1.0, 0.03125, 0.03])  # at 0.5 a step: 0, 0, 1, -2, and around the end of a bin
    histogram = histogram_of(errors, 0.5)
    assert (histogram.width, histogram.first, len(histogram.counts)) == (1 / 8, -2.0, 25)
    assert {c: n for c, n in zip(histogram.centres, histogram.counts, strict=True) if n} == {
        -2.0: 1,
        0.0: 3,
        0.125: 1,  # half-way between two bins: the upper one
        1.0: 1,
    }
    assert histogram.rmse == math.sqrt((1 + 4 + 0.0625**2 + 0.06**2) / 6)


def test_a_histogram_of_nothing_but_zeros() -> None:
    assert histogram_of(np.zeros(3), 0.5) == StepHistogram(0.5, 1 / 8, 0.0, (3,), 0.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(1e-6, 1e6))
def test_a_histogram_counts_everything_in_few_bins(errors: list[float], step: float) -> None:
    histogram = histogram_of(np.array(errors), step)
    assert sum(histogram.counts) == len(errors)
    assert len(histogram.counts) <= BINS + 1
    assert histogram.counts[0] > 0 < histogram.counts[-1]
    assert all(b - a == histogram.width for a, b in pairwise(histogram.centres))


def test_the_rounding_of_many_numbers_has_the_yardstick_as_root_mean_square() -> None:
    values = np.random.default_rng(0).uniform(-100, 100, 200_000)
    assert histogram_of(np.rint(values) - values, 1.0).rmse == pytest.approx(1 / math.sqrt(12), abs=1e-3)


def test_confusion_by_hand() -> None:
    confusion = confusion_of(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert confusion.names == ("0", "1", "2")
    assert confusion.counts == ((1, 1, 0), (0, 1, 0), (1, 0, 0))
    assert (confusion.changed, confusion.samples) == (2, 4)


def test_of_many_classes_those_with_changes_have_names() -> None:
    reference = np.repeat(np.arange(1000), 2)
    candidate = reference.copy()
    candidate[[1400, 1998]] = 3, 5  # 700 → 3, 999 → 5
    confusion = confusion_of(reference, candidate, 1000)
    assert confusion.names == ("3", "5", "700", "999", "others")
    assert confusion.counts[-1][-1] == 2 * (1000 - 4)
    assert sum(map(sum, confusion.counts)) == 2000
    row, column = confusion.names.index("700"), confusion.names.index("3")
    assert confusion.counts[row][column] == 1


def test_changes_among_the_others_are_counted() -> None:
    reference, candidate = np.arange(100), np.roll(np.arange(100), 1)
    confusion = confusion_of(reference, candidate, 100)
    assert (confusion.changed, len(confusion.names), confusion.names[-1]) == (100, 20, "others")


@pytest.mark.parametrize(("shape", "decides"), [((4, 3), True), ((4, 1, 3), True), ((4, 2, 3), False), ((4, 1), False)])
def test_a_sample_decides_where_it_is_one_row_of_classes(shape: tuple[int, ...], decides: bool) -> None:
    assert (decisions_of(np.zeros(shape)) is not None) == decides


def trace(engine: str, steps: Array) -> Trace:
    return Trace(engine, (Value("y", steps.astype(np.int8), PARAMS, Grid(PARAMS, "int8", "y")),))


def test_the_worst_samples_come_first_and_equal_ones_not_at_all() -> None:
    reference = np.array([[9, 1], [1, 9], [5, 4], [0, 0]])
    candidate = np.array([[8, 1], [1, 9], [5, 7], [0, 1]])
    batch = Batch({"x": np.zeros((4, 2))}, np.array([0, 1, 0, 1]))
    (found,) = evidence_of(trace("a", reference), trace("b", candidate), batch)
    assert [(s.number, s.max_abs_error, s.decisions, s.label) for s in found.worst] == [
        (2, 1.5, (0, 1), 0),
        (0, 0.5, (0, 0), 0),
        (3, 0.5, (0, 1), 1),
    ]
    assert all(sample.picture is None for sample in found.worst)
    assert found.histogram is not None
    assert found.histogram.counts[-1] == 1
    assert found.confusion is not None
    assert found.confusion.changed == 2


def test_rows_that_are_no_samples_have_neither_label_nor_picture() -> None:
    batch = Batch({"x": np.zeros((6, 8, 8))}, np.arange(6))
    (found,) = evidence_of(trace("a", np.eye(3)), trace("b", 1 - np.eye(3)), batch)
    assert [(sample.label, sample.picture) for sample in found.worst] == [(None, None)] * 3


def test_much_data_is_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    sides = (trace(engine, rng.integers(-9, 9, (50, 4))) for engine in "ab")
    a, b, batch = *sides, Batch({"x": np.zeros((50, 2))})
    whole = evidence_of(a, b, batch)
    monkeypatch.setattr("quantdiff.compare.evidence.ELEMENTS_AT_ONCE", 30)
    assert evidence_of(a, b, batch) == whole


def test_an_output_without_a_grid_or_classes_has_neither() -> None:
    plain = Trace("float", (Value("y", np.ones((3, 1), np.float32)),))
    (found,) = evidence_of(plain, plain, Batch({"x": np.zeros((3, 2))}))
    assert (found.histogram, found.confusion, found.worst) == (None, None, ())


def test_pictures_share_one_scale() -> None:
    samples = np.zeros((3, 8, 9))
    samples[1, 0, 0], samples[2, 7, 8] = -1, 3
    (picture,) = pictures_of(samples, [1])
    assert (picture.height, picture.width, picture.channels) == (8, 9, 1)
    assert picture.pixels == b"\x00" + b"\xff" * 71
    both = pictures_of(samples, [1, 2])
    assert [each.pixels[-1] for each in both] == [64, 255]


def test_large_pictures_are_thinned_out() -> None:
    (picture,) = pictures_of(np.random.default_rng(0).uniform(size=(1, 200, 100, 3)), [0])
    assert (picture.height, picture.width, picture.channels) == (67, 34, 3)
    assert len(picture.pixels) == 67 * 34 * 3


@pytest.mark.parametrize("shape", [(5, 784), (5, 28, 7), (5, 28, 28, 2), (5, 28, 28, 28, 1), (5,)])
def test_what_is_no_image(shape: tuple[int, ...]) -> None:
    assert pictures_of(np.zeros(shape), [0]) == ()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_is_read_by_others(channels: int) -> None:
    samples = np.random.default_rng(1).integers(0, 256, (1, 9, 8, channels))
    samples[0, 0, 0, 0], samples[0, 0, 1, 0] = 0, 255
    (picture,) = pictures_of(samples, [0])
    with Image.open(io.BytesIO(png(picture))) as image:
        assert np.array_equal(np.asarray(image).reshape(9, 8, channels), samples[0])
