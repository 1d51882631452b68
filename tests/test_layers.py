"""``diff --layers`` end to end: each kind of model, wrong weights, other models, softmax on one side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Runs
from contradictions import contradicting_rows
from layered_models import (
    autoencoder,
    build,
    classifier,
    converted,
    dead,
    nested,
    residual,
    shared,
    twins,
    two_ends,
    write_all,
)

from quantdiff import api
from quantdiff.align import models
from quantdiff.cli import main
from quantdiff.compare.layers import figures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.load.data import Batch, make_batch
from quantdiff.references.keras.frameworks import frameworks, quiet

pytestmark = [pytest.mark.keras, pytest.mark.golden]

Files = Callable[..., Mapping[str, Path]]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A function from a builder to its model, data and conversions, each made once."""

    @cache
    def make(maker: Callable[[], Any], *kinds: str) -> Mapping[str, Path]:
        return write_all(maker, tmp_path_factory.mktemp("layers"), *kinds)

    return make


def layers(reference: Path, candidate: Path, data: Path | Batch, runtime: str = "reference") -> LayerReport:
    outcome = api.diff(reference, candidate, data, api.Settings(runtimes=(runtime,)), layers=True)
    assert not outcome.failures
    assert contradicting_rows(outcome.layers[0]) == {}
    return outcome.layers[0]


def test_compiled_loops_count_what_numpy_counts(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is counted by NumPy, much by compiled loops: in the children of a ``.tflite``, or beside Keras."""
    made = files(residual, "int8", "float")
    for reference in (made["keras"], made["float"]):
        found = []
        for many in (0, 2**40):
            monkeypatch.setattr(figures, "MANY", many)
            found.append(layers(reference, made["int8"], made["data"]).layers)
        assert len(found[0]) == len(found[1]) > 3
        for ours, theirs in zip(*found, strict=True):
            for a, b in ((ours.figures, theirs.figures), (ours.local, theirs.local)):
                assert a is not None
                assert b is not None
                assert astuple(a) == pytest.approx(astuple(b), rel=1e-9, abs=1e-12)
                assert (a.differing, a.max_steps) == (b.differing, b.max_steps)


def pairs(report: LayerReport) -> dict[str, str]:
    return {layer.reference: layer.op for layer in report.layers}


def by_name(report: LayerReport) -> dict[str, LayerResult]:
    return {layer.reference: layer for layer in report.layers}


def leftovers(report: LayerReport) -> tuple[list[str], list[str]]:
    return [each.name for each in report.only_reference], [each.op for each in report.only_candidate]


BLOCKS = {f"{name}{i}": op for i in range(6) for name, op in (("relu", "CONV_2D"), ("add", "ADD"))}


@pytest.mark.parametrize("kind", ["int8", "int16", "dynamic", "float"])
def test_a_residual_network_pair_by_pair(files: Files, kind: str) -> None:
    made = files(residual, "int8", "int16", "dynamic", "float")
    report = layers(made["keras"], made[kind], made["data"], "xnnpack")
    quantized = kind.startswith("int")
    begin, *rest = pairs(report).items()
    assert begin[1] == ("QUANTIZE" if quantized else "input")
    assert dict(rest) == {**BLOCKS, "pool": "MEAN", "dense": "FULLY_CONNECTED"}
    assert leftovers(report) == ([], [])
    found = by_name(report)
    assert found["relu3"].notes == ("norm3 folded into conv3", "relu3 fused")
    assert found["relu3"].reference_inside == ("conv3", "norm3")
    assert all(
        layer.kernel_agrees is (True if layer.op in ("CONV_2D", "FULLY_CONNECTED") else None) for layer in report.layers
    )
    assert all((layer.figures.step is not None) == quantized for layer in report.layers)
    deepest = found["relu3"]
    assert deepest.local is not None
    assert deepest.local.sqnr_db > deepest.figures.sqnr_db + 2  # what came before is left out
    check_drawing(report)


def check_drawing(report: LayerReport) -> None:
    """Every value of both models is drawn, a pair and what lies inside it in one box; histograms where a grid is."""
    drawing = report.drawing
    assert drawing is not None
    boxes = [box for box in drawing.boxes if box.layer is not None]
    assert [box.layer for box in boxes] == [*range(len(report.layers))]
    for box, layer in zip(boxes, report.layers, strict=True):
        assert box.reference[-1] == (layer.layer, layer.reference)
        assert box.candidate[-1][1] == layer.candidate
    place = next(i for i, layer in enumerate(report.layers) if layer.reference == "relu3")
    assert [name for _, name in boxes[place].reference] == ["conv3", "norm3", "relu3"]
    into_add = {drawing.boxes[a].reference[-1][1] for side, a, b in drawing.feeds if (side, b) == (0, place + 1)}
    assert into_add == {
        drawing.boxes[a].reference[-1][1] for side, a, b in drawing.feeds if (side, b) == (1, place + 1)
    }
    for layer, pair in zip(report.layers, drawing.histograms, strict=True):
        assert (pair.accumulated is not None) == (layer.figures.step is not None)


def test_the_histogram_of_all_samples_has_the_error_of_the_row(files: Files) -> None:
    made = files(residual, "int8", "int16", "dynamic", "float")
    with np.load(made["data"]) as held:
        few = make_batch({name: held[name][:4] for name in held.files if name != "y"}, source="few")
    report = layers(made["keras"], made["int8"], few, "xnnpack")
    assert report.drawing is not None
    assert report.drawing.samples == 4
    for layer, pair in zip(report.layers, report.drawing.histograms, strict=True):
        assert pair.accumulated is not None
        assert sum(pair.accumulated.counts) == layer.figures.count
        assert pair.accumulated.rmse == pytest.approx(layer.figures.rmse_steps, abs=1e-5)
        if layer.local is not None and pair.local is not None:
            assert pair.local.rmse == pytest.approx(layer.local.rmse_steps, abs=1e-5)


def test_a_float_file_as_the_reference_tells_the_same(files: Files) -> None:
    made = files(residual, "int8", "int16", "dynamic", "float")
    keras, lite = (layers(made[reference], made["int8"], made["data"]) for reference in ("keras", "float"))
    assert [layer.candidate for layer in keras.layers] == [layer.candidate for layer in lite.layers]
    for a, b in zip(keras.layers, lite.layers, strict=True):
        assert a.local is not None
        assert b.local is not None
        assert b.figures.sqnr_db == pytest.approx(a.figures.sqnr_db, abs=0.02)
        assert b.local.sqnr_db == pytest.approx(a.local.sqnr_db, abs=0.02)


def test_several_inputs_and_outputs(files: Files) -> None:
    made = files(two_ends, "int8")
    report = layers(made["keras"], made["int8"], made["data"])
    assert pairs(report) == {
        "left": "QUANTIZE",
        "right": "QUANTIZE",
        "one": "FULLY_CONNECTED",
        "other/pre_activation": "FULLY_CONNECTED",
        "other": "TANH",
        "joined": "CONCATENATION",
        "first": "FULLY_CONNECTED",
        "second/pre_activation": "FULLY_CONNECTED",
        "second": "SOFTMAX",
    }
    assert leftovers(report) == ([], [])
    assert report.decided == 400  # both outputs decide


def test_a_nested_model_and_a_bias_that_moved(files: Files) -> None:
    made = files(nested, "int8", "float")
    for kind in ("int8", "float"):
        report = layers(made["keras"], made[kind], made["data"])
        assert [*pairs(report)][1:] == ["early/dense", "early/out", "late/dense", "last"]
        assert by_name(report)["last"].notes == ("adds the bias of late/out too",)
        assert leftovers(report) == (["late/out"], ["FULLY_CONNECTED"])
        assert "its bias is added in a later operator" in report.only_reference[0].why


def test_a_layer_that_is_used_several_times(files: Files) -> None:
    made = files(shared, "int8")
    report = layers(made["keras"], made["int8"], made["data"])
    assert [*pairs(report)] == ["one", "other", "twice", "twice#2", "both", "twice#3", "last"]
    assert len({layer.candidate for layer in report.layers}) == 7
    assert leftovers(report) == ([], [])


def test_branches_that_compute_the_same(files: Files) -> None:
    made = files(twins, "int8")
    report = by_name(layers(made["keras"], made["int8"], made["data"]))
    assert "castor" in report["castor"].candidate
    assert "pollux" in report["pollux"].candidate
    assert report["castor"].notes == ("split into FULLY_CONNECTED + ADD",)


def test_what_vanished_is_shown(files: Files) -> None:
    made = files(classifier, "int8")
    report = layers(made["keras"], made["int8"], made["data"])
    assert [*pairs(report)][1:] == ["image", "conv", "pool", "flat", "logits", "softmax"]
    assert by_name(report)["flat"].notes == ("drop vanished",)
    assert leftovers(report) == ([], [])


def test_a_constant_layer_is_not_confirmed_by_values(files: Files) -> None:
    made = files(dead, "int8")
    report = by_name(layers(made["keras"], made["int8"], made["data"]))
    assert report["dead"].confirmed_by == "flat"
    assert report["alive"].confirmed_by == "values"


def test_dense_norm_relu_after_training(files: Files) -> None:
    made = files(autoencoder, "int8")
    report = layers(made["keras"], made["int8"], made["data"])
    assert [*pairs(report)][1:] == ["relu0", "relu1", "relu2", "out"]


@pytest.mark.parametrize("model", ["dense2", "CNN"])
def test_a_qat_model(runs: Runs, model: str) -> None:
    _, out = runs(model)
    report = layers(out / "qat.h5", out / "model.tflite", out / "data.npz")
    assert leftovers(report) == ([], [])
    assert report.layers[0].reference == "quantize_layer"
    assert report.layers[0].figures.differing == 0
    outcome = api.diff(out / "qat.h5", out / "model.tflite", out / "data.npz", api.Settings(runtimes=("reference",)))
    assert report.layers[-1].figures.differing == outcome.comparisons[0].figures.differing
    assert all(layer.local is not None for layer in report.layers)


def test_one_file_on_two_runtimes(runs: Runs) -> None:
    _, out = runs("dense2")
    settings = api.Settings(runtimes=("reference", "builtin"))
    outcome = api.diff(out / "model.tflite", out / "model.tflite", out / "data.npz", settings, layers=True)
    same, other = outcome.layers
    assert same.first_differing is None
    assert same.reference == "reference:tflite:reference"
    assert all(layer.reference == layer.candidate for layer in other.layers)
    first = other.layers[other.first_differing or 0]
    assert first.local is not None
    assert first.figures.differing == first.local.differing  # what was given to it is still the same


def save(model: Any, path: Path) -> Path:
    with quiet():
        model.save(str(path))
    return path


def rebuilt(maker: Callable[[], Any], folder: Path, change: Callable[[Any], Any]) -> tuple[Path, Path, Batch]:
    """A model, the file of a changed copy, and data."""
    model, data = build(maker)
    keras = save(model, folder / "model.keras")
    other, _ = build(maker)
    changed = change(other)
    path = folder / "changed.tflite"
    path.write_bytes(converted(other if changed is None else changed, data, "int8"))
    return keras, path, make_batch(data, "memory")


def test_another_models_file_is_told_in_one_line(tmp_path: Path) -> None:
    def forget(model: Any) -> None:
        dice = np.random.default_rng(9)
        for weight in model.weights:
            weight.assign(
                np.abs(dice.normal(0, 0.4, weight.shape))
                if "variance" in weight.name
                else dice.normal(0, 0.4, weight.shape)
            )

    report = layers(*rebuilt(residual, tmp_path, forget))
    assert report.unrelated.startswith("weights of 7 of 7 layers are not the file's")
    assert "alike" not in report.unrelated
    for left in (report.only_reference, report.only_candidate):
        assert {each.why for each in left} == {"these are not the same model"}
    assert [*pairs(report)][1:] == []


@pytest.mark.parametrize("flipped", [True, False])
def test_a_wrong_kernel_is_found_and_named(tmp_path: Path, flipped: bool) -> None:
    def plant(model: Any) -> None:
        layer = model.get_layer("conv2")
        kernel, bias = layer.get_weights()
        if flipped:
            kernel = kernel[::-1]
        else:
            kernel[1, 1, 2, 1] += 1
        layer.set_weights([kernel, bias])

    report = layers(*rebuilt(residual, tmp_path, plant))
    assert report.unrelated == ""
    assert report.adds_most is not None
    worst = report.layers[report.adds_most]
    assert (worst.reference, worst.kernel_agrees, worst.confirmed_by) == ("relu2", False, "next")
    assert all(layer.kernel_agrees for layer in report.layers if layer.op == "CONV_2D" and layer is not worst)
    rest = [layer.local.sqnr_db for layer in report.layers if layer is not worst and layer.local is not None]
    assert worst.local is not None
    assert worst.local.sqnr_db < 10
    assert min(rest) > 30  # rounding alone


def test_channels_in_another_order_are_no_pair(tmp_path: Path) -> None:
    order = [2, 0, 1, 5, 3, 4]

    def permute(model: Any) -> None:
        conv, logits = model.get_layer("conv"), model.get_layer("logits")
        conv.set_weights([weight[..., order] for weight in conv.get_weights()])
        kernel, bias = logits.get_weights()
        logits.set_weights([kernel.reshape(3, 3, 6, 4)[:, :, order].reshape(54, 4), bias])

    report = layers(*rebuilt(classifier, tmp_path, permute))
    assert report.unrelated == ""
    assert [*pairs(report)][1:] == ["image", "logits", "softmax"]
    assert leftovers(report)[0] == ["conv", "pool"]
    assert all("values do not agree" in each.why for each in report.only_reference)


def without_softmax(model: Any) -> Any:
    return frameworks().keras.Model(model.inputs, model.get_layer("logits").output)


def test_a_softmax_in_the_reference_only(tmp_path: Path) -> None:
    report = layers(*rebuilt(classifier, tmp_path, without_softmax))
    assert report.notes == ("Softmax (softmax) at the end of the reference only: compared before it",)
    assert report.layers[-1].reference == "logits"
    assert report.decided == 200
    assert [each.why for each in report.only_reference] == ["the other side ends before it"]


def test_a_softmax_in_the_candidate_only(tmp_path: Path, files: Files) -> None:
    made = files(classifier, "int8")
    model, data = build(classifier)
    report = layers(save(without_softmax(model), tmp_path / "m.keras"), made["int8"], make_batch(data, "memory"))
    assert [note.partition(" (")[0] for note in report.notes] == ["SOFTMAX"]
    assert "candidate only" in report.notes[0]
    assert report.layers[-1].reference == "logits"


@pytest.mark.parametrize("kind", ["uint8_ends", "int8_ends"])
def test_integers_at_both_ends(tmp_path: Path, kind: str) -> None:
    made = write_all(classifier, tmp_path, kind)
    report = layers(made["keras"], made[kind], made["data"])
    assert [*pairs(report)][1:] == ["image", "conv", "pool", "flat", "logits", "softmax"]
    assert leftovers(report) == ([], [])


def test_two_keras_models(runs: Runs) -> None:
    _, out = runs("dense2")
    outcome = api.diff(out / "float.keras", out / "qat.h5", out / "data.npz", layers=True)
    found = by_name(outcome.layers[0])
    assert found["dense_1"].candidate == "quant_dense_1"
    assert found["dense_1"].figures.differing is None


def test_slices_make_no_difference(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are streamed: they are the same however few samples are in memory at once."""
    made = files(classifier, "int8", "int8_ends")
    whole = layers(made["int8"], made["int8_ends"], made["data"])
    monkeypatch.setattr(models, "SAMPLES_AT_ONCE", 7)
    report = layers(made["int8"], made["int8_ends"], made["data"])
    assert [layer.figures for layer in report.layers] == [layer.figures for layer in whole.layers]


def test_the_command(runs: Runs) -> None:
    _, out = runs("dense2")
    arguments = ["diff", str(out / "qat.h5"), str(out / "model.tflite"), "--data", str(out / "data.npz"), "--json"]
    plain, deep = (CliRunner().invoke(main, [*arguments, *more]) for more in ((), ("--layers",)))
    assert plain.exit_code == deep.exit_code
    before, after = json.loads(plain.stdout), json.loads(deep.stdout)
    assert "layers" not in before
    assert {key: after[key] for key in before} == before
    wanted = {"reference", "candidate", "op", "count", "differing", "max_steps", "local_differing", "local_max_steps"}
    assert all(wanted <= layer.keys() for layer in after["layers"])
    assert after["unaligned"] == {"reference": [], "candidate": []}
