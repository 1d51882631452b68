"""What is planted is cured, and what is promised is what real arithmetic gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_pairs import Net, Node, convolutional, dense, ranges, write_pair
from planted_faults import Plant, kernel_changed, range_narrow
from written_models import Op, T, write_tflite

from quantdiff import api
from quantdiff.ladder import cures
from quantdiff.ladder.advice.planned import files_of
from quantdiff.ladder.advice.plans import Plan, Tries, wide
from quantdiff.ladder.explanation import KERNEL, OUTPUT_GRID
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.rungs import in_slices, real_inputs
from quantdiff.ladder.switches import SWITCHES, switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("net", [dense, convolutional])
@pytest.mark.parametrize(
    ("plant", "words"), [(range_narrow, "its output in float"), (kernel_changed, "kernel in float")]
)
def test_what_is_planted_is_cured(
    tmp_path: Path, net: Callable[[], Net], plant: Callable[[Net], Plant], words: str
) -> None:
    planted = plant(net())
    files = write_pair(tmp_path, planted.trained, planted.held, planted.stored, planted.scales)
    (told,) = api.explain(files.reference, files.candidate, files.batch).found
    assert not told.notes
    best, model = told.advice[0], load_tflite(files.candidate)
    assert f"({planted.tensor})" in best.change
    assert best.now is not None
    assert best.then is not None
    assert best.then.sqnr_db > best.now.sqnr_db + 5
    cure = next(each for each in told.advice if each.change.endswith(words))
    found = switches(model, load_tflite(files.reference))
    filed = found.setting(frozenset(SWITCHES))
    at = next(t.index for t in model.main.tensors if t.name == planted.tensor)
    if words == "kernel in float":
        maker = found.file.graph.producer(at)
        assert maker is not None
        own = found.matches[maker.inputs[1]].value
        assert own is not None
        filed = replace(filed, constants={maker.inputs[1]: own})
    else:
        filed = replace(filed, clipped=filed.clipped - {at}, rounded=filed.rounded - {at})
    inputs, outputs = real_inputs(model, files.batch), model.main.outputs
    (mine,), (bare,) = (in_slices(found.file, inputs, each, outputs).values() for each in (filed, found.rewritten))
    step = found.file.grids[outputs[0]].scale
    assert cure.then is not None
    count = cure.samples
    assert cure.then.rms_steps == pytest.approx(math.sqrt(np.square((mine - bare)[:count] / step).mean()), rel=0.02)


def pooled() -> Net:
    """The convolutional one with a largest value in between, on the grid of what it reads: its kernel knows one."""
    pool = {"padding": 1, "strideW": 1, "strideH": 1, "filterWidth": 1, "filterHeight": 1, "fusedActivationFunction": 0}
    first, second, *others = convolutional().nodes
    between = Node("MAX_POOL_2D", ["h1"], "p", (1, 6, 6, 6), pool, shared="h1")
    return replace(convolutional(), nodes=[first, between, replace(second, inputs=["p"]), *others])


def test_what_copies_a_tensor_has_its_grid_in_a_cure(tmp_path: Path) -> None:
    planted = range_narrow(pooled())
    files = write_pair(tmp_path, planted.trained, planted.held, planted.stored)
    (told,) = api.explain(files.reference, files.candidate, files.batch).found
    assert not told.notes
    words = ("its output in float", "its output in int16", "range from this data")
    cures = {each.change.partition(": ")[2]: each.then for each in told.advice if "(h1)" in each.change}
    assert set(words) <= cures.keys()
    for then in cures.values():
        assert then is not None
        assert told.advice[0].now is not None
        assert then.sqnr_db > told.advice[0].now.sqnr_db + 5


def with_a_first_state(dtype: str) -> bytes:
    """A dense layer behind a sum with zeros of the input's shape, as converters write the first state of a cell."""
    dice, quantized = np.random.default_rng(5), dtype == "int8"
    w, b = dice.normal(size=(3, 6)), dice.normal(size=3)

    def held(scale: float) -> float | None:
        return scale if quantized else None

    weights, bias = (np.rint(w / 0.02), np.rint(b / 0.0004)) if quantized else (w, b)
    tensors = [
        T("x", (1, 6), dtype, held(0.02)),
        T("s", (2,), "int32"),
        T("v", (), dtype, held(0.02), data=0),
        T("z", (1, 6), dtype, held(0.02)),
        T("r", (1, 6), dtype, held(0.02)),
        T("w", (3, 6), dtype, held(0.02), data=weights),
        T("b", (3,), "int32" if quantized else dtype, held(0.0004), data=bias),
        T("y", (1, 3), dtype, held(0.05)),
    ]
    operators = [
        Op("SHAPE", ["x"], ["s"], {"outType": 2}),
        Op("FILL", ["s", "v"], ["z"], version=2),
        Op("ADD", ["x", "z"], ["r"], version=2),
        Op("FULLY_CONNECTED", ["r", "w", "b"], ["y"], {}, version=4),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def test_what_is_made_of_a_shape_alone_stands_behind_what_has_it(tmp_path: Path) -> None:
    for name, dtype in (("float", "float32"), ("int8", "int8")):
        (tmp_path / f"{name}.tflite").write_bytes(with_a_first_state(dtype))
    x = np.random.default_rng(6).uniform(-2, 2, (40, 6)).astype(np.float32)
    (told,) = api.explain(tmp_path / "float.tflite", tmp_path / "int8.tflite", Batch({"x": x})).found
    assert not told.notes
    assert told.advice


def test_a_change_that_no_runtime_loads_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a line of its own, and every other cure stands."""
    planted = range_narrow(dense())
    files = write_pair(tmp_path, planted.trained, planted.held, planted.stored)
    (whole,) = api.explain(files.reference, files.candidate, files.batch).found
    assert not whole.notes
    tensors = [T("x", (1, 12), "float32"), T("w", (3, 5), "float32", data=np.ones((3, 5))), T("y", (1, 3), "float32")]
    refused = write_tflite(tensors, [Op("FULLY_CONNECTED", ["x", "w"], ["y"], {})], ["x"], ["y"])

    def written(plans: Sequence[Plan], content: bytes) -> Iterator[Tries]:
        unloadable = any(plan.grids and set(plan.grids.values()) & marked for plan in plans)
        for tries in files_of(plans, content):
            yield replace(tries, planned=replace(tries.planned, content=refused)) if unloadable else tries

    marked = set[Grid]()

    def noted(ends: tuple[float, float]) -> Grid:
        marked.add(wide(ends))
        return wide(ends)

    monkeypatch.setattr(cures, "wide", noted)
    monkeypatch.setattr("quantdiff.ladder.cures.files_of", written)
    (told,) = api.explain(files.reference, files.candidate, files.batch).found
    lost = [each for each in whole.advice if each.change.endswith("its output in int16")]
    assert lost
    assert len(told.notes) >= len(lost)
    for line in told.notes:
        assert re.fullmatch(r".+: its output in int16 could not be tried: xnnpack on a changed copy failed: .+", line)
    assert told.advice == tuple(each for each in whole.advice if each not in lost)


def test_a_range_for_an_output_that_is_cut_off_comes_first(tmp_path: Path) -> None:
    """What is promised is what the file with that range gives."""
    net = dense()
    held = ranges(net)
    low, high = held["y"]
    folders = tmp_path / "narrow", tmp_path / "whole"
    for folder in folders:
        folder.mkdir()
    narrow = write_pair(folders[0], net, {**held, "y": (0.4 * low, 0.4 * high)})
    whole = write_pair(folders[1], net, held)
    (told,) = api.explain(narrow.reference, narrow.candidate, narrow.batch).found
    first = told.advice[0]
    assert first.mechanism == OUTPUT_GRID
    assert re.fullmatch(r"FULLY_CONNECTED \d+ \(y\): range of the output from this data", first.change)
    (now,) = api.diff(narrow.reference, narrow.candidate, narrow.batch).comparisons
    (then,) = api.diff(whole.reference, whole.candidate, narrow.batch).comparisons
    assert first.now is not None
    assert first.then is not None
    assert first.now.sqnr_db == pytest.approx(now.figures.sqnr_db, abs=0.5)
    assert first.then.sqnr_db == pytest.approx(then.figures.sqnr_db, abs=0.5)
    assert first.then.sqnr_db > first.now.sqnr_db + 10


def test_a_copy_between_two_grids_is_the_files_fault(tmp_path: Path) -> None:
    """As a converter writes it behind unrolled layers that read their input backwards."""
    net = dense()
    first, _, last = net.nodes
    turned = Node("REVERSE_V2", ["h1"], "r", (1, 16), {}, np.array([1], np.int32))
    net = replace(net, nodes=[first, turned, replace(last, inputs=["r"])])
    held = ranges(net)
    low, high = held["h1"]
    files = write_pair(tmp_path, net, {**held, "r": (low - 0.1 * high, high)})
    (told,) = api.explain(files.reference, files.candidate, files.batch).found
    assert told.frontier is not None
    assert (told.frontier.items[0].op, told.frontier.items[0].mechanism) == ("REVERSE_V2", KERNEL)
    assert told.frontier.items[0].share > 0.9
    assert any(note.startswith("REVERSE_V2 1 copies the integers of its input") for note in told.notes), told.notes
    best = told.advice[0]
    assert best.change.endswith("the grid of its input, whose integers it copies")
    assert best.now is not None
    assert best.then is not None
    assert best.then.sqnr_db > best.now.sqnr_db + 10
    assert not api.explain(*_alike(tmp_path, net, held)).found[0].notes


def _alike(folder: Path, net: Net, held: dict[str, tuple[float, float]]) -> tuple[Path, Path, Batch]:
    """The same with one grid for both."""
    (other := folder / "other").mkdir()
    files = write_pair(other, net, {**held, "r": held["h1"]})
    return files.reference, files.candidate, files.batch
