"""A file whose grids perform the reference's activations says them nowhere else; that is no other graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from float_pairs import RELU6, Ends, Net, convolutional, dense, ranges, write_pair

from quantdiff import api
from quantdiff.ladder.explanation import CLIPPING, GRAPH, Explanation
from quantdiff.ladder.matching import performs
from quantdiff.ladder.real_graph import Grid


def explained(folder: Path, net: Net, held: Mapping[str, Ends], stored: Net) -> Explanation:
    folder.mkdir()
    files = write_pair(folder, net, held, stored)
    settings: Any = api.Settings(runtimes=("reference",))
    (explanation,) = api.explain(files.reference, files.candidate, files.batch, settings).found
    return explanation


def six(net: Net) -> tuple[Net, dict[str, Ends]]:
    """With RELU6 behind values that reach it, on grids that end at 0 and 6."""
    inner = [n.output for n in net.nodes[:-1]]
    loud = replace(net, data={name: 9 * array for name, array in net.data.items()})
    loud = replace(loud, nodes=[n if n.output not in inner else _with(n, RELU6) for n in loud.nodes])
    return loud, ranges(loud) | dict.fromkeys(inner, (0.0, 6.0))


def _with(node: Any, activation: int) -> Any:
    return replace(node, options={**node.options, "fusedActivationFunction": activation})


def plain(net: Net) -> Net:
    """Without a fused activation anywhere."""
    return replace(net, nodes=[_with(n, 0) if "fusedActivationFunction" in n.options else n for n in net.nodes])


@pytest.mark.golden
@pytest.mark.parametrize("activation", ["RELU", "RELU6"])
def test_what_a_grid_performs_counts_as_if_it_were_said(tmp_path: Path, activation: str) -> None:
    net, held = (dense(), ranges(dense())) if activation == "RELU" else six(dense())
    said, unsaid = (explained(tmp_path / name, net, held, each) for name, each in (("a", net), ("b", plain(net))))
    assert not unsaid.unaccounted
    assert not unsaid.departs
    assert unsaid.closed_reference
    assert unsaid.frontier is not None
    assert said.frontier is not None
    assert unsaid.frontier.shares == said.frontier.shares
    assert [(a.change, a.then) for a in unsaid.advice] == [(a.change, a.then) for a in said.advice]
    assert said.advice


@pytest.mark.golden
def test_what_a_grid_does_not_perform_is_another_graph(tmp_path: Path) -> None:
    net = dense()
    held = ranges(plain(net))
    explanation = explained(tmp_path / "a", net, held, plain(net))
    assert explanation.departs.endswith("with RELU in the reference, NONE in the file")


@pytest.mark.golden
def test_what_the_reference_does_not_have_is_clipping(tmp_path: Path) -> None:
    net = plain(convolutional())
    explanation = explained(tmp_path / "a", net, ranges(convolutional()), net)
    assert not explanation.departs
    assert explanation.frontier is not None
    assert explanation.frontier.shares.get(CLIPPING, 0.0) > 0.9
    assert not explanation.frontier.shares.get(GRAPH)


@pytest.mark.parametrize(
    ("grid", "activation", "does"),
    [
        (Grid(6 / 255, -128, -128, 127), "RELU6", True),
        (Grid(0.023528477177023888, 0, 0, 255), "RELU6", True),
        (Grid(6 / 254, -128, -128, 127), "RELU6", False),
        (Grid(6 / 254, -128, -128, 127), "RELU", True),
        (Grid(6 / 255, -127, -128, 127), "RELU", False),
        (Grid(2 / 255, -1, -128, 127), "RELU_N1_TO_1", True),
        (Grid(2 / 255, 0, -128, 127), "RELU_N1_TO_1", False),
    ],
)
def test_a_grid_performs_what_changes_none_of_its_integers(grid: Grid, activation: str, does: bool) -> None:
    assert performs(grid, activation) == does
