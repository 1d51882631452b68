"""SavedModels of any making, and layers that a converter takes apart: every command has an answer."""

from __future__ import annotations

import pytest
from models_of_kinds import Kind
from test_cli import invoke, trouble
from test_kinds_of_references import Kinds, by_name, layers, params, same_pairs, settings, tensors

from quantdiff import api

pytestmark = [pytest.mark.keras, pytest.mark.golden]

SAVED = {
    "saved by Keras": ["conv", "second", "dense"],
    "without metadata": ["conv/BiasAdd", "second/BiasAdd", "dense/BiasAdd"],
    "exported": [f"{name}_1/BiasAdd" for name in ("conv", "second", "dense")],
    "subclassed": ["conv/BiasAdd", "last/BiasAdd"],
    "plain module": ["add", "BiasAdd"],
}
"""By kind the values with a kernel, by the names that the graph has for them below its own."""

TAKEN_APART = {
    "separable 1d": ["separable/depthwise", "separable", "dense"],
    "separable 2d": ["separable/depthwise", "separable", "dense"],
    "transposed": ["up", "last"],
    "causal": ["conv1", "conv2", "dense"],
    "normalized": ["first", "last"],
    "called twice": ["encoder/dense", "again", "last"],
    "gru": ["gru/input_to_gates", "gru/recurrent_to_gates", "dense"],
    "lstm": ["lstm/input_to_gates", "lstm/recurrent_to_gates", "dense"],
    "attention": ["heads/query", "heads/key", "heads/value", "heads/attention_output", "dense"],
    "convolutions annotated": ["quant_conv", "quant_second", "quant_third", "dense"],
    "custom config": ["quant_conv", "quant_last"],
}
"""By kind the kernels that stand in the file as they are."""


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_model_shows_inner_values_and_kernels(kinds: Kinds, name: str) -> None:
    kind = kinds(name)
    report, answer = layers(kind), params(kind)
    ops = [row.op for row in report.layers]
    assert ops[0] == "QUANTIZE"
    assert ops[-1] == "FULLY_CONNECTED"
    assert len(ops) >= 4
    assert not report.only_reference
    assert not report.only_candidate
    assert not report.unrelated
    assert [row.kernel_agrees for row in report.layers if row.op in ("CONV_2D", "FULLY_CONNECTED")] == [True] * len(
        SAVED[name]
    )
    assert all(row.local is not None and row.local.sqnr_db >= row.figures.sqnr_db - 1 for row in report.layers)
    same_pairs(report, answer)
    if name == "without metadata":
        same_pairs(report, params(kind, data=False))
    assert [layer.partition("/")[2] or layer for layer in tensors(answer, "kernel")] == SAVED[name]
    assert [*tensors(answer, "bias")] == [*tensors(answer, "kernel")]
    assert not answer.only_reference
    assert api.lint(kind.int8, kind.reference).model


@pytest.mark.parametrize("name", ["subclassed", "separable 1d", "causal", "custom config"])
def test_every_command_has_an_answer(kinds: Kinds, name: str) -> None:
    kind = kinds(name)
    custom = ("--custom-objects", kind.custom) if kind.custom else ()
    data = ("--data", kind.data)
    for command, options in (("diff", (*data, "--layers")), ("params", data), ("lint", ())):
        result = invoke(command, kind.reference, kind.int8, *options, *custom)
        assert result.exit_code in (0, 1), (command, result.output)


@pytest.mark.parametrize("name", TAKEN_APART)
def test_kernels_that_are_in_the_file_are_found(kinds: Kinds, name: str) -> None:
    kind = kinds(name)
    report, answer = layers(kind), params(kind)
    assert [*tensors(answer, "kernel")] == TAKEN_APART[name]
    for row in answer.rows:
        if row.role == "kernel" and row.layer in TAKEN_APART[name]:
            assert row.reasons[0].code in ("own range", "equal", "nudge only", "no counterpart"), row.name
            assert row.reasons[0].text != "no counterpart in the file"
    assert not [row.reference for row in report.layers if row.kernel_agrees is False]
    assert not report.only_reference
    assert not report.unrelated
    assert api.lint(kind.int8, kind.reference, settings(kind)).model


def test_a_separable_layer_is_one_layer_and_two_operators(kinds: Kinds) -> None:
    for name in ("separable 1d", "separable 2d"):
        report = layers(kinds(name))
        row = by_name(report)["relu"]
        assert row.reference_inside == ("separable", "norm")
        assert row.kernel_agrees is True
        assert report.only_reference == report.only_candidate == ()


def test_a_class_that_nobody_named_is_asked_for(kinds: Kinds) -> None:
    kind: Kind = kinds("custom config")
    for command, options in (("diff", ("--data", kind.data)), ("params", ()), ("lint", ())):
        trouble(invoke(command, kind.reference, kind.int8, *options), "--custom-objects FILE.py")
