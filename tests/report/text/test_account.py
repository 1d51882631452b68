"""The account in words: what the sentence names, and what a reader is told before it."""

from __future__ import annotations

from dataclasses import replace

import page_values as values

from quantdiff.ladder.explanation import Saturated
from quantdiff.report.text.explanation import sentence, warnings


def test_the_sentence_names_mechanism_operator_and_range() -> None:
    said = sentence(values.explanation())
    assert "90% is biases at CONV_2D #3" in said
    assert "10% is clipping at MEAN #5" in said
    assert "the file holds 0 … 0.55, the data reach 0.61" in said
    assert said.endswith("all of it accounted for, to the bit on xnnpack.")


def test_what_is_not_accounted_for_has_no_cause() -> None:
    said = sentence(replace(values.explanation(), unaccounted="another function", frontier=None))
    assert said.endswith("not accounted for: another function.")
    assert "biases" not in said


def test_shares_that_the_next_samples_may_change_are_told() -> None:
    settled = replace(values.explanation(), departs="")
    assert settled.frontier is not None
    first, second = settled.frontier.items
    parted = replace(settled.frontier, items=(replace(first, spread=0.9), second))
    assert not list(warnings(settled))
    (said,) = warnings(replace(settled, frontier=parted))
    assert "the first 64 samples" in said
    assert "CONV_2D #3" in said
    assert "by 90%" in said
    assert not list(warnings(replace(settled, frontier=parted, differing=0)))


def test_outputs_that_the_file_cannot_say_come_first() -> None:
    said = list(warnings(replace(values.explanation(), saturated=Saturated(0.28, 115.0))))
    assert said[0].startswith("28.0% of the reference's outputs lie outside what the file can say, by up to 115 steps")
    assert "the two graphs are not the same" in said[1]
