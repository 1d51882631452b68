"""What a layer makes of the runtime's own input, by exact sums of integers and in double."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_pairs import NETS, write_pair

from quantdiff.ladder import account
from quantdiff.ladder.switches import switches
from quantdiff.load.tflite import load_tflite
from quantdiff.run.inputs import inputs_of
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime


@pytest.mark.parametrize("net", NETS)
def test_exact_sums_give_the_integers_of_sums_in_double(
    tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_pair(tmp_path, NETS[net]())
    found = switches(load_tflite(files.candidate), load_tflite(files.reference))
    stored = simulate(found.model.main, inputs_of(found.model, files.batch), Runtime.REFERENCE).values
    makers = {i: op for _, i in account.layers_of(found) if (op := found.file.graph.producer(i)) is not None}
    products = [op for op in makers.values() if op.op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]
    assert all(account._exact(found, op, stored) for op in products)
    on = found, found.rungs()
    exact = {i: account._local(on, stored, i, op) for i, op in makers.items()}
    monkeypatch.setattr(account, "_exact", lambda *_: {})
    for i, operator in makers.items():
        double = account._local(on, stored, i, operator)
        assert exact[i].keys() == double.keys()
        assert all(np.array_equal(y, double[mechanism]) for mechanism, y in exact[i].items())


def test_weights_that_the_simulator_does_not_take_are_summed_in_double(tmp_path: Path) -> None:
    """With a zero point of its own for each channel."""
    files = write_pair(tmp_path, NETS["dense"]())
    found = switches(load_tflite(files.candidate), load_tflite(files.reference))
    stored = simulate(found.model.main, inputs_of(found.model, files.batch), Runtime.REFERENCE).values
    first, graph = found.file.operators[0], found.file.graph
    weights = graph.tensors[first.inputs[1]]
    assert weights.quant is not None
    points = tuple(range(len(weights.quant.scale)))
    other = replace(weights, quant=replace(weights.quant, zero_point=points))
    tensors = tuple(other if t is weights else t for t in graph.tensors)
    changed = replace(found, file=replace(found.file, graph=replace(graph, tensors=tensors)))
    assert account._exact(found, first, stored)
    assert not account._exact(changed, first, stored)
