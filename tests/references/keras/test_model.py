"""Keras models that can be read, and those that are refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantdiff.errors import BadModel
from quantdiff.load.data import make_batch
from quantdiff.references.keras.frameworks import Frameworks, frameworks, quiet, tfmot
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import describe, load_keras, trace_keras

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def used() -> Frameworks:
    return frameworks()


def float_model(used: Frameworks, *extra: Any) -> Any:
    layers = used.keras.layers
    return used.keras.Sequential([layers.InputLayer(input_shape=(4,)), layers.Dense(3), *extra])


def saved(model: Any, path: Path) -> Path:
    with quiet():
        model.save(path)
    return path


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "saved_model"])
def test_float_models_in_every_format(used: Frameworks, tmp_path: Path, name: str) -> None:
    model = float_model(used)
    read = load_keras(saved(model, tmp_path / name))
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    assert read.kind == "float"
    trace = trace_keras(read, make_batch({"x": x}, "x"))
    np.testing.assert_array_equal(trace.outputs[0].array, model(x).numpy())


def test_models_of_keras_3(used: Frameworks, tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.layers.Input((4,), name="given"), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    expected = np.asarray(model(x))
    with quiet():
        model.save(tmp_path / "three.keras")
        model.export(tmp_path / "exported", verbose=False)
    for name in ("three.keras", "exported"):
        trace = trace_keras(load_keras(tmp_path / name), make_batch({"x": x}, "x"))
        np.testing.assert_allclose(trace.outputs[0].array, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "saved_model"])
def test_a_lambda_layer_does_not_run_unless_asked(used: Frameworks, tmp_path: Path, name: str) -> None:
    path = saved(float_model(used, used.keras.layers.Lambda(lambda x: x * 2.0)), tmp_path / name)
    with pytest.raises(BadModel, match=r"Lambda layer.*--allow-lambda"):
        load_keras(path)
    assert load_keras(path, allow_lambda=True).kind == "float"


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n torn", b"text"])
def test_files_of_another_kind(used: Frameworks, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadModel, match=f"{name}: not a"):
        load_keras(tmp_path / name)


def test_a_torn_model(used: Frameworks, tmp_path: Path) -> None:
    path = saved(float_model(used), tmp_path / "m.h5")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(BadModel, match=r"m.h5"):
        load_keras(path)


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"without saved_model.pb"):
        load_keras(tmp_path)


def test_weights_alone_are_no_model(used: Frameworks, tmp_path: Path) -> None:
    with quiet():
        float_model(used).save_weights(tmp_path / "w.h5")
    with pytest.raises(BadModel, match=r"w.h5: not a .h5 model file"):
        load_keras(tmp_path / "w.h5")


def quantize_aware(used: Frameworks) -> Any:
    with quiet():
        return tfmot().quantization.keras.quantize_model(float_model(used))


def test_a_model_of_words_has_weights_that_are_no_numbers(used: Frameworks, tmp_path: Path) -> None:
    layers = used.keras.layers
    words = layers.TextVectorization(output_sequence_length=4, vocabulary=["one", "two"])
    with quiet():
        model = used.keras.Sequential([used.keras.Input((1,), dtype="string"), words, layers.Embedding(4, 2)])
    read = load_keras(saved(model, tmp_path / "m.keras"))
    assert [slot.dtype for slot in read.inputs] == ["string"]
    assert [layer.op for layer in read_layers(read)][-1] == "GATHER"


def test_ranges_that_were_never_trained_are_refused(used: Frameworks) -> None:
    model = quantize_aware(used)
    with pytest.raises(BadModel, match=r"m: layer quantize_layer.*: quantize_layer.*_min = 0 is not below its max"):
        describe(model, "m")
    model(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), training=True)
    assert describe(model, "m").kind == "qat"


def test_annotation_alone_is_a_float_model_and_said_so(used: Frameworks) -> None:
    with quiet():
        model = tfmot().quantization.keras.quantize_annotate_model(float_model(used))
        model(np.zeros((1, 4), np.float32))
    described = describe(model, "m")
    assert described.kind == "float"
    assert "quantize_apply was never called" in described.notes[0]


def test_nothing_is_printed_while_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    import os
    import warnings

    with quiet():
        os.write(2, b"native noise")
        warnings.warn("python noise", stacklevel=1)
        with quiet():
            os.write(2, b"more of it")
        os.write(2, b"and more")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
