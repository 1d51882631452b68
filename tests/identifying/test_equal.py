"""Rules said to be equal give the same for every sum that can come up, and those that are not differ for some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_device import write_network
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph
from quantdiff.identifying.equal import classes, staircase
from quantdiff.identifying.fits import scaled_by, ways_of
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.sim.node import Node, node_of
from quantdiff.sim.rounding.exact_sums import reach_of_sums
from quantdiff.sim.rounding.scaling import scale_sums

RUNTIMES = ("reference", "builtin", "xnnpack", "tflm")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return load_tflite(write_network(tmp_path_factory.mktemp("equal") / "network.tflite")).main


def every_sum(node: Node) -> Array:
    """All sums between the two ends of any channel. Shape: (sums, 1)."""
    low, high = reach_of_sums(node)
    return np.arange(int(np.min(low)), int(np.max(high)) + 1, dtype=np.int64)[:, None]


@pytest.mark.parametrize("index", [3, 5])
def test_equal_is_equal_for_every_sum(graph: Graph, index: int) -> None:
    operator = graph.operators[index]
    node = node_of(graph, operator)
    rules = [*RUNTIMES, *(way.name for way in scaled_by(node).ways[::4])]
    numbers = classes(graph, operator, rules)
    sums, (low, high) = every_sum(node), reach_of_sums(node)
    inside = (sums >= low) & (sums <= high)
    outputs = {rule: np.where(inside, staircase(node, rule)(sums), 0) for rule in rules}
    first: dict[int, str] = {}
    for rule, number in zip(rules, numbers, strict=True):
        assert np.array_equal(outputs[first.setdefault(number, rule)], outputs[rule]), (first[number], rule)
    kept = list(first.values())
    assert all(not np.array_equal(outputs[a], outputs[b]) for i, a in enumerate(kept) for b in kept[:i])


@pytest.mark.parametrize(("seed", "finer"), [(0, 1), (1, 256), (2, 1)])
def test_only_contested_sums_are_computed_by_each_way(graph: Graph, seed: int, finer: int) -> None:
    """What the short way counts is what every way gives for all sums; of finer scales a short mantissa loses more."""
    node = node_of(graph, graph.operators[0])
    known, rng = scaled_by(node), np.random.default_rng(seed)
    scaled = replace(known, scales={name: scale / finer for name, scale in known.scales.items()})
    acc = rng.integers(-60_000 * finer, 60_000 * finer, (4000, 12))
    device = rng.integers(-128, 128, acc.shape) if seed == 2 else staircase(node, "G")(acc // finer)
    found = ways_of(acc, device, scaled)
    for way in scaled.ways:
        y = scale_sums(acc, scaled.scales[way.scale], way, scaled.zero_point).clip(*scaled.clamp)
        wrong = np.flatnonzero((y != device).reshape(-1))
        count, at, value = found[way.name]
        assert count == wrong.size
        assert not count or (at, value) == (wrong[0], y.reshape(-1)[wrong[0]])


def test_functions_of_single_values_are_compared_for_every_value(tmp_path: Path) -> None:
    tensors = [T("x", (1, 5), scale=0.05, zero_point=3), T("y", (1, 5), scale=1 / 256, zero_point=-128)]
    path = tmp_path / "curve.tflite"
    path.write_bytes(write_tflite(tensors, [Op("LOGISTIC", ["x"], ["y"])], ["x"], ["y"]))
    graph = load_tflite(path).main
    rules = (*RUNTIMES, "real half-even", "real floor")
    numbers = dict(zip(rules, classes(graph, graph.operators[0], rules), strict=True))
    assert numbers["reference"] == numbers["tflm"] == numbers["real half-even"] != numbers["real floor"]


def test_what_is_only_moved_is_moved_by_all_alike(graph: Graph) -> None:
    assert classes(graph, graph.operators[4], RUNTIMES) == [0, 0, 0, 0]
