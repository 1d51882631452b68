"""``diff --layers`` on whole trained networks: every layer has its partner, every kernel agrees."""

from __future__ import annotations

from pathlib import Path

import pytest
from contradictions import contradicting_rows
from networks import NETWORKS, make_network

from quantdiff import api

pytestmark = [pytest.mark.keras, pytest.mark.golden, pytest.mark.slow]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_has_its_partner(tmp_path: Path, name: str) -> None:
    made = make_network(name, tmp_path)
    outcome = api.diff(*made.pair, api.Settings(runtimes=("reference", "xnnpack")), layers=True)
    assert not outcome.failures
    for report, comparison in zip(outcome.layers, outcome.comparisons, strict=True):
        assert (report.unrelated, report.notes) == ("", ())
        assert contradicting_rows(report) == {}
        moved = [each.why.partition(":")[0] for each in (*report.only_reference, *report.only_candidate)]
        assert set(moved) <= {"its bias is added in a later operator"}
        assert {layer.confirmed_by for layer in report.layers} == {"values"}
        assert all(layer.kernel_agrees is not False for layer in report.layers)
        assert all(layer.local is not None for layer in report.layers)
        assert report.layers[-1].figures.differing == comparison.figures.differing
