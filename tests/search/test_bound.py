"""The bound of a net whose worst input is known by hand, and of small nets that are tried at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_pairs import NETS, Files, Net, Node, ranges, write_pair
from written_models import Op, T, write_tflite

from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.references.tflite.reference import Tracer
from quantdiff.run.runner import RuntimeProcess
from quantdiff.search.bound import Bound, Span, at, bound_of, others

WEIGHTS = np.array([[1.0, -0.5, 0.25]], np.float32)
"""The file holds 127, -64 and 32 of 1/127."""


def by_hand(low: float, high: float, data: Array) -> Net:
    """One sum of three inputs; the output's range is chosen."""
    node = Node("FULLY_CONNECTED", ["x"], "y", (1, 1), {}, WEIGHTS, np.zeros(1, np.float32))
    return Net({"x": (1, 3)}, [node], {"x": data})


def opened(files: Files) -> tuple[Switches, list[Array]]:
    model, reference = load_tflite(files.candidate), load_tflite(files.reference)
    return switches(model, reference), real_inputs(model, files.batch)


def bounded(files: Files, low: float, high: float, unit: float = 1.0) -> tuple[Bound, Switches]:
    found, inputs = opened(files)
    places = found.file.graph.inputs
    ends = {
        i: Span(np.full((1, *x.shape[1:]), low), np.full((1, *x.shape[1:]), high), *[np.zeros((1, *x.shape[1:]))] * 2)
        for i, x in zip(places, inputs, strict=True)
    }
    return bound_of(found, ends, dict(zip(places, at(inputs), strict=True)), unit), found


def test_a_sum_by_hand(tmp_path: Path) -> None:
    """What the weights are off, the input's half step or clipped end times weights, half a step of the output."""
    data = np.array([[1, -1, 1], [-1, 1, -1]], np.float32)
    pair = write_pair(tmp_path, by_hand(-2, 2, data), {"x": (-1.0, 1.0), "y": (-2.0, 2.0)})
    bound, found = bounded(pair, -1.0, 1.0)
    stored = np.array([127, -64, 32]) * np.float64(np.float32(1 / 127))
    in_step, out_step = (found.file.grids[i].scale for i in (0, found.file.graph.outputs[0]))
    ends = found.file.grids[0].ends
    rounding = max(0.5001 * in_step, 1 - ends[1], ends[0] + 1)
    slack = 0.5001 + min(0.5, in_step * float(np.float32(1 / 127)) / out_step)
    by_pen = np.abs(stored - WEIGHTS).sum() + rounding * np.abs(stored).sum() + slack * out_step
    assert bound.error == pytest.approx(by_pen, rel=0.01)
    assert bound.error is not None
    truth = np.abs(stored - WEIGHTS).sum()  # at the corner, whatever is rounded
    assert truth < bound.error
    assert bound.settled is None  # one output decides nothing


def test_what_is_clipped_is_in_the_bound(tmp_path: Path) -> None:
    data = np.array([[1, -1, 1], [-1, 1, -1]], np.float32)
    pair = write_pair(tmp_path, by_hand(-1, 1, data), {"x": (-1.0, 1.0), "y": (-0.5, 0.5)})
    bound, _ = bounded(pair, -1.0, 1.0)
    assert bound.error is not None
    assert bound.unclipped is not None
    assert 1.25 <= bound.error < 1.3  # the sum reaches 1.75, the file's output 0.5
    assert bound.unclipped < 0.05


@pytest.mark.golden
@pytest.mark.parametrize("net", NETS)
def test_no_input_exceeds_it(tmp_path: Path, net: str) -> None:
    pair = write_pair(tmp_path, NETS[net]())
    bound, found = bounded(pair, -1.5, 1.5)
    assert bound.error is not None
    dice = np.random.default_rng(1)
    shapes = [found.file.graph.tensors[i].shape[1:] for i in found.file.graph.inputs]
    drawn = [dice.choice([-1.5, 0.3, 1.5], size=(2000, *shape)).astype(np.float32) for shape in shapes]
    from quantdiff.load.data import Batch

    batch = Batch(dict(zip(pair.batch.arrays, drawn, strict=True)))
    with RuntimeProcess("xnnpack") as process:
        got = Tracer(found.model, process).trace(batch).outputs[0].real.reshape(2000, -1)
    values = found.file.run(real_inputs(found.model, batch), found.rewritten)
    truth = values[found.file.graph.outputs[0]].reshape(2000, -1)
    assert 0 < np.abs(got - truth).max() <= bound.error
    assert bound.error < 1e4 * np.abs(got - truth).max()


def test_a_decision_is_settled_where_the_margin_is_larger_than_the_bound(tmp_path: Path) -> None:
    kernel = np.array([[1, 0], [0, 1]], np.float32)
    node = Node("FULLY_CONNECTED", ["x"], "y", (1, 2), {}, kernel, np.zeros(2, np.float32))
    data = np.array([[1, -1], [0.01, 0.0], [-1, 1], [0.0, 0.001]], np.float32)
    pair = write_pair(tmp_path, Net({"x": (1, 2)}, [node], {"x": data}), {"x": (-1.0, 1.0), "y": (-1.0, 1.0)})
    assert bounded(pair, -1.0, 1.0)[0].settled == 0.5


def test_a_monotone_function_has_exact_images(tmp_path: Path) -> None:
    """The error of a logistic function is largest around 0, be it the middle of the interval or an end."""
    node = Node("LOGISTIC", ["x"], "y", (1, 2))
    data = np.array([[-4.0, 4.0], [4.0, -4.0]], np.float32)
    held = {"x": (-5.0, 5.0), "y": (0.0, 255 / 256)}
    pair = write_pair(tmp_path, Net({"x": (1, 2)}, [node], {"x": data}), held)
    for low, high in ((-4.0, 4.0), (1.0, 2.0), (-4.0, -3.0)):
        bound, found = bounded(pair, low, high)
        half = 0.5001 * found.file.grids[found.file.graph.inputs[0]].scale
        x = np.linspace(low, high, 8001)
        moved = [1 / (1 + np.exp(-(x + e))) - 1 / (1 + np.exp(-x)) for e in (half, -half)]
        assert bound.error == pytest.approx(np.abs(moved).max() + 1 / 256, rel=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize(("op", "options"), [("SOFTMAX", {"beta": 1.0}), ("TANH", {}), ("LOGISTIC", {}), ("ELU", {})])
def test_no_input_exceeds_the_bound_of_a_curve(tmp_path: Path, op: str, options: dict[str, float]) -> None:
    """A sum in front of it, so that there is an error to carry; and the bound stays near what is met."""
    dice = np.random.default_rng(5)
    kernel = dice.normal(size=(3, 4)).astype(np.float32)
    sums = Node("FULLY_CONNECTED", ["x"], "s", (1, 3), {}, kernel, dice.normal(size=3).astype(np.float32))
    data = dice.choice([-1.5, 0.3, 1.5], size=(2000, 4)).astype(np.float32)
    net = Net({"x": (1, 4)}, [sums, Node(op, ["s"], "y", (1, 3), options)], {"x": data})
    held = {"SOFTMAX": (0.0, 255 / 256), "LOGISTIC": (0.0, 255 / 256), "TANH": (-1.0, 127 / 128)}
    pair = write_pair(tmp_path, net, {**ranges(net), **({"y": held[op]} if op in held else {})})
    bound, found = bounded(pair, -1.5, 1.5)
    assert bound.error is not None, bound.stopped
    with RuntimeProcess("xnnpack") as process:
        got = Tracer(found.model, process).trace(pair.batch).outputs[0].real.reshape(2000, -1)
    values = found.file.run(real_inputs(found.model, pair.batch), found.rewritten)
    apart = np.abs(got - values[found.file.graph.outputs[0]].reshape(2000, -1)).max()
    assert 0 < apart <= bound.error < 6 * apart


def test_the_others_of_each() -> None:
    values = np.array([[3.0, 1.0, 2.0]])
    assert others(values, np.maximum, -9.0).tolist() == [[2, 3, 3]]
    assert others(values, np.minimum, 9.0).tolist() == [[1, 2, 1]]
    assert others(values[:, :1], np.minimum, 9.0).tolist() == [[9]]


def test_it_says_where_it_stops(tmp_path: Path) -> None:
    last = Node("HARD_SWISH", ["s"], "y", (1, 3))
    first = Node("FULLY_CONNECTED", ["x"], "s", (1, 3), {}, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    data = np.eye(3, dtype=np.float32)
    pair = write_pair(tmp_path, Net({"x": (1, 3)}, [first, last], {"x": data}))
    bound, _ = bounded(pair, 0.0, 1.0)
    assert (bound.error, bound.stopped) == (None, "operator 1 HARD_SWISH: no interval is carried through it")


def test_it_stops_at_a_state(tmp_path: Path) -> None:
    """A tensor that no operator gives and no constant holds has no interval."""
    tensors = [T("x", (1, 3), "float32"), T("state", (1, 3), "float32", is_variable=True), T("y", (1, 3), "float32")]
    path = tmp_path / "state.tflite"
    path.write_bytes(write_tflite(tensors, [Op("ADD", ["x", "state"], ["y"])], ["x"], ["y"]))
    bound, _ = bounded(Files(path, path, Batch({"x": np.eye(3, dtype=np.float32)})), 0.0, 1.0)
    assert (bound.error, bound.stopped) == (None, "operator 0 ADD: no interval is carried through its state")


def test_no_error_is_zero(tmp_path: Path) -> None:
    """Not minus zero, which is what the lower end of nothing is."""
    tensors = [T("x", (1, 3), "float32"), T("y", (3,), "float32"), T("s", (1,), "int32", data=np.array([3], np.int32))]
    path = tmp_path / "reshape.tflite"
    path.write_bytes(write_tflite(tensors, [Op("RESHAPE", ["x", "s"], ["y"])], ["x"], ["y"]))
    bound, _ = bounded(Files(path, path, Batch({"x": np.eye(3, dtype=np.float32)})), 0.0, 1.0)
    assert str(bound.error) == "0.0"


def test_an_output_that_is_a_constant(tmp_path: Path) -> None:
    constant = T("c", (1, 3), "float32", data=np.ones((1, 3), np.float32))
    tensors = [T("x", (1, 3), "float32"), constant, T("y", (1, 3), "float32")]
    path = tmp_path / "constant.tflite"
    path.write_bytes(write_tflite(tensors, [Op("ADD", ["x", "c"], ["y"])], ["x"], ["y", "c"]))
    bound, _ = bounded(Files(path, path, Batch({"x": np.eye(3, dtype=np.float32)})), 0.0, 1.0)
    assert (bound.error, bound.stopped) == (None, "an output is a constant")


def test_a_file_without_operators(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    path.write_bytes(write_tflite([T("x", (1, 3), "float32")], [], ["x"], ["x"]))
    bound, _ = bounded(Files(path, path, Batch({"x": np.eye(3, dtype=np.float32)})), 0.0, 1.0)
    assert bound.error == 0
