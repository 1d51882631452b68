"""Every figure can be asked for by ``--fail-on``, has a limit for tests where it says how good, and is shown."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from some_figures import FIGURES

from quantdiff.compare.comparison import Figures
from quantdiff.compare.conditions import BOUNDS, METRICS
from quantdiff.report.text.outcome import in_steps, in_units

SAY_NOTHING_OF_QUALITY = {"count", "step"}
PAGE = Path(__file__).parents[2] / "docs/how-to/test-parity-with-pytest.md"


def test_every_figure_that_says_how_good_has_a_limit() -> None:
    assert set(METRICS) - set(BOUNDS) == SAY_NOTHING_OF_QUALITY, "compare/conditions.py: BOUNDS"


def test_the_page_of_assert_parity_names_every_limit() -> None:
    rows = re.findall(r"^\| (`.*`) \| the (largest|smallest) value allowed \|$", PAGE.read_text(), re.M)
    named = {
        name: {"largest": ">", "smallest": "<"}[which] for names, which in rows for name in re.findall(r"\w+", names)
    }
    assert named == {name: sign for name, (sign, _) in BOUNDS.items()}, "docs/how-to/test-parity-with-pytest.md"


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
