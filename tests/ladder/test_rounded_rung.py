"""The rung ``activation_rounding`` by the simulator's integers is the one of real arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_pairs import NETS, write_pair

from quantdiff.ladder.account import layers_of
from quantdiff.ladder.explanation import CURVES
from quantdiff.ladder.pair_ladder import chains
from quantdiff.ladder.real_graph import Values
from quantdiff.ladder.rounded_rung import as_in_chain, rounded_rung
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.run.inputs import inputs_of
from quantdiff.sim.runtime import Runtime


def pair(folder: Path, net: str) -> tuple[Switches, Batch]:
    files = write_pair(folder, NETS[net]())
    return switches(load_tflite(files.candidate), load_tflite(files.reference)), files.batch


def by_reals(found: Switches, batch: Batch) -> Values:
    """Every tensor at the rung, in real arithmetic."""
    return found.file.run(real_inputs(found.model, batch), found.rungs()[-1][1])


def chain_of(found: Switches, batch: Batch) -> Values:
    return chains(found.model, inputs_of(found.model, batch), Runtime.REFERENCE).rungs[CURVES]


@pytest.mark.parametrize("net", NETS)
def test_integers_give_the_values_of_real_arithmetic(tmp_path: Path, net: str) -> None:
    found, batch = pair(tmp_path, net)
    layers = [i for _, i in layers_of(found)]
    made = rounded_rung(found, real_inputs(found.model, batch), chain_of(found, batch), layers)
    whole = by_reals(found, batch)
    assert any(i in as_in_chain(found, found.rungs()[-1][1]) for i in layers)
    for i in layers:
        if i in found.file.graph.outputs:
            np.testing.assert_allclose(made[i], whole[i], rtol=0, atol=1e-12)
        else:
            assert np.array_equal(made[i], found.file.grids[i].integers(whole[i])), found.file.graph.tensors[i].label


@pytest.mark.parametrize("net", NETS)
def test_what_an_approximated_function_gives_is_not_taken(tmp_path: Path, net: str) -> None:
    """A wrong chain shows where the rung takes it: up to the first curve, and not at the outputs."""
    found, _ = pair(tmp_path, net)
    known = as_in_chain(found, found.rungs()[-1][1])
    curves = ("MEAN", "SOFTMAX", "LOGISTIC", "AVERAGE_POOL_2D")
    behind = {i for op in found.file.operators if op.op in curves for i in op.outputs}
    for operator in found.file.operators:
        behind |= set(operator.outputs) if behind & set(operator.inputs) else set()
    assert not known & behind
    assert known.isdisjoint(i for i in found.ends if i is not None)


def test_another_input_shares_nothing(tmp_path: Path) -> None:
    found, batch = pair(tmp_path, "convolutional")
    chain = {i: np.zeros_like(values) for i, values in chain_of(found, batch).items()}
    layers = [i for _, i in layers_of(found) if i not in found.file.graph.outputs]
    made, whole = rounded_rung(found, real_inputs(found.model, batch), chain, layers), by_reals(found, batch)
    assert all(np.array_equal(made[i], found.file.grids[i].integers(whole[i])) for i in layers)


def test_an_output_that_others_read_is_real_too(tmp_path: Path) -> None:
    """Its grid is no output's own, so that it is rounded as any tensor within."""
    found, batch = pair(tmp_path, "convolutional")
    graph, (first, *_) = found.file.graph, found.file.operators
    outputs = (first.outputs[0], *graph.outputs)
    both = replace(found, file=replace(found.file, graph=replace(graph, outputs=outputs)), ends=(None, *found.ends))
    made, whole = rounded_rung(both, real_inputs(found.model, batch), chain_of(found, batch), []), by_reals(both, batch)
    assert outputs[0] in as_in_chain(both, both.rungs()[-1][1])
    for i in outputs:
        np.testing.assert_allclose(made[i], whole[i], rtol=0, atol=1e-12)


def test_a_bias_in_units_of_its_own_is_not_that_of_the_chain(tmp_path: Path) -> None:
    """Kernels add its integers to the sums, whatever scale it states."""
    found, _ = pair(tmp_path, "convolutional")
    first = next(op for op in found.file.operators if len(op.inputs) > 2)
    main = found.model.main
    bias = main.tensors[first.inputs[2]]
    assert bias.quant is not None
    other = replace(bias, quant=replace(bias.quant, scale=tuple(2 * s for s in bias.quant.scale)))
    tensors = tuple(other if t is bias else t for t in main.tensors)
    changed = replace(found, model=replace(found.model, subgraphs=(replace(main, tensors=tensors),)))
    setting = found.rungs()[-1][1]
    assert first.outputs[0] in as_in_chain(found, setting)
    assert first.outputs[0] not in as_in_chain(changed, setting)
