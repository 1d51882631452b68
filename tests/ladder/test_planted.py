"""What is planted leads: seven faults in four networks, for a float ``.tflite`` and for a Keras model."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from float_pairs import NETS, Net, write_pair
from keras_nets import keras_model
from planted_faults import PLANTED, Plant

from quantdiff import api
from quantdiff.ladder.explanation import GRAPH, MECHANISMS, REWRITTEN, Explanation

LEADS = 0.9

pytestmark = [pytest.mark.golden, pytest.mark.keras]


def explained(plant: Plant, folder: Path, reference: str) -> Explanation:
    files = write_pair(folder, plant.trained, plant.held, plant.stored, plant.scales)
    source: Any = files.reference if reference == "tflite" else keras_model(plant.trained)
    (explanation,) = api.explain(source, files.candidate, files.batch, api.Settings(runtimes=("reference",))).found
    return explanation


@pytest.mark.parametrize("reference", ["tflite", pytest.param("keras", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("net", NETS)
def test_what_is_planted_leads(tmp_path: Path, net: str, plant: Callable[[Net], Plant], reference: str) -> None:
    planted = plant(NETS[net]())
    explanation = explained(planted, tmp_path, reference)
    frontier, mechanism = explanation.frontier, planted.mechanism
    assert not explanation.unaccounted
    assert frontier is not None
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert frontier.closes < 1e-9
    assert explanation.leading == mechanism
    assert frontier.shares[mechanism] >= LEADS
    largest = [rung.max_steps or 0 for rung in explanation.rungs]
    drops = [above - below for above, below in pairwise(largest)]
    rung = REWRITTEN if mechanism == GRAPH else mechanism
    assert drops[MECHANISMS.index(rung) - 1] == max(drops)
    if mechanism == GRAPH:
        assert re.match(planted.departs, explanation.departs), explanation.departs
    else:
        assert (frontier.items[0].tensor, frontier.items[0].mechanism) == (planted.tensor, mechanism)
        assert frontier.items[0].share >= LEADS
        assert not explanation.departs
