"""The chain and the single operator: what is missing is named, the rest still runs."""

from __future__ import annotations

from threading import Barrier, get_ident
from typing import Any

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph
from quantdiff.load.tflite import read_model
from quantdiff.quant import Array
from quantdiff.run.random_input import random_inputs, samples_for
from quantdiff.sim.graph import simulator
from quantdiff.sim.graph.simulator import Simulation, simulate, simulate_on_threads
from quantdiff.sim.runtime import Runtime

SHAPE = (1, 4, 4, 2)


def graph_of(*operators: Op, tensors: tuple[T, ...] = (), outputs: tuple[str, ...] = ("y",)) -> Graph:
    standard = (T("x", SHAPE, scale=0.5, zero_point=3), T("m", SHAPE, scale=0.5), T("y", SHAPE, scale=0.25))
    data = write_tflite([*standard, *tensors], operators, ["x"], outputs)
    return read_model(memoryview(data)).main


def test_samples_together_equal_samples_alone() -> None:
    w = np.random.default_rng(0).integers(-9, 9, (2, 3, 3, 2))
    graph = graph_of(
        Op("CONV_2D", ["x", "w", "b"], ["m"], {"strideH": 1, "strideW": 1}),
        Op("SOFTMAX", ["m"], ["y"], {"beta": 1.0}),
        tensors=(
            T("w", (2, 3, 3, 2), scale=0.5, data=w),
            T("b", (2,), "int32", scale=0.25, data=[5, -5]),
        ),
    )
    (x,) = random_inputs(graph, 7)
    whole = simulate(graph, [x], Runtime.XNNPACK)
    parts = [simulate(graph, [row[None]], Runtime.XNNPACK) for row in x]
    assert whole.values[2].shape == (7, *SHAPE)
    np.testing.assert_array_equal(whole.values[2], np.concatenate([part.values[2] for part in parts]))


@pytest.mark.parametrize("shape", [(1, 32), (4, 8), (2, -1, 4)])
def test_samples_get_another_shape_each(shape: tuple[int, ...]) -> None:
    graph = graph_of(
        Op("RESHAPE", ["x", "s"], ["r"]),
        tensors=(
            T("s", (len(shape),), "int32", data=shape),
            T("r", tuple(4 if n < 0 else n for n in shape), scale=0.5, zero_point=3),
        ),
        outputs=("r",),
    )
    (x,) = random_inputs(graph, 7)
    (made,) = graph.outputs
    whole = simulate(graph, [x], Runtime.XNNPACK).values[made]
    alone = [simulate(graph, [row[None]], Runtime.XNNPACK).values[made] for row in x]
    np.testing.assert_array_equal(whole, np.concatenate(alone), strict=True)


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_threads_share_out_the_samples(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, whole or what is to be kept; what is missing is so once; each share on a thread of its own."""
    graph = graph_of(
        Op("QUANTIZE", ["x"], ["m"]),
        Op("FancyNorm", ["m"], ["f"], custom=True),
        Op("ADD", ["m", "x"], ["y"]),
        tensors=(T("f", SHAPE),),
        outputs=("f", "y"),
    )
    (x,) = random_inputs(graph, 7)
    shares, whole = list[tuple[int, int]](), simulate(graph, [x], Runtime.XNNPACK)
    at_once = Barrier(min(threads, 7))

    def watched(graph: Graph, inputs: list[Array], *rest: Any, **keep: Any) -> Simulation:
        shares.append((len(inputs[0]), get_ident()))
        at_once.wait(10)
        return simulate(graph, inputs, *rest, **keep)

    monkeypatch.setattr(simulator, "simulate", watched)
    for keep in (None, {2}):
        shares.clear()
        found = simulate_on_threads(threads, graph, [x], Runtime.XNNPACK, keep=keep)
        assert sum(count for count, _ in shares) == 7
        assert len({thread for _, thread in shares}) == min(threads, 7)
        assert found.values.keys() == (whole.values.keys() if keep is None else keep)
        assert all(np.array_equal(found.values[i], whole.values[i]) for i in found.values)
        assert found.missing == whole.missing != ()


def test_what_nobody_reads_any_more_goes() -> None:
    graph = graph_of(
        Op("QUANTIZE", ["x"], ["m"]),
        Op("QUANTIZE", ["m"], ["unread"]),
        Op("ADD", ["m", "x"], ["y"]),
        tensors=(T("unread", SHAPE, scale=0.5),),
    )
    (x,) = random_inputs(graph, 3)
    whole = simulate(graph, [x], Runtime.REFERENCE)
    assert whole.values.keys() == {0, 1, 2, 3}
    for keep in ({2}, {1, 2}, {2, 3}, {0, 2}):
        kept = simulate(graph, [x], Runtime.REFERENCE, keep=keep)
        assert kept.values.keys() == keep
        assert all(np.array_equal(kept.values[i], whole.values[i]) for i in keep)


def test_what_is_missing_is_named_and_the_rest_runs() -> None:
    graph = graph_of(
        Op("QUANTIZE", ["x"], ["m"]),
        Op("FancyNorm", ["m"], ["f"], custom=True),
        Op("QUANTIZE", ["f"], ["g"]),
        Op("QUANTIZE", ["m"], ["y"]),
        tensors=(T("f", SHAPE, scale=0.5), T("g", SHAPE, scale=0.5)),
    )
    simulation = simulate(graph, random_inputs(graph, 2), Runtime.REFERENCE)
    assert [(m.index, m.op) for m in simulation.missing] == [(1, "CUSTOM:FancyNorm")]
    assert simulation.skipped == (2,)
    assert simulation.values[2].shape == (2, *SHAPE)


def test_an_operator_that_waits_for_itself_is_named() -> None:
    graph = graph_of(Op("QUANTIZE", ["m"], ["m"]), Op("QUANTIZE", ["m"], ["y"]))
    (missing,) = simulate(graph, random_inputs(graph, 2), Runtime.REFERENCE).missing
    assert (missing.index, missing.op) == (0, "QUANTIZE")
    assert "nothing before it makes" in missing.why


def test_an_output_may_be_a_constant() -> None:
    graph = graph_of(
        Op("QUANTIZE", ["x"], ["y"]), tensors=(T("c", (3,), scale=0.5, data=[1, 2, 3]),), outputs=("y", "c")
    )
    simulation = simulate(graph, random_inputs(graph, 2), Runtime.REFERENCE)
    assert simulation.values[graph.outputs[1]].tolist() == [[1, 2, 3]] * 2


def test_tensors_that_do_not_fit_are_named() -> None:
    graph = graph_of(
        Op("CONV_2D", ["x", "w", "b"], ["y"], {"strideH": 1, "strideW": 1}),
        tensors=(
            T("w", (2, 3, 3, 7), scale=0.5, data=np.ones((2, 3, 3, 7))),
            T("b", (2,), "int32", scale=0.25, data=[0, 0]),
        ),
    )
    (missing,) = simulate(graph, random_inputs(graph, 1), Runtime.REFERENCE).missing
    assert (missing.op, missing.index) == ("CONV_2D", 0)
    assert "do not fit" in missing.why


def test_random_input_covers_its_range_and_grows_no_larger_than_memory() -> None:
    graph = graph_of(Op("QUANTIZE", ["x"], ["y"]))
    (x,) = random_inputs(graph, 300)
    assert [int(x.min()), int(x.max()), x.dtype.name] == [-128, 127, "int8"]
    np.testing.assert_array_equal(x, random_inputs(graph, 300)[0])
    huge = graph_of(Op("QUANTIZE", ["x"], ["h"]), tensors=(T("h", (1, 3000, 3000, 2), scale=1.0),))
    assert samples_for(huge) == 1
    assert samples_for(graph) == 64


def test_random_floats_reach_beyond_the_grid_that_they_are_quantized_to() -> None:
    data = write_tflite(
        [T("x", (1, 5000), "float32"), T("y", (1, 5000), scale=0.5, zero_point=28)],
        [Op("QUANTIZE", ["x"], ["y"])],
        ["x"],
        ["y"],
    )
    (x,) = random_inputs(read_model(memoryview(data)).main, 1)
    assert -85 < x.min() < -78
    assert 49.5 < x.max() < 56
