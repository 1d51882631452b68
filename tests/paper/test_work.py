"""One element on real runtimes: a tie on which their rules part, samples, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import small_models as models
from golden import Dice
from sim.graph.test_control import attention, chosen, counted
from sim.graph.test_resources import sliding
from written_models import Op, T, write_tflite

from quantdiff.errors import NoSuchElement, NotConfirmed, RuntimeFailed, UnsupportedOp
from quantdiff.graph import Operator
from quantdiff.load.data import Batch, make_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.arithmetic.steps import Case, known
from quantdiff.paper.work import Question, confirm, load_and_work, place, work
from quantdiff.paper.working import Sheet, Step
from quantdiff.quant import Array
from quantdiff.report.text.working import working_document, working_text
from quantdiff.run.inner_tensors import Reading
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime

BODY = ("SUB #0", "ADD #1")
X = np.asarray([0.25, -1.5, 3.75, 1.5]).reshape(1, 2, 2, 1)
ON_A_TIE = {"xnnpack": -2, "builtin": -2, "reference": -3, "tflm": -3}
"""-10 · 0.25 by each runtime's rule: half to even, half up, half away, half away."""


def tie() -> bytes:
    """(2 · 1) + (-3 · 6) + 6 = -10, with a multiplier of a quarter."""
    tensors = [
        T("x", (1, 2), scale=0.5, zero_point=-1, shape_signature=(-1, 2)),
        T("w", (1, 2), scale=0.5, data=[[2, -3]]),
        T("b", (1,), "int32", 0.25, data=[6]),
        T("y", (1, 1), scale=1.0, shape_signature=(-1, 1)),
    ]
    operators = [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], models.NONE, version=4)]
    return write_tflite(tensors, operators, ["x"], ["y"])


def saved(folder: Path, content: bytes, x: Array) -> tuple[Path, Path]:
    np.save(folder / "x.npy", x.astype(np.float32))
    return models.save(folder, content), folder / "x.npy"


@pytest.mark.golden
@pytest.mark.parametrize("runtime", Runtime.REFERENCE.neighbours)
def test_a_tie_falls_as_the_runtime_rounds(tmp_path: Path, runtime: Runtime) -> None:
    model, data = saved(tmp_path, tie(), np.asarray([[0, 0], [0.5, 3]]))
    working = load_and_work(model, data, Question(0, (1, 0), runtime.value))
    assert working.sheet.products is not None
    assert working.sheet.products.total == -10
    assert working.sheet.result == working.runtime_gave == working.real == ON_A_TIE[runtime.value]
    assert {given.runtime: given.value for given in working.others} == ON_A_TIE


@pytest.mark.parametrize(
    ("rule", "result", "steps"),
    [
        ("S", -2, ["sum", "multiplier", "round", "add zero point", "clamp"]),
        ("int16 half-away", -3, ["sum", "multiplier", "round", "add zero point", "clamp"]),
        ("int32 half-even-after-zero-point", -2, ["sum", "multiplier", "round", "clamp"]),
        ("tflm", -3, ["multiplier", "mantissa", "shift", "high multiply", "shift right", "add zero point", "clamp"]),
        ("real half-away", -3, ["real", "y"]),
    ],
)
def test_a_profile_by_the_rule_that_it_names(tmp_path: Path, rule: str, result: int, steps: list[str]) -> None:
    model, data = saved(tmp_path, tie(), np.asarray([[0.5, 3]]))
    profile = tmp_path / "npu.toml"
    profile.write_text(f'schema = "quantdiff-profile/1"\n[rules]\n"FULLY_CONNECTED int8" = "{rule}"\n')
    working = load_and_work(model, data, Question(0, (0, 0), f"profile:{profile}"))
    assert (working.kernel, working.sheet.result, working.runtime_gave) == (rule, result, result)
    assert [step.name for step in working.sheet.steps] == steps
    assert working.sheet.products is None or working.sheet.products.total == -10
    assert [each.value for each in working.others] == [result, *ON_A_TIE.values()]
    assert f"profile:{profile} predicts {result}: equal" in working_text(working)


def test_a_rule_that_is_not_in_the_profile_is_named(tmp_path: Path) -> None:
    model, data = saved(tmp_path, tie(), np.asarray([[0.5, 3]]))
    profile = tmp_path / "npu.toml"
    profile.write_text('schema = "quantdiff-profile/1"\n[rules]\n"ADD int8" = "S"\n')
    with pytest.raises(RuntimeFailed, match="has no rule for FULLY_CONNECTED int8"):
        load_and_work(model, data, Question(0, (0, 0), f"profile:{profile}"))


@pytest.mark.golden
def test_a_layer_in_the_middle_is_fed_with_what_came_before(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-2, 2, (3, 2, 4))
    model, data = saved(tmp_path, models.fixed_reshape(), x)
    working = load_and_work(model, data, Question(1, (2, 1), "reference"))
    assert working.sheet.products is not None
    stored = np.round(x[2] / 0.5).reshape(-1).astype(int)
    assert [term.x for term in working.sheet.products.terms] == stored.tolist()
    assert working.at == (0, 1)


@pytest.mark.golden
def test_several_samples_in_one_invocation(tmp_path: Path) -> None:
    """A file of batch 2: sample 3 is row 1 of invocation 1; with one index more the invocation is named."""
    tensors = [T("a", (2, 3), scale=1.0), T("b", (2, 3), scale=1.0), T("y", (2, 3), scale=1.0)]
    content = write_tflite(tensors, [Op("ADD", ["a", "b"], ["y"], models.NONE)], ["a", "b"], ["y"])
    model, a = load_tflite(models.save(tmp_path, content)), np.arange(12, dtype=np.float32).reshape(4, 3)
    batch = make_batch({"a": a, "b": 2 * a}, "memory")
    by_sample = work(model, batch, Question(0, (3, 2), "reference"))
    assert (by_sample.at, by_sample.sheet.result) == ((1, 2), 33)
    assert place(model.main, model.main.operators[0], (1, 1, 2)) == (1, (1, 2))


@pytest.mark.golden
@pytest.mark.parametrize("op", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_pools_of_floats(op: str, tmp_path: Path) -> None:
    tensors = [T("x", (1, 2, 2, 1), "float32"), T("y", (1, 1, 1, 1), "float32")]
    options = {"strideW": 1, "strideH": 1, "filterWidth": 2, "filterHeight": 2, "padding": 1}
    model, data = saved(tmp_path, write_tflite(tensors, [Op(op, ["x"], ["y"], options)], ["x"], ["y"]), X)
    working = load_and_work(model, data, Question(0, (0, 0, 0, 0), "builtin"))
    assert working.sheet.result == (X.max() if op == "MAX_POOL_2D" else X.mean())


@pytest.mark.golden
def test_a_claim_that_the_runtime_contradicts_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = saved(tmp_path, tie(), np.asarray([[0.5, 3]]))
    honest = known()["FULLY_CONNECTED"]

    def wrong(case: Case, at: tuple[int, ...]) -> Sheet:
        sheet = honest(case, at)
        return replace(sheet, steps=(*sheet.steps, replace(sheet.steps[-1], value=5)))

    monkeypatch.setattr("quantdiff.paper.work.known", lambda: {"FULLY_CONNECTED": wrong})
    with pytest.raises(NotConfirmed, match=r"on paper 5, reference gave -3"):
        load_and_work(model, data, Question(0, (0, 0), "reference"))


def test_steps_simulator_and_runtime_must_all_agree() -> None:
    operator, sheet = Operator(4, "ADD", (), ()), Sheet((), (Step("clamp", "", 7),))
    confirm(operator, sheet, [7, 7], "tflm")
    for claims in ([7, 8], [8, 7], [7, None]):
        with pytest.raises(NotConfirmed, match="ADD #4: on paper 7"):
            confirm(operator, sheet, claims, "tflm")


def reading_of(values: dict[int, Array], changed: int = 0) -> Reading:
    return Reading(0, Batch({}), (), values, (), changed)


@pytest.mark.parametrize(
    ("question", "error", "words"),
    [
        (Question(2, (0, 0)), NoSuchElement, "no operator #2: the model has 2"),
        (Question(-1, (0, 0)), NoSuchElement, "no operator #-1"),
        (Question(1, (3, 0)), NoSuchElement, "no sample 3: the data have 3"),
    ],
)
def test_what_is_not_there(tmp_path: Path, question: Question, error: type[Exception], words: str) -> None:
    model, data = saved(tmp_path, models.fixed_reshape(), np.zeros((3, 2, 4)))
    with pytest.raises(error, match=words):
        load_and_work(model, data, question)


def test_an_element_outside_the_output_and_a_float_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {0: np.zeros((1, 1, models.DEPTH), np.float32), 3: np.zeros((1, 1, 1), np.float32)}
    monkeypatch.setattr("quantdiff.paper.work.read_everything", lambda *_: reading_of(given))
    model, data = saved(tmp_path, tie(), np.zeros((1, 2)))
    with pytest.raises(NoSuchElement, match=r"has shape \[1, 1\], no element \[0, 1\]"):
        load_and_work(model, data, Question(0, (0, 1)))
    model, data = saved(tmp_path, models.float_dense(), np.zeros((1, models.DEPTH)))
    monkeypatch.setattr("quantdiff.paper.by_kernel.run_by_rule", refuse)
    with pytest.raises(UnsupportedOp, match=r"FULLY_CONNECTED #0 cannot be written out: nothing of that kind"):
        load_and_work(model, data, Question(0, (0, 0)))


def refuse(*_: object) -> NoReturn:
    raise NoKernel("nothing of that kind")


@pytest.mark.parametrize("op", ["RESHAPE", "SOFTMAX", "CUSTOM"])
def test_any_operator_that_the_simulator_has(tmp_path: Path, op: str) -> None:
    """By its kernel as a whole, which the runtime confirms; what the simulator does not have is refused."""
    tensors = [T("x", (1, 4), "int8", 0.1), T("y", (1, 4), "int8", *((0.1,) if op == "RESHAPE" else (1 / 256, -128)))]
    options: dict[str, dict[str, Any]] = {"RESHAPE": {"newShape": [1, 4]}, "SOFTMAX": {"beta": 1.0}, "CUSTOM": {}}
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(tensors, [Op(op, ["x"], ["y"], options[op])], ["x"], ["y"]))
    data = tmp_path / "data.npz"
    np.savez(data, x=np.asarray([[-9, 0, 5, 7]], np.int8))
    if op == "CUSTOM":
        with pytest.raises(UnsupportedOp, match="cannot be written out: the simulator has no such operator"):
            load_and_work(path, data, Question(0, (0, 3)))
        return
    working = load_and_work(path, data, Question(0, (0, 3), "reference"))
    assert working.sheet.operands[0].value == 70
    assert working.sheet.rule.startswith("as a whole, sim/ops/")
    names = [step.name for step in working.sheet.steps]
    assert (names, working.sheet.result) == ({"RESHAPE": ["y"], "SOFTMAX": ["real", "y"]}[op], working.runtime_gave)


@pytest.mark.golden
def test_a_loop_call_by_call(tmp_path: Path) -> None:
    """Twice round: the condition three times, the body twice; the element of each operator."""
    path, data = counted(tmp_path / "loop.tflite"), tmp_path / "data.npz"
    np.savez(data, n=np.asarray([5, 2], np.int32), x=np.ones((2, 1, 4), np.float32))
    working = load_and_work(path, data, Question(0, (1,), "builtin"))
    body = [
        (f"body {k}: {op}", value) for k, two in ((1, (1, 2)), (2, (0, 4))) for op, value in zip(BODY, two, strict=True)
    ]
    ends = [(f"cond {k}: GREATER #0", value) for k, value in ((1, True), (2, True), (3, False))]
    steps = [(step.name, step.value) for step in working.sheet.steps]
    assert steps == [ends[0], *body[:2], ends[1], *body[2:], ends[2], ("y", 0)]
    assert [given.value for given in working.others] == [0] * 4


@pytest.mark.golden
@pytest.mark.parametrize(("first", "names"), [(True, ["else 1: SQUARE #0", "y"]), (False, ["then 1: NEG #0", "y"])])
def test_a_branch(tmp_path: Path, first: bool, names: list[str]) -> None:
    path, data = chosen(tmp_path / "if.tflite"), tmp_path / "data.npz"
    np.savez(data, c=np.asarray([not first]), x=np.full((1, 1, 4), 3, np.float32))
    working = load_and_work(path, data, Question(0, (0, 0, 1), "reference"))
    assert [step.name for step in working.sheet.steps] == names
    assert [step.value for step in working.sheet.steps] == [9 if first else -3] * 2


@pytest.mark.golden
def test_a_composite_is_written_by_its_decomposition_and_attention_as_a_whole(tmp_path: Path) -> None:
    path = attention(tmp_path / "attention.tflite", (1, 3, 2, 4), (1, 3, 2, 4), {}, False)
    data = tmp_path / "data.npz"
    q, k, v = np.random.default_rng(0).normal(size=(3, 1, 3, 2, 4))
    np.savez(data, q=q, k=k, v=v)
    ours, theirs = (load_and_work(path, data, Question(0, (0, 2, 1, 3), name)) for name in ("builtin", "xnnpack"))
    assert [step.name for step in ours.sheet.steps] == ["decomposition 1: ADD #0", "y"]
    assert [step.name for step in theirs.sheet.steps] == ["y"]
    assert theirs.sheet.rule.endswith("sim/xnnpack/attention.py")
    assert ours.sheet.result != theirs.sheet.result


@pytest.mark.golden
def test_what_a_variable_holds_was_stored_before(tmp_path: Path) -> None:
    path, data = tmp_path / "state.tflite", tmp_path / "data.npy"
    path.write_bytes(sliding(Dice(np.random.default_rng(1))))
    np.save(data, np.random.default_rng(0).normal(scale=99, size=(3, 1, 20, 40)).astype(np.float32))
    working = load_and_work(path, data, Question(2, (2, 0, 2, 3, 4), "tflm"))
    *stored, held = working.sheet.steps
    assert [step.name for step in stored] == [f"sample {k}: ASSIGN_VARIABLE #5" for k in range(2)]
    assert held.value == stored[-1].value != stored[0].value
    for op, words in ((0, "READ_VARIABLE gives what it holds"), (1, "runs a subgraph once"), (5, "stores its input")):
        with pytest.raises(NoSuchElement, match=words):
            load_and_work(path, data, Question(op, (0, 0)))


def transform() -> bytes:
    """A transform, its numbers in another shape, and their magnitudes."""
    tensors = [T("x", (1, 8, 8), "float32"), T("n", (2,), "int32", data=[8, 8]), T("f", (1, 8, 5), "complex64")]
    tensors += [T("g", (1, 40), "complex64"), T("y", (1, 40), "float32")]
    shape = Op("RESHAPE", ["f"], ["g"], {"newShape": [1, 40]})
    return write_tflite(
        tensors, [Op("RFFT2D", ["x", "n"], ["f"]), shape, Op("COMPLEX_ABS", ["g"], ["y"])], ["x"], ["y"]
    )


@pytest.mark.golden
def test_complex_numbers_and_what_lies_within_bounds(tmp_path: Path) -> None:
    model, data = saved(tmp_path, transform(), np.random.default_rng(0).normal(size=(1, 8, 8)))
    working = load_and_work(model, data, Question(0, (0, 1, 2), "builtin"))
    assert working.sheet.bounds is not None
    low, high = working.sheet.bounds
    gave = complex(working.runtime_gave)
    assert low.real <= gave.real <= high.real
    assert low.imag <= gave.imag <= high.imag
    assert 0 < abs(high - low) < 1e-4
    assert "between them" in working_text(working)
    assert [each.bounds is None for each in working.others] == [False, False, False, True]
    document = working_document(working)
    assert document["runtime_gave"] == [gave.real, gave.imag]
    moved = load_and_work(model, data, Question(1, (0, 7), "builtin"))
    assert moved.sheet.result == moved.runtime_gave == gave
    with pytest.raises(NotConfirmed):
        confirm(Operator(0, "RFFT2D", (), ()), working.sheet, [gave + 1e-3j], "builtin")


def test_outputs_that_change_when_tensors_are_read_prove_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantdiff.paper.work.read_everything", lambda *_: reading_of({}, changed=1))
    model, data = saved(tmp_path, tie(), np.zeros((1, 2)))
    with pytest.raises(NotConfirmed, match="xnnpack gives other outputs"):
        load_and_work(model, data, Question(0, (0, 0)))
