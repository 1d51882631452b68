"""Keras models from inside: which values there are, and each layer again on other inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from layered_models import autoencoder, build, nested, shared, two_ends
from quantized_models import Made, convolutions

from quantdiff.errors import RuntimeFailed
from quantdiff.quant import Array, Value
from quantdiff.recording import Flow
from quantdiff.references.keras.frameworks import frameworks
from quantdiff.references.keras.model import describe, load_keras
from quantdiff.references.keras.recorder import KerasRecorder

pytestmark = pytest.mark.keras


def watched(maker: Callable[[], Any]) -> tuple[KerasRecorder, list[Array], Any]:
    model, data = build(maker)
    return KerasRecorder(describe(model, "m")), [*data.values()], model


def names(flow: Flow) -> dict[str, tuple[str, ...]]:
    places = flow.by_key()
    return {place.name: tuple(places[key].name for key in place.feeds) for place in flow.places}


def test_every_layer_and_what_feeds_it() -> None:
    keras, data, model = watched(autoencoder)
    with keras:
        seen = keras.run(data)
        found = names(seen.flow)
        assert found["norm0"] == ("dense0",)
        assert found["out"] == ("relu2",)
        (end,) = seen.flow.outputs
        assert np.array_equal(seen.value(end), model(data[0], training=False).numpy())
    assert all("call" not in vars(layer) for layer in model.layers)  # the model is as it was


def test_before_a_softmax_there_is_a_value_of_its_own() -> None:
    keras, data, model = watched(two_ends)
    with keras:
        seen = keras.run(data)
        found = names(seen.flow)
        before = next(place for place in seen.flow.places if place.name == "second/pre_activation")
        logits = seen.value(before.key)
    assert found["second"] == ("second/pre_activation",)
    assert "one/pre_activation" not in found  # a ReLU is fused
    softmax = frameworks().tf.nn.softmax(logits).numpy()
    assert softmax == pytest.approx(model(data)[1].numpy(), abs=1e-6)
    assert not hasattr(model.get_layer("second").activation, "instead")


def test_a_layer_used_twice_has_two_values_and_nested_names_are_paths() -> None:
    keras, data, _ = watched(shared)
    with keras:
        found = names(keras.run(data).flow)
    assert found["twice"] == ("one",)
    assert found["twice#2"] == ("other",)
    assert found["both"] == ("twice", "twice#2")
    keras, data, _ = watched(nested)
    with keras:
        found = names(keras.run(data).flow)
    assert found["late/dense"] == ("early/out",)


def test_integers_are_not_shown_but_what_they_come_from_feeds() -> None:
    keras, tf = frameworks().keras, frameworks().tf
    words = keras.layers.Input((5,), dtype="int32", name="words")
    even = tf.math.floormod(words, 2)
    found = keras.layers.Embedding(3, 4, name="parity")(tf.math.maximum(even, 0))
    model = keras.Model(words, keras.layers.Dense(2, name="top")(found))
    with KerasRecorder(describe(model, "m")) as recorder:
        seen = names(recorder.run([np.arange(10, dtype=np.int32).reshape(2, 5)]).flow)
    assert seen["parity"] == ("words",)
    assert seen["top"] == ("parity",)


def test_a_layer_again_on_other_inputs() -> None:
    keras, data, model = watched(autoencoder)
    with keras:
        seen = keras.run([data[0][:5]])
        by_name = {place.name: place.key for place in seen.flow.places}
        other = np.random.default_rng(0).random((5, 12)).astype(np.float32)
        given = {
            by_name["relu0"]: Value("t", other),
            by_name["relu1"]: Value("t", np.zeros((5, 4), np.float32)),
        }
        local = seen.local(given)
        again = model.get_layer("norm1")(model.get_layer("dense1")(other), training=False).numpy()
        assert np.array_equal(local[by_name["relu1"]], np.maximum(again, 0))
        assert np.array_equal(local[by_name["relu0"]], seen.value(by_name["relu0"]))  # nothing before it was exchanged


def test_a_softmax_again_on_other_logits() -> None:
    keras, data, _ = watched(two_ends)
    with keras:
        seen = keras.run([array[:3] for array in data])
        by_name = {place.name: place.key for place in seen.flow.places}
        logits = np.eye(3, 4, dtype=np.float32)
        keys = by_name["second/pre_activation"], by_name["second"]
        local = seen.local({keys[0]: Value("t", logits), keys[1]: Value("t", logits)})
    assert local[keys[1]] == pytest.approx(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), abs=1e-6)
    assert np.array_equal(local[keys[0]], seen.value(keys[0]))


def test_watching_leaves_a_quantized_softmax_alone(made: Callable[..., Made]) -> None:
    files = made(convolutions)
    model = load_keras(files.keras)
    x = np.load(files.data)["x"][:20]
    with KerasRecorder(model) as keras:
        seen = keras.run([x])
        (end,) = seen.flow.outputs
        watched_output = seen.value(end)
    assert np.array_equal(watched_output, model.model(x, training=False).numpy())


def test_between_its_runs_the_model_is_as_it_was() -> None:
    keras, data, model = watched(autoencoder)
    with keras, KerasRecorder(keras.model) as other:
        seen = keras.run(data)
        made = len(seen.tape.values)
        other.run(data)
        model(data[0])
        assert "call" not in vars(model.get_layer("dense0"))
    assert len(seen.tape.values) == made


def test_an_error_of_keras_is_one_of_ours() -> None:
    keras, data, _ = watched(autoencoder)
    with keras, pytest.raises(RuntimeFailed, match="Keras failed on m"):
        keras.run([data[0][:, :3]])
