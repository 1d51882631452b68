"""Dense layers that Keras 3's ``quantize`` made integers of: their kernels, what is said of them, their graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantdiff.errors import BadModel
from quantdiff.ladder.matching import lowered
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import real_graph
from quantdiff.load.data import make_batch
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.reference import open_keras

pytestmark = pytest.mark.keras
X = np.random.default_rng(4).normal(0, 1, (32, 10)).astype(np.float32)
TOKENS = np.random.default_rng(4).integers(0, 20, (32, 6)).astype(np.int32)
SEQUENCES = np.random.default_rng(0).normal(0, 1, (16, 4, 5)).astype(np.float32)
LOOKS_AT_DATA = ("gptq", "awq")


@pytest.fixture(
    scope="module", params=["int8", "int4", *(pytest.param(m, marks=pytest.mark.thorough) for m in LOOKS_AT_DATA)]
)
def model(request: pytest.FixtureRequest) -> Any:
    """Two dense layers behind a batch norm, or behind a table: those two modes are for models of words."""
    frameworks()
    import keras

    keras.utils.set_random_seed(2)
    layers, mode = keras.layers, request.param
    dense = [layers.Dense(7, "tanh", bias_initializer="normal", name="one"), layers.Dense(10, name="two")]
    inner, words = keras.Sequential(dense, name="inner"), mode in LOOKS_AT_DATA
    first = [keras.Input((6,), dtype="int32"), layers.Embedding(20, 10)] if words else [keras.Input((10,))]
    with quiet():
        made = keras.Sequential([*first, *([] if words else [layers.BatchNormalization()]), inner], name=f"net_{mode}")
        made.quantize(mode, **(_calibrated(keras, mode, *made.layers) if words else {}))
    return made


def _calibrated(keras: Any, mode: str, table: Any, inner: Any) -> dict[str, Any]:
    make = {"gptq": keras.quantizers.GPTQConfig, "awq": keras.quantizers.AWQConfig}[mode]
    config = make(
        dataset=[each[None] for each in TOKENS], tokenizer=lambda each: each, num_samples=8, sequence_length=6,
        group_size=4, quantization_layer_structure={"pre_block_layers": [table], "sequential_blocks": [inner]},
    )  # fmt: skip
    return {"config": config}


def test_kernels_are_what_the_layers_multiply_by(model: Any) -> None:
    """One input at a time: of each the largest integer alone, so that nothing is rounded."""
    for layer, read in zip(model.layers[1].layers, read_layers(open_keras(model))[1:], strict=True):
        linear, layer.activation = layer.activation, None
        rows = np.asarray(layer(np.eye(layer.input.shape[-1], dtype=np.float32)) - layer.bias)
        layer.activation = linear
        assert read.kernel is not None
        assert np.abs(read.kernel.T - rows).max() < 1e-6
        assert np.unique(np.abs(rows)).size > 2


def test_only_dense_is_quantized_and_that_is_said(model: Any) -> None:
    (note,) = open_keras(model).notes
    mode = model.name.removeprefix("net_")
    assert f"quantize('{mode}') touched inner/one, inner/two alone; all other layers are float" in note
    assert note.endswith("each sample on a scale of its own") == (mode == "int8")


def test_the_graph_gives_what_keras_gives(model: Any) -> None:
    given = TOKENS if model.inputs[0].dtype == "int32" else X
    _says_the_same(model, given)
    assert "quantized_call" not in vars(model.layers[1].layers[0])  # as it was


def test_a_layer_whose_integers_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a later Keras may have: it rounds what it reads, and its kernel is none of the known."""
    frameworks()
    import keras

    layer = keras.layers.EinsumDense("abc,cd->abd", output_shape=(None, 3), name="product")
    with quiet():
        model = keras.Sequential([keras.Input((4, 5)), layer])
        layer.quantize("int8")
    monkeypatch.setattr("quantdiff.references.keras.reference.real_kernel", lambda layer: None)
    with pytest.raises(BadModel, match="product multiplies integers, as Keras' quantize has it; that is told of Dense"):
        open_keras(model).lower()


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("equation", ["abc,cd->abd", "abc,cde->abde", "abc,bcd->abd"])
def test_a_product_by_letters_of_integers_is_said_in_floats(equation: str, mode: str) -> None:
    frameworks()
    import keras

    shape = {"abd": (4, 3), "abde": (4, 3, 2)}[equation.partition("->")[2]]
    layer = keras.layers.EinsumDense(equation, output_shape=shape, bias_axes="d", bias_initializer="normal", name="p")
    with quiet():
        keras.utils.set_random_seed(5)
        model = keras.Sequential([keras.Input((4, 5)), layer])
        layer.quantize(mode)
    _says_the_same(model)


def test_attention_of_integers_is_said_in_floats() -> None:
    """Its products are layers inside of it; every one is named."""
    frameworks()
    import keras

    keras.utils.set_random_seed(5)
    given = keras.Input((4, 5))
    heads = keras.layers.MultiHeadAttention(2, 3, name="heads")
    with quiet():
        model = keras.Model(given, heads(given, given))
        for part in heads._flatten_layers(include_self=False):
            if type(part).__name__ == "EinsumDense":
                part.quantize("int8")
    (note,) = open_keras(model).notes
    assert "touched heads/query, heads/key, heads/value, heads/attention_output alone" in note
    _says_the_same(model)
    query = next(each for layer in open_keras(model).layers() for each in layer.inner if each.name == "heads/query")
    assert query.kernel is not None
    assert 0 < np.abs(query.kernel).max() < 2  # real numbers, no integers


def _says_the_same(model: Any, given: Array = SEQUENCES) -> None:
    """The lowered graph gives what Keras gives, which stays as it was."""
    reference, batch = open_keras(model), make_batch({"x": given}, "made")
    lowering = reference.lower()
    assert lowering is not None
    real = lowered(real_graph(lowering.main)).real
    values = real.run(real_inputs(lowering, batch), Setting({}, {}, frozenset(real.varying), frozenset(real.varying)))
    theirs = reference.trace(batch).outputs[0].array
    assert np.abs(values[lowering.main.outputs[0]].reshape(theirs.shape) - theirs).max() < 1e-5
    assert np.array_equal(theirs, reference.trace(batch).outputs[0].array)
