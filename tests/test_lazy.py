"""Registries fill themselves from their folder, once, and take no name twice."""

import pytest

from quantdiff.lazy import Registry


def test_two_entries_of_one_name_are_refused() -> None:
    registry: Registry[int] = Registry("quantdiff.sim.ops")
    registry.add("ADD", 1)
    with pytest.raises(ValueError, match=r"two entries of quantdiff.sim.ops are called ADD"):
        registry.add("ADD", 2)


def test_entries_come_in_the_order_of_their_names() -> None:
    registry: Registry[int] = Registry("quantdiff.report")
    registry.add("b", 1)
    registry.add("a", 2)
    assert list(registry.load()) == ["a", "b"]
