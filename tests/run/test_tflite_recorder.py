"""Files from inside: which values there are, and each operator again on other inputs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Grid, QuantParams, Value
from quantdiff.recording import Comparand, Flow, measured, tflite_flow
from quantdiff.references.tflite.reference import TfliteRecorder
from quantdiff.run.runner import started

NONE = {"fusedActivationFunction": 0}
ROWS = {"shape_signature": (-1, 4)}


def written(folder: Path, tensors: list[T], operators: list[Op], ends: tuple[str, str]) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(write_tflite(tensors, operators, [ends[0]], [ends[1]]))
    return path


def float_ends(folder: Path) -> Path:
    tensors = [
        T("real", (1, 4), "float32"),
        T("x", (1, 4), scale=0.5, zero_point=1),
        T("w", (4, 4), scale=0.1, data=np.eye(4)),
        T("shape", (2,), "int32", data=[1, 4]),
        T("y", (1, 4), scale=0.25),
        T("flat", (1, 4), scale=0.25),
        T("out", (1, 4), "float32"),
    ]
    operators = [
        Op("QUANTIZE", ["real"], ["x"]),
        Op("FULLY_CONNECTED", ["x", "w", None], ["y"], NONE),
        Op("RESHAPE", ["y", "shape"], ["flat"]),
        Op("DEQUANTIZE", ["flat"], ["out"]),
    ]
    return written(folder, tensors, operators, ("real", "out"))


def names(flow: Flow, keys: frozenset[int]) -> set[str]:
    return {place.name for place in flow.places if place.key in keys}


def test_places_of_a_file(tmp_path: Path) -> None:
    flow = tflite_flow(load_tflite(float_ends(tmp_path)), "tflite:x")
    places = flow.by_key()
    assert [place.name for place in flow.places] == ["real", "x", "y", "flat", "out"]
    assert [[places[key].name for key in place.feeds] for place in flow.places] == [
        [],
        ["real"],
        ["x"],
        ["y"],
        ["flat"],
    ]
    assert [place.is_weighted for place in flow.places] == [False, False, True, False, False]
    out = flow.places[-1]
    assert (out.quant, out.grid) == (None, Grid(QuantParams((0.25,), (0,)), "int8", "flat"))


def test_floats_that_restate_integers_leave_the_ends_to_these(tmp_path: Path) -> None:
    flow = tflite_flow(load_tflite(float_ends(tmp_path)), "tflite:x")
    assert names(flow, flow.restating()) == {"real", "out"}
    assert names(flow, flow.ends()) == {"flat"}


def test_uint8_around_int8_restates_too(tmp_path: Path) -> None:
    tensors = [
        T("u", (1, 4), "uint8", scale=0.5, zero_point=129),
        T("x", (1, 4), scale=0.5, zero_point=1),
        T("y", (1, 4), scale=0.25, zero_point=1),
    ]
    operators = [Op("QUANTIZE", ["u"], ["x"]), Op("QUANTIZE", ["x"], ["y"])]
    flow = tflite_flow(load_tflite(written(tmp_path, tensors, operators, ("u", "y"))), "tflite:x")
    assert names(flow, flow.restating()) == {"x"}  # y has another scale


def sums(folder: Path, dtype: str) -> Path:
    scale = None if dtype == "float32" else 0.5
    tensors = [T(name, (1, 4), dtype, scale, **ROWS) for name in ("x", "twice", "four")]  # type: ignore[arg-type]
    operators = [Op("ADD", ["x", "x"], ["twice"], NONE), Op("ADD", ["twice", "twice"], ["four"], NONE)]
    return written(folder, tensors, operators, ("x", "four"))


@pytest.mark.golden
def test_values_hold_until_the_run_after_the_next(tmp_path: Path) -> None:
    with TfliteRecorder(load_tflite(sums(tmp_path, "float32")), partial(started, "reference")) as watched:
        first = watched.run([np.full((3, 4), 1, np.float32)])
        second = watched.run([np.full((5, 4), 2, np.float32)])
        assert (first.value(2) == 4).all()
        assert (second.value(2) == 8).all()
        assert (watched.run([np.full((5, 4), 3, np.float32)]).value(1) == 6).all()


@pytest.mark.golden
@pytest.mark.parametrize("integers", [False, True])
def test_a_float_file_takes_any_values(tmp_path: Path, integers: bool) -> None:
    given = Value("t", np.full((3, 4), 7, np.float32))
    if integers:
        steps = QuantParams((3.5,), (1,))
        given = Value("t", np.full((3, 4), 3, np.int8), steps, Grid(steps, "int8", "t"))
    with TfliteRecorder(load_tflite(sums(tmp_path, "float32")), partial(started, "reference")) as watched:
        seen = watched.run([np.ones((3, 4), np.float32)])
        local = seen.local({0: given, 1: given, 2: given})
    assert {key: set(array.ravel()) for key, array in local.items()} == {0: {1}, 1: {14}, 2: {14}}


@pytest.mark.golden
def test_integers_are_taken_only_on_their_own_grid(tmp_path: Path) -> None:
    own, other = QuantParams((0.5,), (0,)), QuantParams((0.25,), (0,))
    array = np.full((3, 4), 7, np.int8)
    fits, foreign = (Value("t", array, steps, Grid(steps, "int8", "t")) for steps in (own, other))
    with TfliteRecorder(load_tflite(sums(tmp_path, "int8")), partial(started, "reference")) as watched:
        seen = watched.run([np.ones((3, 4), np.float32)])
        assert (seen.local({1: fits, 2: fits})[2] == 14).all()
        assert 2 not in seen.local({1: foreign, 2: fits})


@pytest.mark.golden
def test_children_count_what_this_process_would(tmp_path: Path) -> None:
    steps = QuantParams((0.5,), (0,))
    grid = Grid(steps, "int8", "t")
    theirs = [Value("t", np.full((3, 4), n, np.int8), steps, grid) for n in (2, 7, 9)]
    pairs = [Comparand(key, value, grid) for key, value in enumerate(theirs)]
    for dtype in ("float32", "int8"):
        with TfliteRecorder(load_tflite(sums(tmp_path, dtype)), partial(started, "reference")) as watched:
            x = [np.ones((3, 4), np.float32)]
            here, there = measured(watched.run(x), pairs, {0, 2}), watched.measure(x, pairs, {0, 2})
        assert here.values.keys() == there.values.keys() == {0, 2}
        assert here.local.keys() == there.local.keys() == {0, 1, 2}
        for mine, other in ((here.whole, there.whole), (here.local, there.local)):
            for key in range(3):
                assert np.array_equal(mine[key].packed, other[key].packed)
        assert here.local[2].counts[0, 3] == 4 * abs(9 - 2 * 7)
