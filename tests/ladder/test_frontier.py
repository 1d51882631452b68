"""How the frontier is walked, on states by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantdiff.ladder import frontier
from quantdiff.ladder.explanation import INPUT, KERNEL
from quantdiff.ladder.frontier import UNDEFINED, Move, walk
from quantdiff.quant import Array


class States:
    """Outputs before each stage; every stage changes one value, by one mechanism."""

    def __init__(self, outputs: list[float]) -> None:
        self.outputs, self.stages = outputs, tuple(range(len(outputs) - 1))
        self.asked, self.switches = Counter[int](), SimpleNamespace(file=SimpleNamespace(grids={}))

    def at(self, stage: int) -> Array:
        self.asked[stage] += 1
        return np.array([[self.outputs[stage]]])

    def before(self, stage: int) -> dict[int, Array]:
        del stage
        return {}

    def within(self, stage: int) -> Iterator[tuple[str, list[Array]]]:
        del stage
        yield "", [np.zeros(1)]
        yield INPUT, [np.ones(1)]

    def behind(self, known: dict[int, Array]) -> Array:
        raise AssertionError(known)


def walked(states: Any) -> dict[Move, float]:
    ends = (np.array([[states.outputs[k]]]) for k in (0, -1))
    found = dict[Move, float]()
    for move, change in walk(states, *ends):
        found[move] = found.get(move, 0.0) + change.item()
    return found


def test_every_state_is_computed_once() -> None:
    states = States([0.0, 1.0, 3.0, 2.0, 7.0, 7.0])
    found = walked(states)
    assert found == {Move(None, k, INPUT): d for k, d in enumerate([1.0, 2.0, -1.0, 5.0, 0.0])}
    assert states.asked == Counter({1: 1, 2: 1, 3: 1, 4: 1})


def test_what_real_arithmetic_leaves_undefined_waits_and_is_told_with_its_cause() -> None:
    states = States([0.0, 1.0, 10 * UNDEFINED, np.inf, 4.0, 6.0])
    assert walked(states) == {Move(None, 0, INPUT): 1.0, Move(None, 1, KERNEL): 3.0, Move(None, 4, INPUT): 2.0}


def test_stretches_of_a_large_network_that_change_next_to_nothing_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    states = States([0.0, 1.0, *(1.0 + 1e-5 * k for k in range(1, 5)), 1.0, 1.0])
    monkeypatch.setattr(frontier, "SMALL", 4)
    found = walked(states)
    assert found[Move(None, 0, INPUT)] == 1.0
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-15)
    assert {move.mechanism for move in found} == {INPUT, ""}
