"""Pages of what was searched for: pictures of the worst inputs, what is left of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantdiff.load.data import Batch
from quantdiff.report.html.searched import reduction_page, worst_page
from quantdiff.search.bound import Bound
from quantdiff.search.fault import MODEL, Crash
from quantdiff.search.reduce import Found, Search
from quantdiff.search.reduction import Reduction
from quantdiff.search.worst import WorstCase, WorstInput


def found(shape: tuple[int, ...]) -> WorstCase:
    inputs = (WorstInput(410.25, 0.5, 3, 183), WorstInput(12.0, -1.0, 0, 12))
    batch = Batch({"x": np.random.default_rng(0).random((2, *shape), np.float32)})
    return WorstCase(
        "float",
        "tflite:<b>",
        0.5,
        True,
        batch,
        inputs,
        31.0,
        -1.0,
        100,
        1234,
        30.0,
        bound=Bound(8510.0, 199.0, 0.01, 100, 5),
    )


def test_the_worst_inputs_are_shown_as_pictures() -> None:
    page = worst_page(found((28, 28)), Path("worst.npz"), "quantdiff worst …").html
    assert page.count("data:image/png;base64,") == 2
    for words in (
        "205.1",
        "183",
        "largest error: 205.125 (410.2 steps); in the 100 samples",
        "settled: 1% of 100 samples",
        "<strong>input 0</strong>",
        "183 steps, as diff counts",
        "decided otherwise by 0.5",
        "found from sample 3 of the data",
    ):
        assert words in page, words
    assert page.count("decided otherwise by") == 1
    assert "<b>" not in page
    assert "tflite:&lt;b&gt;" in page


def test_what_is_no_picture_is_told_in_figures() -> None:
    page = worst_page(found((3,)), Path("worst.npz")).html
    assert "data:image/png" not in page
    assert "error 205.1" in page


def test_a_reduction_says_what_is_left_and_how_to_see_it() -> None:
    left = Found({MODEL: b"12345"}, Batch({"x": np.zeros((1, 3))}), "it crashes", ("3 CONV_2D",), (7,))
    reduction = Reduction("crash", "it crashes", Search(left, 9, "smallest"), Crash("xnnpack", 60), 40, 500, 1000)
    page = reduction_page(reduction, Path("small")).html
    for words in (
        "of 40",
        "of 500",
        "of 1,000",
        "see it: quantdiff diff small/model.tflite",
        "9 parts tried",
    ):
        assert words in page, words
