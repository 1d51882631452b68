"""A format of a few lines, functions of NumPy arrays, goes through every command: nothing outside knows a framework."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models as models

from quantdiff import api
from quantdiff.errors import BadModel
from quantdiff.flow import Flow, FlowValue
from quantdiff.layer import Layer
from quantdiff.load.data import Batch, Slot, make_batch
from quantdiff.quant import Array
from quantdiff.recording import Comparand, ErrorStats, Recorder, measured
from quantdiff.references.reference import FORMATS, Count, Format, trace_slices, unheard
from quantdiff.trace import Trace, Value

pytestmark = pytest.mark.golden

LAYERS = tuple(
    Layer(name, "Formula", (before,), activation, kernel=kernel, bias=bias, op="FULLY_CONNECTED")
    for (name, before, activation), (kernel, bias) in zip(
        (("first", "x", "relu"), ("second", "first", "linear")), models.two_dense_weights(), strict=True
    )
)
FLOW = Flow(
    "formula",
    (
        FlowValue(0, "x", "input"),
        FlowValue(1, "first", "FULLY_CONNECTED", (0,), layers=LAYERS[:1]),
        FlowValue(2, "second", "FULLY_CONNECTED", (1,), layers=LAYERS[1:]),
    ),
    (0,),
    (2,),
)


def step(key: int, x: Array) -> Array:
    """The value ``key`` from the one before it. Shape: (samples, …)."""
    layer = LAYERS[key - 1]
    assert layer.kernel is not None
    assert layer.bias is not None
    y: Array = (x @ layer.kernel.T + layer.bias).astype(np.float32)
    return np.maximum(y, 0) if layer.activation == "relu" else y


@dataclass(frozen=True)
class Ran:
    """A run, with what it gave."""

    values: Sequence[Array]
    flow: Flow = FLOW

    def value(self, key: int) -> Array:
        return self.values[key]

    def local(self, given: Mapping[int, Value]) -> dict[int, Array]:
        before = {key: given[key].real if key in given else self.values[key] for key in (0, 1)}
        return {key: step(key, before[key - 1]) if key else self.values[0] for key in given}


class Watched:
    """Shows every value, since it computes them one by one."""

    in_flight = 1
    notes: tuple[str, ...] = ()

    def run(self, inputs: Sequence[Array]) -> Ran:
        values = [np.asarray(inputs[0], np.float32)]
        for key in (1, 2):
            values.append(step(key, values[-1]))
        return Ran(values)

    def measure(self, inputs: Sequence[Array], pairs: Sequence[Comparand], wanted: AbstractSet[int]) -> ErrorStats:
        return measured(self.run(inputs), pairs, wanted)


@dataclass(frozen=True)
class Formula:
    """A trained model that is nothing but NumPy."""

    name: str = "formula"
    kind: str = "formula"
    inputs: tuple[Slot, ...] = (Slot("x", (None, models.DEPTH), "float32"),)
    outputs: tuple[str, ...] = ("second",)
    notes: tuple[str, ...] = ()
    opened: list[str] = field(default_factory=list, compare=False)

    def layers(self) -> tuple[Layer, ...]:
        return (Layer("x", "InputLayer", ()), *LAYERS)

    def trace(self, batch: Batch, on_progress: Count = unheard) -> Trace:
        return trace_slices(self, batch, lambda rows: Watched().run(rows).values[-1:], on_progress)

    def recorder(self) -> AbstractContextManager[Recorder]:
        return nullcontext(Watched())

    def lower(self) -> None:
        return None


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> Any:
    def open_formula(source: Formula, _: Any) -> tuple[Formula]:
        source.opened.append("once")
        return (source,)

    def save(source: Any, path: Path) -> Path:
        raise BadModel(f"{source}: cannot be written to {path}")

    mine = Format((".formula",), lambda source: isinstance(source, Formula), open_formula, save)
    FORMATS.load()
    monkeypatch.setitem(FORMATS._entries, "formula", mine)
    return Formula()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return models.save(tmp_path, models.two_dense(), "int8.tflite")


def data() -> Batch:
    return make_batch({"x": np.random.default_rng(1).uniform(-1.5, 1.5, (50, models.DEPTH)).astype(np.float32)}, "made")


HOW = api.Settings(runtimes=("reference",))


def test_outputs_and_every_layer_are_compared(formula: Any, file: Path) -> None:
    plain = api.diff(formula, file, data(), HOW)
    assert plain.comparisons[0].reference == "formula"
    outcome = api.diff(formula, file, data(), HOW, layers=True)
    (report,) = outcome.layers
    assert [(row.reference, row.candidate, row.kernel_agrees) for row in report.layers] == [
        ("x", "x_q", None),
        ("first", "hidden", True),
        ("second", "y_q", True),
    ]
    assert report.only_reference == report.only_candidate == ()
    assert report.layers[-1].figures.differing == plain.comparisons[0].figures.differing
    for row in report.layers:
        assert row.local is not None
        assert row.local.max_steps is not None
        assert row.local.max_steps <= 1  # weights lie on the grid: a rounding is all there is
    assert formula.opened == ["once"] * 2


@pytest.mark.parametrize("seen", [True, False])
def test_parameters_are_shown_beside_the_file_s(formula: Any, file: Path, seen: bool) -> None:
    answer = api.params(formula, file, data() if seen else None, HOW)
    assert {f"{row.layer}/{row.role}": row.tensor for row in answer.rows} == {
        "x/output": "x_q",
        "first/kernel": "A",
        "first/bias": "a",
        "first/output": "hidden",
        "second/kernel": "B",
        "second/bias": "b",
        "second/output": "y_q",
    }
    assert answer.only_reference == answer.only_tflite == ()
    rows = {row.name: row for row in answer.rows}
    assert (rows["first/output"].keras is not None) == seen  # the reference's own extent, whoever runs it
    assert formula.opened == ["once"]


def test_lint_takes_its_layers(formula: Any, file: Path) -> None:
    assert {finding.code for finding in api.lint(file, formula).findings} == {"FLOAT02"}


def test_no_framework_was_needed(formula: Any, file: Path) -> None:
    before = set(sys.modules)
    api.diff(formula, file, data(), HOW, layers=True)
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not new & {"tensorflow", "tf_keras", "keras"}


def test_an_output_behind_a_clipped_value_keeps_its_row(formula: Any, tmp_path: Path) -> None:
    """Nearly all that the first layer gives lies beyond what the file holds, so the output is far from right."""
    narrow = models.save(tmp_path, models.two_dense(hidden_scale=2.0**-16), "narrow.tflite")
    reference = models.save(tmp_path, models.two_dense(hidden_scale=None), "float.tflite")
    for given in (formula, reference):
        (report,) = api.diff(given, narrow, data(), HOW, layers=True).layers
        rows = {row.candidate: row for row in report.layers}
        assert not report.unrelated
        assert [*rows] == ["x_q", "hidden", "y_q"]
        clipped = rows["hidden"].figures.clipped_high
        assert clipped is not None
        assert clipped > 0.97 * float((step(1, data().arrays["x"]) > 0).mean())  # ReLU left the others at 0
        local = rows["y_q"].local
        assert local is not None
        assert local.max_steps is not None
        assert local.max_steps <= 1
        assert rows["y_q"].figures.sqnr_db < 10
