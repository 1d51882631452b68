"""Trained models of every kind beside the file made of each: what belongs to what, in every command alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_of_kinds import Kind
from test_cli import invoke, trouble

from quantdiff import api
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.parameters.quantizers import Parameters
from quantdiff.references.formats import Format, formats
from quantdiff.references.keras.frameworks import quiet
from quantdiff.references.keras.model import load_keras

pytestmark = [pytest.mark.keras, pytest.mark.golden]

Kinds = Callable[[str], Kind]
EXACT = 120  # dB: what float32 leaves of an exact value


def layers(kind: Kind, file: str = "int8", reference: Path | None = None) -> LayerReport:
    return _layers(reference or kind.reference, kind.files[file], kind.data, settings(kind))


@cache
def _layers(reference: Path, candidate: Path, data: Path, how: api.Settings) -> LayerReport:
    outcome = api.diff(reference, candidate, data, how, layers=True)
    assert not outcome.failures
    return outcome.layers[0]


def params(kind: Kind, file: str = "int8", reference: Path | None = None, *, data: bool = True) -> Parameters:
    return _params(reference or kind.reference, kind.files[file], kind.data if data else None, settings(kind))


@cache
def _params(reference: Path, candidate: Path, data: Path | None, how: api.Settings) -> Parameters:
    return api.params(reference, candidate, data, how)


def settings(kind: Kind) -> api.Settings:
    return api.Settings(runtimes=("reference",), custom_objects=kind.custom)


def by_name(report: LayerReport) -> dict[str, LayerResult]:
    return {layer.reference: layer for layer in report.layers}


def tensors(answer: Parameters, role: str = "output") -> dict[str, str]:
    """Layer → the tensor of the file that ``params`` shows for it."""
    paired = [row for row in answer.rows if row.role == role and row.tensor and row.tensor not in answer.only_tflite]
    return {row.layer + "/pre_activation" * (row.quantizer == "pre_activation"): row.tensor or "" for row in paired}


def same_pairs(report: LayerReport, answer: Parameters) -> None:
    """Every row of ``diff --layers`` stands in ``params`` with the same names, and no tensor under two layers."""
    shown = tensors(answer)
    assert {row.reference: row.candidate for row in report.layers} == shown
    assert len(set(shown.values())) == len(shown)


@pytest.mark.parametrize(
    "name", ["submodels", "dense pair", "image", "activations", "activations 3", "pools 3", "normalized", "tokens"]
)
def test_every_command_shows_the_same_pairs(kinds: Kinds, name: str) -> None:
    kind = kinds(name)
    report = layers(kind)
    same_pairs(report, params(kind))
    assert not report.unrelated


def test_without_data_they_are_the_same(kinds: Kinds) -> None:
    for name in ("submodels", "activations 3", "tokens"):
        same_pairs(layers(kinds(name)), params(kinds(name), data=False))


def test_submodels_that_share_names_of_layers(kinds: Kinds) -> None:
    report, answer = layers(kinds("submodels")), params(kinds("submodels"))
    names = ["early/dense", "early/out", "late/dense", "late/out", "last"]
    assert [row.reference for row in report.layers][1:] == names
    assert all(row.kernel_agrees for row in report.layers[1:])
    kernels = tensors(answer, "kernel")
    assert [*kernels] == names
    assert len(set(kernels.values())) == len(names)
    assert all(name in tensor for name, tensor in kernels.items())


@pytest.mark.parametrize("name", ["activations", "activations 3"])
def test_values_before_and_after_an_activation(kinds: Kinds, name: str) -> None:
    report = layers(kinds(name))
    assert {row.reference: row.op for row in report.layers} == {
        "image": "QUANTIZE",
        "swish/pre_activation": "CONV_2D",
        "swish": "MUL",
        "relu": "CONV_2D",
        "sigmoid/pre_activation": "CONV_2D",
        "sigmoid": "LOGISTIC",
        "flat": "RESHAPE",
        "gelu/pre_activation": "FULLY_CONNECTED",
        "gelu": "GELU",
        "last": "FULLY_CONNECTED",
    }
    assert all(row.kernel_agrees for row in report.layers if row.op in ("CONV_2D", "FULLY_CONNECTED"))
    assert report.only_reference == report.only_candidate == ()
    sigmoid = by_name(report)["sigmoid"].local
    assert sigmoid is not None
    assert sigmoid.differing == 0


@pytest.mark.parametrize("name", ["activations", "activations 3", "submodels", "image", "convolutions annotated"])
def test_the_figures_of_a_row_can_hold_together(kinds: Kinds, name: str) -> None:
    """Where nothing is clipped, values are as far apart as their integers: rounding hides less than a step."""
    for row in layers(kinds(name)).layers:
        for figures in (row.figures, row.local):
            if figures is None or figures.max_steps is None or figures.clipped_low or figures.clipped_high:
                continue
            assert figures.mean_abs_steps is not None
            assert figures.mean_abs_steps <= figures.max_steps + 1, row.reference
            assert (figures.differing == 0) == (figures.max_steps == 0), row.reference
        assert row.local is None or row.figures.max_steps != 0 or row.local.max_steps == 0, row.reference


def test_names_of_keras_3_each_have_their_own_tensor(kinds: Kinds) -> None:
    for data in (True, False):
        shown = tensors(params(kinds("pools 3"), data=data))
        assert "max_pooling2d_1_2" not in shown["max_pooling2d"]
        assert "max_pooling2d_1_2" in shown["max_pooling2d_1"]


def test_float_islands_are_paired_whole(kinds: Kinds) -> None:
    """A norm that became MUL + ADD belongs to the ADD; a fake-quant that became QUANTIZE to the integers."""
    report = by_name(layers(kinds("convolutions annotated")))
    assert all(row.op != "MUL" for row in report.values())
    for name in ("quant_relu", "norm2", "quant_add", "dense"):
        local = report[name].local
        assert local is not None
        assert local.sqnr_db > EXACT, name
    for name in ("quant_relu", "quant_add"):
        assert report[name].figures.step is not None
        assert report[name].notes[-1] == "computed in float, then quantized"
    assert report["norm2"].notes == ("split into MUL + ADD",)
    shown = tensors(params(kinds("convolutions annotated")))
    assert shown["quant_add"] == report["quant_add"].candidate


def test_numbers_of_words_are_paired_with_the_input(kinds: Kinds) -> None:
    report = layers(kinds("tokens"))
    first = report.layers[0]
    assert (first.reference, first.op, first.distance) == ("ids", "input", 0)
    ops = {row.reference: row.op for row in report.layers}
    assert ops["words"] == "GATHER"
    assert ops["masked"] == "ADD"
    assert first.candidate == tensors(params(kinds("tokens")))["ids"]


def test_a_copy_of_the_input_on_another_grid_is_not_the_input(kinds: Kinds) -> None:
    kind = kinds("custom config")
    report, answer = layers(kind), params(kind)
    assert report.layers[0].figures.differing == 0
    (row,) = (row for row in answer.rows if row.layer.startswith("quantize_layer"))
    assert row.tensor == report.layers[0].candidate
    assert row.reasons[0].code == "equal"
    assert by_name(report)["quant_conv"].kernel_agrees


def test_weights_of_16_bits_are_the_model_s(kinds: Kinds) -> None:
    kind = kinds("image")
    report = layers(kind, "float16")
    assert not report.unrelated
    assert [row.kernel_agrees for row in report.layers if row.op in ("CONV_2D", "FULLY_CONNECTED")] == [True] * 3
    assert min(row.figures.sqnr_db for row in report.layers) > 60
    same_pairs(report, params(kind, "float16"))
    assert [*tensors(params(kind, "float16", data=False), "kernel")] == ["conv", "second", "dense"]


def test_another_checkpoint_is_another_model(kinds: Kinds) -> None:
    kind = kinds("another checkpoint")
    report = layers(kind)
    assert report.unrelated.startswith("weights of 3 of 3 layers are not the file's")
    assert report.unrelated.endswith("explain tells their share")
    assert report.notes == ()
    for data in ((), ("--data", kind.data)):
        trouble(
            invoke("params", kind.reference, kind.int8, *data),
            "not the same model: weights of 3 of 3 layers are not the file's",
        )


def test_of_unrelated_models_everything_is_without_a_partner(kinds: Kinds) -> None:
    reference, candidate = kinds("submodels"), kinds("dense pair").int8
    result = invoke("diff", reference.reference, candidate, "--data", reference.data, "--layers", "--json")
    unaligned = json.loads(result.stdout)["unaligned"]
    assert len(unaligned["reference"]) == 5
    assert len(unaligned["candidate"]) == 2
    trouble(invoke("params", reference.reference, candidate), "not the same model")


@pytest.mark.parametrize("name", ["submodels", "image", "activations"])
def test_a_float_file_as_the_reference_gives_the_same_pairs(kinds: Kinds, name: str) -> None:
    kind = kinds(name)
    given = kind.files["float"]
    of_keras, of_file = params(kind), params(kind, reference=given)
    for role in ("kernel", "bias"):
        assert [*tensors(of_file, role).values()] == [*tensors(of_keras, role).values()]
    assert {*tensors(of_keras).values()} <= {*tensors(of_file).values()}
    same_pairs(layers(kind, reference=given), of_file)
    assert api.lint(kind.int8, given).findings == api.lint(kind.int8, kind.reference).findings


def test_a_float_file_as_the_reference_paints_the_graph(kinds: Kinds, tmp_path: Path) -> None:
    kind = kinds("dense pair")
    result = invoke("overlay", kind.files["float"], kind.int8, "--data", kind.data, "--out", tmp_path / "painted")
    assert result.exit_code == 0, result.output
    assert any((tmp_path / "painted").iterdir())


@pytest.mark.parametrize("command", ["diff", "layers", "params", "lint"])
def test_each_model_is_opened_once(kinds: Kinds, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    kind, opened = kinds("dense pair"), list[Path]()

    def counting(each: Format) -> Format:
        def open_one(source: Any, options: Any) -> Any:
            opened.append(source)
            return each.open(source, options)

        return Format(each.files, each.takes, open_one, each.save)

    for name, each in list(formats().items()):
        monkeypatch.setitem(formats(), name, counting(each))
    ask: dict[str, Callable[[], object]] = {
        "diff": lambda: api.diff(kind.reference, kind.int8, kind.data, settings(kind)),
        "layers": lambda: api.diff(kind.reference, kind.int8, kind.data, settings(kind), layers=True),
        "params": lambda: api.params(kind.reference, kind.int8, kind.data, settings(kind)),
        "lint": lambda: api.lint(kind.int8, kind.reference),
    }
    ask[command]()
    assert sorted(opened) == sorted({kind.reference, kind.int8} if command != "lint" else {kind.reference})


def test_two_inputs_of_one_shape_have_to_be_named(kinds: Kinds, tmp_path: Path) -> None:
    kind = kinds("called twice")
    arrays = [np.load(kind.data)[name] for name in ("one", "other")]
    np.savez(tmp_path / "strange.npz", allow_pickle=False, a=arrays[0], b=arrays[1])
    np.savez(tmp_path / "numbered.npz", allow_pickle=False, **dict(zip("01", arrays, strict=True)))
    for command in ("diff", "params"):
        files = kind.reference, kind.int8, "--data"
        trouble(invoke(command, *files, tmp_path / "strange.npz"), "one, other", "int8.tflite", "model.keras")
        assert invoke(command, *files, tmp_path / "numbered.npz").exit_code in (0, 1)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("gru", ["gru/input_to_gates", "gru/recurrent_to_gates"]),
        ("attention", ["heads/attention_output", "heads/key", "heads/query", "heads/value"]),
    ],
)
def test_kernels_inside_a_layer_have_their_rows(name: str, inside: list[str], kinds: Kinds) -> None:
    rows = [row for row in params(kinds(name)).rows if row.role == "kernel" and row.layer in inside]
    assert sorted(row.layer for row in rows) == inside
    assert len({row.tensor for row in rows}) == len(inside)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("gru both ways", [f"{side}_to_gates" for side in ("input", "recurrent")]),
        (
            "lstm both ways",
            [f"{side}_to_{gate}" for side in ("input", "recurrent") for gate in ("cell", "forget", "input", "output")],
        ),
    ],
)
def test_kernels_of_both_directions_have_their_rows(name: str, inside: list[str], kinds: Kinds, tmp_path: Path) -> None:
    kind, cell = kinds(name), name.partition(" ")[0]
    with quiet():
        load_keras(kind.reference).model.save(tmp_path / "model.h5")
    wanted = [f"both/{way}_{cell}/{part}" for way in ("backward", "forward") for part in inside]
    for reference in (kind.reference, tmp_path / "model.h5"):
        answer = api.params(reference, kind.files["float"])
        rows = [row for row in answer.rows if row.role == "kernel" and row.layer in wanted]
        assert sorted(row.layer for row in rows) == sorted(wanted)
        assert len({row.tensor for row in rows}) == len(wanted)
