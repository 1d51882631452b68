"""Which operators of two graphs are partners."""

from __future__ import annotations

from dataclasses import replace

import pytest
from float_pairs import Net, Node, convolutional, dense, float_model, int8_model, ranges, residual, two_inputs

from quantdiff.graph import Model
from quantdiff.ladder import matching
from quantdiff.ladder.matching import lowered, pair_operators
from quantdiff.ladder.switches import real_graph
from quantdiff.load.tflite import read_model

NETS = (dense(), convolutional(), residual(), two_inputs())


def pairs(file: Model, reference: Model) -> list[tuple[int, int]]:
    both = real_graph(file.main), lowered(real_graph(reference.main))
    return [(a.index, b.index) for a, b in pair_operators(*both)]


@pytest.mark.parametrize("net", NETS, ids=["dense", "convolutional", "residual", "two inputs"])
def test_what_is_alike_at_the_end_is_paired_as_by_all_pairs(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = read_model(memoryview(float_model(net)))
    twice = [*net.nodes, *(Node("RELU", [net.nodes[-1].output], f"e{k}", net.nodes[-1].shape) for k in range(3))]
    longer = read_model(memoryview(float_model(replace(net, nodes=twice))))
    files = [reference, read_model(memoryview(int8_model(net, ranges(net)))), longer]
    found = [pairs(a, b) for a in files for b in (reference, longer)]
    assert len(found[0]) == len(net.nodes)
    monkeypatch.setattr(matching, "_alike_at_the_end", lambda *_: 0)
    assert found == [pairs(a, b) for a in files for b in (reference, longer)]
