"""What the rung ``rewritten`` takes from the lowered reference is what it would have computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_pairs import NETS, Net, write_pair

from quantdiff.ladder.explanation import REAL, REWRITTEN
from quantdiff.ladder.rungs import real_inputs, real_rungs
from quantdiff.ladder.set_up import with_alike
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite


def pair(folder: Path, net: Net) -> tuple[Switches, Batch]:
    files = write_pair(folder, net)
    return switches(load_tflite(files.candidate), load_tflite(files.reference)), files.batch


@pytest.mark.parametrize("net", NETS)
def test_a_converted_pair_shares_all_and_the_values_are_those_of_the_whole_graph(tmp_path: Path, net: str) -> None:
    found, batch = pair(tmp_path, NETS[net]())
    shared, made = with_alike(found), {i for op in found.file.operators for i in op.outputs}
    assert {i for i, _ in shared.alike} >= made, "ladder/set_up.py shares less than it could"
    values = real_rungs(shared, range(len(found.ends)), batch, made).values
    whole = found.file.run(real_inputs(found.model, batch), found.rewritten)
    for tensor in made:
        np.testing.assert_allclose(values[REWRITTEN][tensor], whole[tensor], rtol=0, atol=1e-12)


@pytest.mark.parametrize("fault", ["constant", "option", "grid"])
def test_what_differs_and_what_lies_behind_it_is_not_shared(tmp_path: Path, fault: str) -> None:
    found, _ = pair(tmp_path, NETS["convolutional"]())
    operators = found.file.operators
    second = operators[1]
    if fault == "constant":
        kernel = next(i for i in second.inputs if i in found.matches)
        value = found.matches[kernel].value
        assert value is not None
        other = replace(found.matches[kernel], value=np.nextafter(value, np.inf))
        found = replace(found, matches={**found.matches, kernel: other})
    elif fault == "option":
        changed = replace(second, options={**second.options, "stride_h": 7})
        graph = replace(found.file.graph, operators=tuple(changed if o is second else o for o in operators))
        found = replace(found, file=replace(found.file, graph=graph))
    else:
        tensor = second.outputs[0]
        found = replace(found, own={tensor: found.file.grids[tensor]})
    shared = {i for i, _ in with_alike(found).alike}
    assert operators[0].outputs[0] in shared
    assert not shared & {i for op in operators[1:] for i in op.outputs}


def test_other_data_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference may be given its input in another form."""
    found, batch = pair(tmp_path, NETS["dense"]())
    given = real_inputs(found.lowering, batch)
    monkeypatch.setattr(
        "quantdiff.ladder.rungs.real_inputs",
        lambda model, rows: [2 * x for x in given] if model is found.lowering else given,
    )
    values = real_rungs(with_alike(found), range(len(found.ends)), batch, ()).values
    real, rewritten = (next(iter(values[m].values())) for m in (REAL, REWRITTEN))
    assert not np.allclose(real, rewritten)
