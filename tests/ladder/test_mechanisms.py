"""Every mechanism stands in each table that goes by mechanisms, and the frontier knows each switch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from float_pairs import NETS, write_pair

from quantdiff.ladder import explanation
from quantdiff.ladder.explanation import (
    CURVES,
    FRAMEWORK,
    GRAPH,
    KERNEL,
    MECHANISMS,
    OUTPUT_GRID,
    REWRITTEN,
    SMALLER,
)
from quantdiff.ladder.frontier import local_settings
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import SWITCHES, switches
from quantdiff.load.tflite import load_tflite
from quantdiff.report.text.account import CAUSES, WORDS

PAGE = Path(__file__).parents[2] / "docs/how-to/close-a-gap.md"
OF_THE_FRONTIER = (FRAMEWORK, GRAPH, KERNEL, SMALLER, OUTPUT_GRID)


def test_every_rung_is_said_in_words() -> None:
    assert tuple(WORDS) == MECHANISMS, "report/text/account.py: WORDS"


def test_every_mechanism_has_a_name_in_a_sentence() -> None:
    assert {*SWITCHES, *OF_THE_FRONTIER} - set(CAUSES) == set(), "report/text/account.py: CAUSES"


def test_switches_stand_in_the_order_of_the_ladder() -> None:
    first, last = MECHANISMS.index(REWRITTEN) + 1, MECHANISMS.index(CURVES)
    assert MECHANISMS[first:last] == SWITCHES, (
        "ladder/switches.py: SWITCHES, all that stand above the runtime's arithmetic"
    )


def test_the_page_has_a_row_for_every_rung() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M)
    assert tuple(rows) == MECHANISMS, "docs/how-to/close-a-gap.md: the table of rungs"


def test_a_name_is_written_once() -> None:
    names = [value for name, value in vars(explanation).items() if name.isupper() and isinstance(value, str)]
    assert len(names) == len(set(names))
    assert {*MECHANISMS, *OF_THE_FRONTIER} <= set(names)


@pytest.mark.parametrize("net", NETS)
def test_the_frontier_exchanges_what_the_ladder_does_by_the_same_name(net: str, tmp_path: Path) -> None:
    """Else a switch without a sub-step of its own would be told under another name, or as the runtime's kernel."""
    files = write_pair(tmp_path, NETS[net]())
    model = load_tflite(files.candidate)
    found = switches(model, load_tflite(files.reference))
    values = found.file.run(real_inputs(model, files.batch), found.setting(frozenset(SWITCHES)))
    for operator in found.file.operators:
        local = local_settings(found, (operator,))
        for k, mechanism in enumerate(SWITCHES):
            sofar = [setting for name, setting in local if not name or SWITCHES.index(name) <= k]
            both = sofar[-1], found.setting(frozenset(SWITCHES[: k + 1]))
            ours, theirs = (found.file.operate(operator, values, each) for each in both)
            message = f"ladder/frontier.py: local_settings, {mechanism} of {operator.op}"
            assert all(map(np.array_equal, ours, theirs)), message
