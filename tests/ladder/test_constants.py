"""Kernels add a bias's integers to their sums: what its own scale says changes nothing, here as on the runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_pairs import dense, write_pair

from quantdiff import api
from quantdiff.graph import Graph
from quantdiff.ladder.explanation import MECHANISMS
from quantdiff.ladder.real_operator import in_units_of_sums
from quantdiff.ladder.switches import real_graph
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array


def biases(graph: Graph) -> list[Array]:
    """Of every product, in real units."""
    real = real_graph(graph)
    return [real.constants[op.inputs[2]] for op in real.operators if op.op == "FULLY_CONNECTED"]


def two_uses(graph: Graph) -> Graph:
    """The first layer's bias for the second too, as where one layer is used twice."""
    first, second, *others = graph.operators
    return replace(graph, operators=(first, replace(second, inputs=(*second.inputs[:2], first.inputs[2])), *others))


def test_a_bias_has_the_units_of_its_sums(tmp_path: Path) -> None:
    graph = load_tflite(write_pair(tmp_path, dense()).candidate).main
    assert in_units_of_sums(graph) is graph
    first, second, *_ = two_uses(graph).operators
    own, shared, *_ = biases(two_uses(graph))
    x, w = (graph.tensors[i].quant for i in second.inputs[:2])
    assert x is not None
    assert w is not None
    codes = graph.tensors[first.inputs[2]].data
    assert codes is not None
    np.testing.assert_array_equal(own, biases(graph)[0])
    np.testing.assert_allclose(shared, codes * (np.float64(x.scale[0]) * np.asarray(w.scale)), rtol=1e-7)


@pytest.mark.golden
def test_a_scale_that_no_kernel_reads_changes_no_share(tmp_path: Path) -> None:
    files = write_pair(tmp_path, dense())
    bias = load_tflite(files.candidate).main.tensors[-1].quant
    assert bias is not None
    stated = np.asarray(bias.scale, np.float32)
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(files.candidate.read_bytes().replace(stated.tobytes(), (stated * np.float32(3)).tobytes()))
    assert damaged.read_bytes() != files.candidate.read_bytes()
    settings = api.Settings(runtimes=("reference",))
    before, after = (
        api.explain(files.reference, path, files.batch, settings).found[0] for path in (files.candidate, damaged)
    )
    assert before.frontier is not None
    assert after.frontier is not None
    assert after.closed_candidate
    for mechanism in MECHANISMS:
        share = before.frontier.shares.get(mechanism, 0.0)
        assert after.frontier.shares.get(mechanism, 0.0) == pytest.approx(share, abs=1e-5)
