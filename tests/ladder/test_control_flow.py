"""Models that keep state, branch or go round in loops: the account closes, and what is planted leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim.graph.test_resources import assign, handle, read
from written_models import Op, Sub, T, write_model

from quantdiff.graph import Graph, Operator
from quantdiff.ladder import account, cures
from quantdiff.ladder.advice.plans import Plan, made
from quantdiff.ladder.conclusion import EXACT_CURES
from quantdiff.ladder.explanation import BIAS, CLIPPING, STEPS, WEIGHTS, Explanation
from quantdiff.ladder.frontier import Move
from quantdiff.ladder.pair_ladder import explain_pair
from quantdiff.ladder.real_graph import Grid, Setting, in_loops
from quantdiff.ladder.rounded_rung import as_in_chain
from quantdiff.ladder.runtime_ladder import explain_runtimes
from quantdiff.ladder.set_up import Few, Question
from quantdiff.ladder.switches import Switches, real_graph, switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.quant import Array, Trace, Value
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.runner import RuntimeProcess

pytestmark = pytest.mark.golden

RELU, UNITS, SAMPLES = 1, 8, 20
DICE = np.random.default_rng(5)
KERNELS = {
    name: (DICE.normal(size=(units, depth)) / np.sqrt(depth)).astype(np.float32)
    for name, units, depth in (("k", UNITS, 24), ("u", UNITS, UNITS), ("o", 4, UNITS), ("e", UNITS, UNITS))
}
BIASES = {name: (0.3 * DICE.normal(size=len(kernel))).astype(np.float32) for name, kernel in KERNELS.items()}
SHARES = {"old": "x", "window": "x", "new": "x", "flat": "x", "before": "h"}
"""Tensors on the grid of another."""


class Written:
    """Tensors of a file, of floats or, with ``held`` ranges, of int8."""

    def __init__(self, held: Mapping[str, tuple[float, float]] | None, kernels: Mapping[str, Array]) -> None:
        self.held, self.kernels, self.tensors, self.grids = held, kernels, list[T](), dict[str, tuple[float, int]]()

    def tensor(self, name: str, *shape: int) -> str:
        """An activation."""
        if self.held is None:
            self.tensors.append(T(name, shape, "float32"))
            return name
        low, high = self.held[SHARES.get(name, name)]
        scale = float(np.float32((high - low) / 255))
        self.grids[name] = scale, int(np.clip(round(-128 - low / scale), -128, 127))
        if name == "h":
            self.grids[name] = 1 / 128, 0
        if SHARES.get(name) == "h":
            self.grids[name] = 1 / 128, 0
        self.tensors.append(T(name, shape, "int8", *self.grids[name]))
        return name

    def numbers(self, name: str, *values: int) -> str:
        """A constant of whole numbers."""
        self.tensors.append(T(name, (len(values),), "int32", data=values))
        return name

    def dense(self, x: str, name: str, y: str, activation: int = 0) -> Op:
        """A dense layer."""
        kernel, bias = self.kernels[name], self.kernels.get(f"{name} bias", BIASES[name])
        if self.held is None:
            self.tensors += [
                T(f"{name}_w", kernel.shape, "float32", data=kernel),
                T(f"{name}_b", bias.shape, "float32", data=bias),
            ]
        else:
            scale = (np.abs(KERNELS[name]).max(axis=1) / 127).astype(np.float32)
            codes = np.clip(np.rint(kernel / scale[:, None]), -127, 127)
            unit = np.float32(self.grids[x][0]) * scale
            zeros = [0] * scale.size
            self.tensors += [
                T(f"{name}_w", kernel.shape, "int8", scale, zeros, 0, data=codes),
                T(f"{name}_b", bias.shape, "int32", unit, zeros, 0, data=np.rint(bias / unit)),
            ]
        options = {"fusedActivationFunction": activation}
        return Op("FULLY_CONNECTED", [x, f"{name}_w", f"{name}_b"], [y], options)


def stream(held: Mapping[str, tuple[float, float]] | None, kernels: Mapping[str, Array] = KERNELS) -> bytes:
    """The last three frames beside a new one, a dense layer, and a recurrent one: two variables."""
    file = Written(held, kernels)
    for name in ("frames", "state"):
        file.tensors.append(handle(name)[0])
    for name, *shape in (("x", 1, 1, 6), ("old", 1, 3, 6), ("window", 1, 4, 6), ("new", 1, 3, 6), ("flat", 1, 24)):
        file.tensor(str(name), *map(int, shape))
    for name in ("h1", "before", "h2", "s", "h"):
        file.tensor(name, 1, UNITS)
    file.tensor("y", 1, 4)
    operators = [
        handle("frames", "frames")[1],
        handle("state", "state")[1],
        Op("CALL_ONCE", [], [], {"initSubgraphIndex": 1}, "CallOnceOptions"),
        read("frames", "old"),
        Op("CONCATENATION", ["old", "x"], ["window"], {"axis": 1}),
        Op("SLICE", ["window", file.numbers("b", 0, 1, 0), file.numbers("n", 1, 3, 6)], ["new"], {}, "SliceOptions"),
        assign("frames", "new"),
        Op("RESHAPE", ["window", file.numbers("r", 1, 24)], ["flat"], {}, "ReshapeOptions"),
        file.dense("flat", "k", "h1", RELU),
        read("state", "before"),
        file.dense("before", "u", "h2"),
        Op("ADD", ["h1", "h2"], ["s"], {}, "AddOptions"),
        Op("TANH", ["s"], ["h"]),
        assign("state", "h"),
        file.dense("h", "o", "y"),
    ]
    dtype = "float32" if held is None else "int8"
    grids = {name: file.grids.get(grid, (None, 0)) for name, grid in (("frames", "x"), ("state", "h"))}
    shapes = {"frames": (1, 3, 6), "state": (1, UNITS)}
    inner = [handle(name, name) for name in grids]
    scale, at = grids["frames"]
    begins = {"frames": 0.7 if scale is None else round(0.7 / scale) + at, "state": 0.5 if held is None else 64}
    first = [T(f"{n} first", shapes[n], dtype, scale, at, data=begins[n]) for n, (scale, at) in grids.items()]
    calls = [op for _, op in inner] + [assign(name, f"{name} first") for name in grids]
    init = Sub([*(tensor for tensor, _ in inner), *first], calls, [], [], "init")
    return write_model([Sub(file.tensors, operators, ["x"], ["y"]), init])


def pair(folder: Path, write: Any, x: Array, how: Mapping[str, Any]) -> list[Path]:
    """A float file, the int8 file with the ranges of the data, but for what is planted."""
    content = write(None)
    graph = real_graph(read_model(memoryview(content)).main, read_model(memoryview(content)).subgraphs)
    values = graph.run([x.astype(np.float64)], Setting())
    held = {
        t.name: (min(0.0, float(v.min())), max(0.0, float(v.max())))
        for t in graph.graph.tensors
        if (v := values.get(t.index)) is not None
    }
    held |= {name: (low * how.get(name, 1), high * how.get(name, 1)) for name, (low, high) in held.items()}
    (folder / "float.tflite").write_bytes(content)
    (folder / "int8.tflite").write_bytes(write(held, {**KERNELS, **how.get("stored", {})}))
    return [folder / "float.tflite", folder / "int8.tflite"]


def explained(files: Sequence[Path], x: Array, single: tuple[int, int] | None = None) -> Explanation:
    reference, candidate = map(load_tflite, files)
    with RuntimeProcess("reference") as process, RuntimeProcess("reference") as other:
        trace = partial(trace_tflite, reference, process=process)
        question = Question("tflite:reference", trace, reference, candidate, Batch({"x": x}), 0.01, single=single)
        return explain_pair(question, other)


FRAMES = np.random.default_rng(6).normal(size=(SAMPLES, 1, 1, 6)).astype(np.float32)


def test_parts_of_a_stream_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "LARGEST_PART", 13)
    explanation = explained(pair(tmp_path, stream, FRAMES, {}), FRAMES[:, 0])
    assert explanation.notes[-1] == "a stream: its state is empty again after every 13 samples, in both models"
    assert explanation.closed_reference
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3


def test_a_stream_on_two_runtimes(tmp_path: Path) -> None:
    model = load_tflite(pair(tmp_path, stream, FRAMES, {})[1])
    with RuntimeProcess("reference") as ours, RuntimeProcess("xnnpack") as theirs:
        explanation = explain_runtimes(model, Batch({"x": FRAMES[:4, 0]}), (ours, theirs), 0.01)
    assert (explanation.closed_reference, explanation.closed_candidate) == (True, True)


def test_a_stream_is_one_sequence(tmp_path: Path) -> None:
    files = pair(tmp_path, stream, FRAMES, {})
    explanation = explained(files, FRAMES[:, 0], (SAMPLES - 1, 2))
    assert not explanation.unaccounted
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert explanation.frontier is not None
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3
    assert {STEPS, WEIGHTS} <= explanation.frontier.shares.keys()
    assert sum(explanation.frontier.shares.values()) == pytest.approx(1, abs=1e-9)
    assert not any(item.op == "READ_VARIABLE" for item in explanation.frontier.items)
    with RuntimeProcess("reference") as process:
        theirs, ours = (
            trace_tflite(load_tflite(file), Batch({"x": FRAMES[:, 0]}), process).outputs[0] for file in files
        )
    assert ours.quant is not None
    difference = (ours.real.astype(float) - theirs.real)[-1].ravel()[2] / ours.quant.scale[0]
    assert sum(each.steps for each in explanation.signed) == pytest.approx(difference, abs=1e-5)


PLANTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "bias": ({"stored": {"u bias": BIASES["u"] + 1.5 * (np.arange(UNITS) == 1)}}, BIAS, "h2"),
    "kernel": ({"stored": {"u": KERNELS["u"] * np.where(np.arange(UNITS) == 2, -1, 1)[:, None]}}, WEIGHTS, "h2"),
    "range": ({"h1": 0.2}, CLIPPING, "h1"),
    "range behind what it comes back to": ({"s": 0.2}, CLIPPING, "s"),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_in_a_stream_leads(tmp_path: Path, plant: str) -> None:
    """An error in a layer that feeds a variable comes back with every sample, and is that layer's."""
    how, mechanism, tensor = PLANTS[plant]
    explanation = explained(pair(tmp_path, stream, FRAMES, how), FRAMES[:, 0])
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert explanation.frontier is not None
    first = explanation.frontier.items[0]
    assert (first.tensor, first.mechanism) == (tensor, mechanism)
    assert first.share >= 0.8
    cure_takes_it_away(explanation)


def cure_takes_it_away(explanation: Explanation) -> None:
    """Predicted in exact arithmetic, as the file says of itself."""
    assert EXACT_CURES in explanation.notes
    best = explanation.advice[0]
    assert best.now is not None
    assert best.then is not None
    assert best.now.rms_steps is not None
    assert best.then.rms_steps is not None
    assert best.then.rms_steps < 0.1 * best.now.rms_steps, best


def inner(file: Written, name: str, activation: int, counts: bool) -> Sub:
    """A body: a dense layer on what it is given; one that ``counts`` has a number before it, and gives one more."""
    body = Written(file.held, file.kernels)
    body.grids["v"] = file.grids.get("g", (0.0, 0))
    grid = (None, 0) if file.held is None else file.grids["g"]
    body.tensors = [T(each, (1, UNITS), "float32" if file.held is None else "int8", *grid) for each in ("v", "w")]
    operators = [body.dense("v", name, "w", activation)]
    if not counts:
        return Sub(body.tensors, operators, ["v"], ["w"], name)
    body.tensors += [T("n", (), "int32"), T("one", (), "int32", data=1), T("more", (), "int32")]
    operators.append(Op("ADD", ["n", "one"], ["more"], {}, "AddOptions"))
    return Sub(body.tensors, operators, ["n", "v"], ["more", "w"], name)


def main_of(file: Written) -> None:
    for name, units in (("x", 24), ("g", UNITS), ("out", UNITS), ("y", 4)):
        if file.held is not None and name == "out":
            file.held = {**file.held, name: file.held["g"]}
        file.tensor(name, 1, units)


def loop(held: Mapping[str, tuple[float, float]] | None, kernels: Mapping[str, Array] = KERNELS) -> bytes:
    """A dense layer, the same layer four times, another one."""
    held = held and {**held, "g": (-4.0, 4.0)}
    file = Written(held, kernels)
    main_of(file)
    file.tensors += [T("zero", (), "int32", data=0), T("four", (), "int32")]
    options = {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}
    operators = [
        file.dense("x", "k", "g", RELU),
        Op("WHILE", ["zero", "g"], ["four", "out"], options, "WhileOptions"),
        file.dense("out", "o", "y"),
    ]
    body = inner(file, "e", RELU, counts=True)
    ends = [T("n", (), "int32"), body.tensors[0], T("most", (), "int32", data=4), T("on", (), "bool")]
    condition = Sub(ends, [Op("LESS", ["n", "most"], ["on"], {}, "LessOptions")], ["n", "v"], ["on"], "on")
    return write_model([Sub(file.tensors, operators, ["x"], ["y"]), condition, body])


def loops_behind_each_other(
    held: Mapping[str, tuple[float, float]] | None, kernels: Mapping[str, Array] = KERNELS
) -> bytes:
    """One layer four times, then another one four times."""
    held = held and {**held, "g": (-4.0, 4.0), "again": (-4.0, 4.0)}
    file = Written(held, kernels)
    main_of(file)
    if held is not None:
        file.held = {**held, "again": held["g"]}
    file.tensor("again", 1, UNITS)
    file.tensors += [T("zero", (), "int32", data=0), T("four", (), "int32"), T("too", (), "int32")]
    options = [{"condSubgraphIndex": 1, "bodySubgraphIndex": k} for k in (2, 3)]
    operators = [
        file.dense("x", "k", "g", RELU),
        Op("WHILE", ["zero", "g"], ["four", "out"], options[0], "WhileOptions"),
        Op("WHILE", ["zero", "out"], ["too", "again"], options[1], "WhileOptions"),
        file.dense("again", "o", "y"),
    ]
    bodies = [inner(file, name, RELU, counts=True) for name in "eu"]
    ends = [T("n", (), "int32"), bodies[0].tensors[0], T("most", (), "int32", data=4), T("on", (), "bool")]
    condition = Sub(ends, [Op("LESS", ["n", "most"], ["on"], {}, "LessOptions")], ["n", "v"], ["on"], "on")
    return write_model([Sub(file.tensors, operators, ["x"], ["y"]), condition, *bodies])


def branch(held: Mapping[str, tuple[float, float]] | None, kernels: Mapping[str, Array] = KERNELS) -> bytes:
    """A dense layer, then one of two."""
    held = held and {**held, "g": (-4.0, 4.0)}
    file = Written(held, kernels)
    main_of(file)
    file.tensors.append(T("which", (), "bool"))
    dtype, (scale, zero_point) = ("int8", file.grids["g"]) if held else ("float32", (None, 0))
    file.tensors += [T("sum", (), dtype, scale, zero_point), T("none", (), dtype, scale, zero_point, data=0)]
    options = {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2}
    operators = [
        file.dense("x", "k", "g"),
        Op("REDUCE_MAX", ["g", file.numbers("axes", 0, 1)], ["sum"], {"keepDims": False}, "ReducerOptions"),
        Op("LESS", ["sum", "none"], ["which"], {}, "LessOptions"),
        Op("IF", ["which", "g"], ["out"], options, "IfOptions"),
        file.dense("out", "o", "y"),
    ]
    bodies = [inner(file, "u", RELU, counts=False), inner(file, "e", 0, counts=False)]
    return write_model([Sub(file.tensors, operators, ["x"], ["y"]), *bodies])


VECTORS = np.random.default_rng(7).normal(size=(SAMPLES, 1, 24)).astype(np.float32)


@pytest.mark.parametrize(("write", "op"), [(loop, "WHILE"), (branch, "IF")])
def test_a_body_is_one_operator(tmp_path: Path, write: Any, op: str) -> None:
    explanation = explained(pair(tmp_path, write, VECTORS, {}), VECTORS[:, 0])
    assert not explanation.unaccounted
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3
    assert explanation.frontier is not None
    assert {item.mechanism for item in explanation.frontier.items if item.op == op} >= {STEPS, WEIGHTS}
    wrong = {"stored": {"e bias": BIASES["e"] + 3 * (np.arange(UNITS) == 1), "u bias": BIASES["u"] + 3}}
    planted = explained(pair(tmp_path, write, VECTORS, wrong), VECTORS[:, 0])
    assert planted.frontier is not None
    assert (planted.frontier.items[0].op, planted.frontier.items[0].mechanism) == (op, BIAS)
    assert planted.frontier.items[0].share >= 0.9
    cure_takes_it_away(planted)


def test_a_cure_in_a_loop_takes_that_loop_alone(tmp_path: Path) -> None:
    """What one body reads four times is one layer, what the next loop reads is another."""
    files = pair(tmp_path, loops_behind_each_other, VECTORS, {})
    found = switches(load_tflite(files[1]), load_tflite(files[0]))
    first, second = {op.index: op for op in found.file.origin.values() if op.op == "WHILE"}.values()
    layers = {
        origin.index: [op for op in found.file.operators if op.op == "FULLY_CONNECTED" and within(found, op) is origin]
        for origin in (first, second)
    }
    assert [len(each) for each in layers.values()] == [4, 4]
    for operators in layers.values():
        taken = [
            op for op in cures._within(found, Move(0, operators[0].outputs[0], WEIGHTS)) if op.op == operators[0].op
        ]
        assert taken == operators


def within(found: Switches, operator: Operator) -> Operator | None:
    return found.file.origin.get(operator.index)


def remembered(held: Mapping[str, tuple[float, float]] | None, kernels: Mapping[str, Array] = KERNELS) -> bytes:
    """Two dense layers; a variable keeps what is between them, and nobody reads it."""
    file = Written(held, kernels)
    file.tensors.append(handle("state")[0])
    for name, units in (("x", 24), ("h", UNITS), ("y", 4)):
        file.tensor(name, 1, units)
    operators = [handle("state", "state")[1], file.dense("x", "k", "h", RELU)]
    operators += [assign("state", "h"), file.dense("h", "o", "y")]
    return write_model([Sub(file.tensors, operators, ["x"], ["y"])])


def test_the_chain_of_a_file_with_variables_is_the_runtimes_own(tmp_path: Path) -> None:
    """No rung is taken from it, whether a sample reads what the one before left or not."""
    files = pair(tmp_path, remembered, VECTORS, {})
    found = switches(load_tflite(files[1]), load_tflite(files[0]))
    assert not found.file.streams
    assert not as_in_chain(found, found.rungs()[-1][1])


def test_a_plan_for_a_stream_puts_values_on_the_grids_that_it_names(tmp_path: Path) -> None:
    files = pair(tmp_path, stream, FRAMES, {})
    found = switches(load_tflite(files[1]), load_tflite(files[0]))
    batch = Batch({"x": FRAMES[:, 0]})
    values = tuple(Value("y", np.zeros((SAMPLES, 4), np.float32)) for _ in found.file.graph.outputs)
    few = Few(batch, Trace("float", values), Trace("tflite:reference", values), [], None)
    (tensor,) = (t.index for t in found.file.graph.tensors if t.name == "h1")
    filed = made(found, ())
    coarse = Plan(found, grids={i: g for i, g in filed.grids.items() if i != tensor}, own={tensor: Grid(1e6, 0, -1, 1)})
    fine = Plan(found, grids=coarse.grids)
    (lost,), (kept,) = (cures._computed(found, few, plan).outputs for plan in (coarse, fine))
    bounded = coarse.grids.keys() & found.file.varying
    setting = Setting({}, coarse.own, bounded, bounded, {i: coarse.grids[i] for i in bounded})
    (want,) = (found.file.run([FRAMES.astype(np.float64)], setting)[i] for i in found.file.graph.outputs)
    assert np.array_equal(lost.array, want.reshape(lost.array.shape))
    assert np.abs(lost.array - kept.array).max() > 0.1


def test_what_waits_for_each_other_is_found_in_linear_time() -> None:
    """A long loop through a variable, and as many operators behind it: one loop, then each by itself."""
    count = 20_000
    delay = Operator(0, "READ_VARIABLE", (count, 2 * count + 1), (1,))
    adds = [Operator(k, "ADD", (k, k), (k + 1,)) for k in range(1, 2 * count)]
    first, *others = in_loops(Graph("main", (), (*adds, delay), (), ()), frozenset())
    assert [len(loop) for loop in others] == [1] * count
    assert first == (*adds[: count - 1], delay)
    assert [loop[0].index for loop in others] == [*range(count, 2 * count)]


def masked(stored: str = "float32", doubled: bool = False, counts: bool = False) -> bytes:
    """A dense layer whose kernel is a variable under a mask, as pruning leaves it; ``counts``: and changes."""
    kernel = KERNELS["o"].T.copy()
    kernel[:, 1] *= 1 + doubled
    tensors = [
        *(handle("v", "kernel")[0], T("x", (1, UNITS), "float32"), T("y", (1, 4), "float32")),
        *(T(name, kernel.shape, "float32") for name in ("before", "product", "after")),
        T("mask", kernel.shape, "float32", data=np.full(kernel.shape, 0.5) if counts else np.abs(kernel) > 0.1),
        *(T("turned", kernel.shape[::-1], "float32"), T("order", (2,), "int32", data=(1, 0))),
        T("bias", (4,), "float32", data=BIASES["o"]),
    ]
    operators = [
        Op("CALL_ONCE", [], [], {"initSubgraphIndex": 1}, "CallOnceOptions"),
        *(handle("v", "kernel")[1], read("v", "before"), Op("MUL", ["before", "mask"], ["product"])),
        *(assign("v", "product"), read("v", "after"), Op("TRANSPOSE", ["after", "order"], ["turned"])),
        Op("FULLY_CONNECTED", ["x", "turned", "bias"], ["y"]),
    ]
    start = [handle("w", "kernel")[0], T("start", kernel.shape, stored, data=kernel)]
    first = [handle("w", "kernel")[1], assign("w", "start")]
    if stored == "float16":
        start.append(T("wide", kernel.shape, "float32"))
        first = [first[0], Op("DEQUANTIZE", ["start"], ["wide"]), assign("w", "wide")]
    return write_model([Sub(tensors, operators, ["x"], ["y"]), Sub(start, first, [], [], "init")])


def masked_pair(folder: Path, one: bytes, other: bytes) -> Explanation:
    for name, content in (("float", one), ("other", other)):
        (folder / f"{name}.tflite").write_bytes(content)
    x = np.random.default_rng(3).normal(size=(SAMPLES, UNITS)).astype(np.float32)
    return explained([folder / "float.tflite", folder / "other.tflite"], x)


def test_a_variable_that_holds_the_same_at_every_sample_is_a_kernel(tmp_path: Path) -> None:
    explanation = masked_pair(tmp_path, masked(), masked("float16"))
    frontier = explanation.frontier
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert frontier is not None
    assert frontier.shares[WEIGHTS] > 0.99
    assert (frontier.items[0].op, frontier.items[0].operator) == ("FULLY_CONNECTED", 7)


def test_what_is_planted_behind_a_mask_leads(tmp_path: Path) -> None:
    explanation = masked_pair(tmp_path, masked(), masked(doubled=True))
    assert explanation.frontier is not None
    assert explanation.frontier.shares[WEIGHTS] > 0.99
    assert len(explanation.wrong_weights) == 1


def test_a_variable_that_changes_is_no_constant() -> None:
    model = read_model(memoryview(masked(counts=True)))
    changing, steady = (real_graph(m.main, m.subgraphs) for m in (model, read_model(memoryview(masked()))))
    assert changing.streams
    assert not steady.streams
    assert not steady.is_plain
