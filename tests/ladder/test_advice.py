"""What is planted is advised first, what is promised is measured, and a file that is not better is not written."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from float_pairs import NETS, RELU, RELU6, Files, Net, Node, convolutional, dense, ranges, residual, write_pair
from planted_faults import range_narrow
from quantized_models import Made

from quantdiff import api
from quantdiff.api import advice as api_advice
from quantdiff.cli import main
from quantdiff.compare.comparison import Comparison, Counts, compare
from quantdiff.compare.conditions import Condition, parse
from quantdiff.errors import RuntimeCrashed
from quantdiff.experiment.zoo import convert
from quantdiff.graph import real_values
from quantdiff.ladder.advice import planned
from quantdiff.ladder.advice.advised import Tried, smallest
from quantdiff.ladder.advice.equalized import pairs_of
from quantdiff.ladder.advice.planned import files_of
from quantdiff.ladder.advice.plans import (
    BIAS,
    CHANNELS,
    EQUALIZED,
    FLOAT,
    INT16,
    OUTPUT,
    RANGE,
    Choice,
    Counted,
    Planned,
    Rows,
    Tries,
    from_data,
    made,
    rewritten,
)
from quantdiff.ladder.real_graph import Grid
from quantdiff.ladder.switches import switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.quant import Trace, Value, quantize
from quantdiff.references.keras.model import load_keras
from quantdiff.references.keras.reference import open_keras
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.runner import RuntimeProcess

golden = pytest.mark.golden


def advised(files: Files, wanted: api.Wanted | None = None, metric: Any = None) -> Any:
    settings = api.Settings(metric=metric)
    return api.advise(files.reference, files.candidate, files.batch, wanted or api.Wanted(), settings)


def invoke(files: Files, *more: object) -> Result:
    np.savez(files.reference.with_name("data.npz"), allow_pickle=False, **files.batch.arrays)
    given = (files.reference, files.candidate, "--data", files.reference.with_name("data.npz"), *more)
    return CliRunner().invoke(main, ["advise", *map(str, given)])


def wanted(*texts: str, **files: Path) -> api.Wanted:
    return api.Wanted(tuple(parse(text, "--until") for text in texts), **files)


@golden
@pytest.mark.parametrize("net", NETS)
def test_a_plan_without_changes_is_the_file_and_with_the_references_numbers_the_reference(
    tmp_path: Path, net: str
) -> None:
    """Integers are the runtime's own, to the last one: what a plan leaves alone runs on the file's own kernels."""
    files = write_pair(tmp_path, NETS[net]())
    model, lowering = load_tflite(files.candidate), load_tflite(files.reference)
    found = switches(model, lowering)
    plans = [made(found, ()), rewritten(found)]
    for runtime in ("xnnpack", "reference"):
        with RuntimeProcess(runtime, reused=True) as process:
            own, reference = (trace_tflite(each, files.batch, process).outputs[0] for each in (model, lowering))
            rows = Rows(model, files.batch, 0, Trace("", ()), Trace("file", (own,)), process, process, 0.0)
            (tries,) = files_of(plans, model.whole())
            filed, exact = (trace.outputs[0] for trace in tries.traces(rows))
        assert own.quant is not None
        np.testing.assert_array_equal(quantize(filed.array, own.quant, str(own.array.dtype)), own.array)
        np.testing.assert_allclose(exact.array, reference.array, atol=1e-5)


@golden
@pytest.mark.parametrize("net", [dense, convolutional])
def test_a_planted_range_comes_first_and_is_mended_in_the_file(tmp_path: Path, net: Any) -> None:
    plant = range_narrow(net())
    files = write_pair(tmp_path, plant.trained, plant.held, plant.stored)
    found = advised(files)
    alone = [each for each in found.alone if each.choices[0].kind != EQUALIZED]  # which takes another range, too
    assert {each.choices[0].where for each in alone[:3]} == {"h1"}
    assert {each.choices[0].kind for each in alone[:3]} <= {FLOAT, INT16, RANGE}
    out = tmp_path / "mended.tflite"
    until = f"sqnr_db>={found.plain.figures.sqnr_db + 10}"
    mended = advised(files, wanted(until, out=out))
    assert len(mended.chosen.choices) == 1
    assert (mended.chosen.choices[0].kind, mended.chosen.choices[0].where) == (RANGE, "h1")
    now, promised, measured = (each.figures.sqnr_db for each in (mended.now, mended.chosen.then, mended.measured))
    assert measured > now + 10
    assert abs(promised - measured) < 1
    again = api.diff(files.reference, out, files.batch).comparisons[0].figures
    assert again.sqnr_db == measured
    assert load_tflite(out).main.tensors[_named(out, "h1")].quant.scale[0] > 4 * plant_scale(files, "h1")  # type: ignore[union-attr]


def _named(path: Path, name: str) -> int:
    return next(t.index for t in load_tflite(path).main.tensors if t.name == name)


def plant_scale(files: Files, name: str) -> float:
    quant = load_tflite(files.candidate).main.tensors[_named(files.candidate, name)].quant
    assert quant is not None
    return quant.scale[0]


def shifted() -> Net:
    """A layer whose weights all round down by 0.4 of a step, and inputs that lie around 1: a mean error."""
    dice = np.random.default_rng(0)
    kernel = np.tile(np.where(np.arange(64) % 2, 5.4, -4.6), (4, 1)) / 127
    kernel[:, 0] = 1
    x = 1 + 0.1 * dice.normal(size=(200, 64))
    x[:, 0] = 0.3 * dice.normal(size=200)
    node = Node(
        "FULLY_CONNECTED",
        ["x"],
        "y",
        (1, 4),
        {"keepNumDims": False},
        kernel.astype(np.float32),
        np.zeros(4, np.float32),
    )
    return Net({"x": (1, 64)}, [node], {"x": x.astype(np.float32)})


@golden
def test_a_bias_takes_back_the_mean_error_of_the_rounding(tmp_path: Path) -> None:
    net = shifted()
    held = {**ranges(net), "y": (-2.0, 2.0)}
    files = write_pair(tmp_path, net, held)
    out = tmp_path / "mended.tflite"
    found = advised(files, api.Wanted(out=out))
    assert BIAS in {choice.kind for choice in found.chosen.choices}
    known = 0.4 / 127 * net.data["x"][:, 1:].mean(axis=0).sum()
    with RuntimeProcess("reference") as process:
        traces = [
            trace_tflite(load_tflite(path), files.batch, process).outputs[0].real.astype(np.float64)
            for path in (files.reference, files.candidate, out)
        ]
    before, after = ((each - traces[0]).mean() for each in traces[1:])
    step = 4 / 255
    assert known > 10 * step
    assert before == pytest.approx(-known, abs=step / 2)
    assert abs(after) < step / 2
    assert found.measured.figures.sqnr_db > found.now.figures.sqnr_db + 10


@golden
def test_a_file_that_is_not_better_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_pair(tmp_path, shifted())
    monkeypatch.setattr(api_advice, "planned", lambda content, *_, **how: Planned(content, [0], [[0]]))
    out = tmp_path / "mended.tflite"
    result = invoke(files, "--out", out)
    assert result.exit_code == 1
    assert "was not written: on xnnpack it is not better than the file" in result.stdout
    assert not out.exists()


@golden
def test_a_recipe_and_a_denylist_name_the_operators_of_the_float_file(tmp_path: Path) -> None:
    plant = range_narrow(residual())
    files = write_pair(tmp_path, plant.trained, plant.held, plant.stored)
    paths = {"recipe": tmp_path / "recipe.json", "denylist": tmp_path / "denylist.json"}
    html = tmp_path / "page.html"
    result = invoke(
        files, "--until", "sqnr_db>=25", *(part for k, v in paths.items() for part in (f"--{k}", v)), "--html", html
    )
    assert result.exit_code == 0, result.output
    assert "sqnr_db>=25 is met by 1 change (one choice is enough)" in result.stdout
    page = html.read_text()
    assert "What each change buys by itself" in page
    assert "sqnr_db&gt;=25 is met by 1 change (one choice is enough)" in page
    assert page.count('<th scope="row">') > 10
    entries, denied = (json.loads(path.read_text()) for path in paths.values())
    assert entries[0]["regex"] == ".*"
    assert entries[0]["op_config"]["activation_tensor_config"]["num_bits"] == 8
    finer = [entry for entry in entries[1:] if entry["operation"] == "*"]
    names = [node.output for node in residual().nodes]
    scopes = [name for name in names if any(re.search(entry["regex"], f"{name};") for entry in finer)]
    assert set(scopes) == {"h1", "h2", "s"}  # h1 is made by the first and read by the other two
    assert denied["denylisted_ops"] == []
    assert set(denied["denylisted_nodes"]) <= set(scopes)


@golden
def test_a_metric_of_ones_own_decides(tmp_path: Path) -> None:
    plant = range_narrow(dense())
    files = write_pair(tmp_path, plant.trained, plant.held, plant.stored)
    (tmp_path / "own.py").write_text(
        "def spread(outputs, labels):\n    (y,) = outputs.values()\n    return float(y.std())\n"
    )
    own = f"{tmp_path / 'own.py'}:spread"
    result = invoke(files, "--metric", own, "--until", "spread_difference>=-0.01", "--json")
    document = json.loads(result.stdout)
    assert document["now"]["metric"]["spread"]["difference"] < -0.01
    assert document["met"]
    assert document["chosen"]["then"]["metric"]["spread"]["difference"] >= -0.01
    assert "h1" in {choice["where"] for choice in document["chosen"]["choices"]}


@golden
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_best_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    plant = range_narrow(dense())
    files = write_pair(tmp_path, plant.trained, plant.held, plant.stored)
    asked, real = [0], Rows.counted

    def counted(self: Rows, trace: Trace) -> Counts:
        asked[0] += 1
        if asked[0] > 6:
            os.kill(os.getpid(), number)
        return real(self, trace)

    monkeypatch.setattr(Rows, "counted", counted)
    monkeypatch.setattr(planned, "AT_ONCE", 4)
    result = invoke(files, "--until", "sqnr_db>=90", "--recipe", tmp_path / "recipe.json")
    assert result.exit_code == 128 + number
    assert "broken off: this is the best so far, and no file was written" in result.stdout
    assert "4 of " in result.stdout
    assert not (tmp_path / "recipe.json").exists()


@golden
def test_what_cannot_be_met_is_said_and_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    files = write_pair(tmp_path, dense())
    out = tmp_path / "mended.tflite"
    result = invoke(files, "--until", "sqnr_db>=200", "--out", out)
    assert result.exit_code == 1
    assert "sqnr_db>=200 is not met; nearest:" in result.stdout
    assert not out.exists()
    for more, words in (
        (("--recipe", tmp_path / "r.json"), "--recipe and --denylist want --until"),
        (("--until", "sqnr>=3"), "--until 'sqnr>=3': no metric 'sqnr'"),
        (("--until", "quick"), "--until 'quick': write METRIC, one of"),
        (("--metric", "nowhere.py:f"), "nowhere.py: No such file or directory"),
    ):
        result = invoke(files, *more)
        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


@golden
def test_a_change_that_makes_outputs_undefined_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a root of what is rounded to 0 does: it is no reason to give no advice at all."""
    files = write_pair(tmp_path, dense())
    real, asked = Tries.traces, list[Tries]()

    def traces(self: Tries, rows: Rows) -> Iterator[Trace]:
        asked.append(self)
        for number, trace in enumerate(real(self, rows)):
            if len(asked) == 2 and number == 2:
                (value,) = trace.outputs
                trace = replace(trace, outputs=(replace(value, array=np.full_like(value.array, np.nan)),))  # noqa: PLW2901
            yield trace

    monkeypatch.setattr(Tries, "traces", traces)
    found = advised(files)
    assert found.complete
    assert len(found.alone) == min(60, found.considered) - 1


@golden
def test_a_change_over_which_a_runtime_ends_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in one file with others, which are then tried each by itself; the file as it is must run."""
    files = write_pair(tmp_path, dense())
    real, alone = Tries.answer, list[Tries]()

    def answer(self: Tries, rows: Rows) -> Counted:
        if len(self.planned.outputs) == 1:
            alone.append(self)
        if len(self.planned.outputs) > 1 or len(alone) == 4:
            raise RuntimeCrashed("xnnpack on a changed copy crashed")
        return real(self, rows)

    monkeypatch.setattr(Tries, "answer", answer)
    found = advised(files)
    assert found.complete
    assert len(found.alone) == min(60, found.considered) - 1
    assert "1 choice is left out: no runtime computes the file so, or its outputs are undefined" in found.notes
    del alone[3:]  # the next one, the file itself, is the fourth
    with pytest.raises(RuntimeCrashed):
        advised(files)


@golden
def test_what_is_multiplied_has_one_scale(tmp_path: Path) -> None:
    """XNNPACK ends the process over a constant of MUL with a scale for each channel."""
    net = dense()
    by = Node("MUL", ["h1"], "m", (1, 16), {}, np.linspace(0.1, 3, 16, dtype=np.float32)[None])
    nodes = [net.nodes[0], by, replace(net.nodes[1], inputs=["m"]), net.nodes[2]]
    found = advised(write_pair(tmp_path, replace(net, nodes=nodes)))
    assert len(found.alone) == min(60, found.considered)
    assert not [each for each in found.alone if each.choices[0].kind == CHANNELS and each.choices[0].where == "m"]


def comparison(noise: float) -> Comparison:
    ours, theirs = np.array([[1.0, 0.0]]), np.array([[1.0, np.sqrt(max(noise, 0.0))]])
    return compare(Trace("a", (Value("y", ours),)), Trace("b", (Value("y", theirs),)))


CHOICES = {name: Choice(FLOAT, "in float", name, at, frozenset({at})) for at, name in enumerate("abcdefghijkl")}


def search(noise: Any, names: Iterable[str], until: str, others: str = "") -> tuple[Tried, str, int]:
    asked = [0]

    def measure(sets: Sequence[Sequence[Choice]]) -> Iterator[Comparison]:
        for choices in sets:
            asked[0] += 1
            yield comparison(noise(frozenset(choice.where for choice in choices)))

    alone = sorted(
        (Tried((CHOICES[name],), comparison(noise(frozenset(name)))) for name in names),
        key=lambda each: -each.then.figures.sqnr_db,
    )
    now = comparison(noise(frozenset()))
    conditions: tuple[Condition, ...] = (parse(until, "--until"),)
    steps = list(smallest(measure, (now, now), alone, [CHOICES[name] for name in others], conditions))
    best, proven = steps[-1]
    return best, proven, asked[0]


def names(tried: Tried) -> set[str]:
    return {choice.where for choice in tried.choices}


def test_of_a_few_choices_all_sets_are_tried() -> None:
    """Two that are worse alone, each of them, are enough together."""

    def noise(chosen: frozenset[str]) -> float:
        return 0.001 if {"c", "d"} <= chosen else 0.1 + 0.02 * len(chosen & {"c", "d"}) - 0.01 * len(chosen & {"a"})

    best, proven, _ = search(noise, "abcde", "sqnr_db>=25")
    assert (names(best), proven) == ({"c", "d"}, "smallest: all sets of up to 2 choices were tried")


def test_of_many_choices_the_greedy_set_is_pruned_and_not_called_smallest() -> None:
    """The best alone becomes needless by two others."""
    gains = dict.fromkeys(CHOICES, 0.001) | {"a": 0.04, "b": 0.035, "c": 0.034}

    def noise(chosen: frozenset[str]) -> float:
        shared = 0.03 if {"b", "c"} <= chosen and "a" in chosen else 0.0
        return 0.08 - sum(gains[name] for name in chosen) + shared

    best, proven, asked = search(noise, CHOICES, "sqnr_db>=18")
    assert proven == "not proven smallest"
    assert best.then.figures.sqnr_db >= 18
    assert asked < 60
    for name in names(best):
        assert noise(frozenset(names(best) - {name})) > 10**-1.8


def test_where_no_single_choice_helps_many_are_taken_at_once() -> None:
    def noise(chosen: frozenset[str]) -> float:
        return 0.001 if set("abck") <= chosen else 0.1

    best, proven, _ = search(noise, "abcdefghi", "sqnr_db>=25", others="jkl")
    assert (names(best), proven) == (set("abck"), "not proven smallest")
    best, proven, _ = search(lambda _: 0.1, "abcdefghi", "sqnr_db>=25", others="jkl")
    assert proven == "all 12 choices together are not enough either"


def test_nothing_is_changed_where_all_is_well_and_one_choice_is_the_least() -> None:
    best, proven, asked = search(lambda _: 0.001, CHOICES, "sqnr_db>=25")
    assert (names(best), proven, asked) == (set(), "nothing needs to change", 0)
    best, proven, asked = search(lambda chosen: 0.001 if "g" in chosen else 0.1, CHOICES, "sqnr_db>=25")
    assert (names(best), proven, asked) == ({"g"}, "one choice is enough", 0)


def test_int16_keeps_its_zero_point() -> None:
    """Its kernels take 0 alone: a range from data is as wide to both sides."""
    held = Grid(0.001, 0, -32768, 32767)
    assert from_data((-1.0, 4.0), held) == Grid(4.0 / 32767, 0, -32768, 32767)
    assert from_data((-1.0, 4.0), Grid(0.1, 3, -128, 127)).zero_point == -77


def test_nothing_is_written_where_the_file_is_good_enough(tmp_path: Path) -> None:
    out, recipe = tmp_path / "mended.tflite", tmp_path / "recipe.json"
    result = invoke(write_pair(tmp_path, dense()), "--until", "max_steps<=99", "--out", out, "--recipe", recipe)
    assert result.exit_code == 0, result.output
    for path in (out, recipe):
        assert not path.exists()
        assert f"{path} was not written: the file is good enough as it is" in " ".join(result.stdout.split())


def test_a_recording_is_refused_at_once(tmp_path: Path) -> None:
    """It knows one file: no model is opened before that is said."""
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3), np.float32))
    for command, more in (("advise", ()), ("reduce", ("--check", "crash", "--out", tmp_path / "small"))):
        given = ("no.tflite", "no.tflite", "--data", tmp_path / "x.npz", "--runtime", "recorded:no.npz", *more)
        result = CliRunner().invoke(main, [command, *map(str, given)])
        assert result.exit_code == 2
        assert f"recorded:no.npz knows what one file gave for some inputs, and {command} tries other" in result.stderr
        assert result.stderr.count("\n") == 1


def uneven() -> Net:
    """Two layers; the first makes some channels up to 100 times smaller than others, the second makes up for it."""
    dice = np.random.default_rng(3)
    by = np.float32(10.0) ** np.linspace(0, -2, 8, dtype=np.float32)
    first = (dice.normal(size=(8, 6)) * by[:, None]).astype(np.float32)
    second = (dice.normal(size=(4, 8)) / by).astype(np.float32)
    relu = {"fusedActivationFunction": RELU}
    nodes = [
        Node("FULLY_CONNECTED", ["x"], "h", (1, 8), relu, first, (0.1 * by).astype(np.float32)),
        Node("FULLY_CONNECTED", ["h"], "y", (1, 4), {}, second, np.zeros(4, np.float32)),
    ]
    return Net({"x": (1, 6)}, nodes, {"x": dice.normal(size=(200, 6)).astype(np.float32)})


@golden
def test_uneven_channels_are_equalized_in_the_file(tmp_path: Path) -> None:
    files = write_pair(tmp_path, uneven())
    out = tmp_path / "mended.tflite"
    found = advised(files, wanted("sqnr_db>=35", out=out))
    assert found.now.figures.sqnr_db < 30
    assert [choice.kind for choice in found.chosen.choices] == [EQUALIZED]
    assert abs(found.measured.figures.sqnr_db - found.chosen.then.figures.sqnr_db) < 0.5
    assert found.measured.figures.sqnr_db >= 35
    model = load_tflite(out)
    h, y = (next(op for op in model.main.operators if op.outputs[0] == _named(out, name)) for name in ("h", "y"))
    kernels = [real_values(model.main.tensors[op.inputs[1]]) for op in (h, y)]
    assert np.abs(kernels[0]).max(axis=1) == pytest.approx(np.abs(kernels[1]).max(axis=0), rel=0.02)
    whole = [(kernels[1] * np.abs(kernels[0]).max(axis=1)), (kernels[0] / np.abs(kernels[0]).max(axis=1)[:, None])]
    first, second = uneven().node("h").kernel, uneven().node("y").kernel
    assert first is not None
    assert second is not None
    assert whole[0] == pytest.approx(second * np.abs(first).max(axis=1), abs=0.02 * np.abs(whole[0]).max())


def test_only_what_is_linear_between_is_equalized(tmp_path: Path) -> None:
    """Not through RELU6, not where somebody else reads it, not at an output."""
    net = uneven()
    for options, pairs in (({"fusedActivationFunction": RELU}, 1), ({}, 1), ({"fusedActivationFunction": RELU6}, 0)):
        files = write_pair(tmp_path, net.changed("h", options=options))
        found = switches(load_tflite(files.candidate), load_tflite(files.reference))
        assert len(pairs_of(found)) == pairs
    files = write_pair(tmp_path, residual())
    found = switches(load_tflite(files.candidate), load_tflite(files.reference))
    assert all(len(found.file.graph.readers(pair.between)) == 1 for pair in pairs_of(found))


@golden
def test_scales_of_a_bias_lie_along_its_own_axis(tmp_path: Path) -> None:
    """As TRANSPOSE_CONV's, which converters write with as many axes as an image."""
    net, outputs = dense(), []
    assert net.node("h1").bias is not None
    for bias in (net.node("h1").bias, net.node("h1").bias[None]):  # type: ignore[index]
        files = write_pair(tmp_path, net, stored=net.changed("h1", bias=bias))
        model, lowering = load_tflite(files.candidate), load_tflite(files.reference)
        found = switches(model, lowering)
        (x,) = model.main.inputs
        wider = replace(found.file.grids[x], scale=found.file.grids[x].scale * 1.5)
        plan = made(found, [Choice(RANGE, "", "x", x, grids={x: wider})])
        with RuntimeProcess("reference", reused=True) as process:
            own = trace_tflite(model, files.batch, process).outputs[0]
            rows = Rows(model, files.batch, 0, Trace("", ()), Trace("file", (own,)), process, process, 0.0)
            (tries,) = files_of([plan], model.whole())
            outputs.append(next(iter(tries.traces(rows))).outputs[0].array)
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_an_output_is_as_fine_as_what_makes_it(tmp_path: Path) -> None:
    """As litert-quantizer leaves it: no step back to int8 behind the last operator."""
    files = write_pair(tmp_path, dense())
    found = switches(load_tflite(files.candidate), load_tflite(files.reference))
    last = found.file.graph.operators[-1]
    grids = [
        made(found, [Choice(kind, "", "", 0, frozenset({last.index}))] if kind else ()).grid(last.outputs[0], OUTPUT)
        for kind in (FLOAT, INT16, "")
    ]
    assert (grids[0], grids[2]) == (None, found.file.grids[last.outputs[0]])
    assert grids[1] is not None
    assert grids[1].high == 32767


@golden
@pytest.mark.keras
def test_a_quantization_aware_model_is_written_as_the_file_has_it(
    networks: Callable[[str], Made], tmp_path: Path
) -> None:
    """Nearer to the file by what was promised; converted again it is the file, constant by constant."""
    made_of, out = networks("CNN"), tmp_path / "fixed.h5"
    batch = Batch({"x": np.load(made_of.data)["x"][:256]})
    found: Any = api.advise(made_of.keras, made_of.tflite, batch, api.Wanted(out=out))
    now, promised, measured = (each.figures for each in (found.now, found.chosen.then, found.measured))
    assert {choice.change for choice in found.chosen.choices} == {"bias on the int32 grid"}
    assert promised.differing == measured.differing == 0 < now.differing
    layers = {layer.name: layer for layer in open_keras(out).layers()}
    original = load_tflite(made_of.tflite).main
    for choice in found.chosen.choices:
        stored = np.float32(real_values(original.tensors[choice.at]))
        np.testing.assert_array_equal(layers[choice.where].bias, stored)
    again = read_model(memoryview(convert(load_keras(out).model, None))).main
    assert [t.quant for t in again.tensors] == [t.quant for t in original.tensors]
    for ours, theirs in zip(again.tensors, original.tensors, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)
    for more, words in (
        ((), "is no quantization-aware Keras model"),
        (("--denylist", tmp_path / "d"), "is written without --recipe"),
    ):
        given = (made_of.tflite, made_of.tflite, "--data", made_of.data, "--until", "max_steps<1", "--out", out, *more)
        result = CliRunner().invoke(main, ["advise", *map(str, given)])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert words in result.stderr
