"""Every figure can be asked for by ``--fail-on``, has a limit for tests where it says how good, and is shown."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from some_figures import FIGURES

from quantdiff.compare.comparison import Figures
from quantdiff.compare.conditions import BOUNDS, METRICS
from quantdiff.report.text.outcome import in_steps, in_units

SAY_NOTHING_OF_QUALITY = {"count", "step"}


def test_every_figure_that_says_how_good_has_a_limit() -> None:
    assert set(METRICS) - set(BOUNDS) == SAY_NOTHING_OF_QUALITY, "compare/conditions.py: BOUNDS"


@pytest.mark.parametrize("name", METRICS)
def test_every_figure_is_shown(name: str) -> None:
    other = replace(FIGURES, **{name: getattr(FIGURES, name) * 2})
    shown = [[*in_units(each), *in_steps(each)] for each in (FIGURES, other)]
    assert shown[0] != shown[1], "report/text/outcome.py: in_units or in_steps"


def test_both_columns_are_of_one_length() -> None:
    assert len(list(in_units(FIGURES))) == len(list(in_steps(FIGURES))), (
        "report/text/outcome.py: two columns, side by side"
    )


def test_all_figures_but_the_verdict_are_metrics() -> None:
    assert {each.name for each in fields(Figures)} - set(METRICS) == {"passed"}
