"""Trained models of the kinds that people bring, as small as can be: each builder takes the Keras to build it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from layered_models import converted

from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot
from quantdiff.references.keras.reference import converter_of

Data = dict[str, Array]

CONFIG = '''"""A quantizer of the output alone, for layers that TFMOT does not know."""

import tensorflow_model_optimization as tfmot

quantization = tfmot.quantization.keras


class Out(quantization.QuantizeConfig):
    def get_weights_and_quantizers(self, layer):
        return []

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        ranges = quantization.quantizers.MovingAverageQuantizer
        return [ranges(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self):
        return {}
'''


@dataclass(frozen=True)
class Kind:
    """One model as files: the reference, what was made of it by kind of conversion, data."""

    reference: Path
    data: Path
    files: Mapping[str, Path]
    custom: Path | None = None

    @property
    def int8(self) -> Path:
        """The file with int8 inside."""
        return self.files["int8"]


def keras_3() -> Any:
    """Keras 3, beside the Keras 2 that TFMOT wants."""
    frameworks()
    with quiet():
        import keras
    return keras


def activations(keras: Any) -> Any:
    """Activations inside layers: two that a converter does not fuse, one that it does, one more that it does not."""
    layers = keras.layers
    x = given = layers.Input((6, 6, 2), name="image")
    x = layers.Conv2D(4, 3, activation="swish", name="swish")(x)
    x = layers.Conv2D(4, 1, activation="relu", name="relu")(x)
    x = layers.Conv2D(4, 1, activation="sigmoid", name="sigmoid")(x)
    x = layers.Dense(5, activation="gelu", name="gelu")(layers.Flatten(name="flat")(x))
    return keras.Model(given, layers.Dense(3, name="last")(x))


def submodels(keras: Any) -> Any:
    """Two submodels whose layers have the same names."""
    layers = keras.layers

    def inner(name: str) -> Any:
        x = given = layers.Input((8,))
        x = layers.Dense(8, activation="relu", name="dense")(x)
        return keras.Model(given, layers.Dense(8, activation="relu", name="out")(x), name=name)

    given = layers.Input((8,), name="given")
    return keras.Model(given, layers.Dense(3, name="last")(inner("late")(inner("early")(given))))


def pools(keras: Any) -> Any:
    """Layers that Keras numbers: a file of Keras 3 calls each of them by the number after its own."""
    layers = keras.layers
    x = given = layers.Input((8, 8, 2), name="image")
    for number in ("", "_1"):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv2d{number}")(x)
        x = layers.MaxPooling2D(2, name=f"max_pooling2d{number}")(x)
    return keras.Model(given, layers.Dense(3, name="dense")(layers.Flatten(name="flatten")(x)))


def dense_pair(keras: Any) -> Any:
    """Two dense layers."""
    layers = keras.layers
    given = layers.Input((8,), name="given")
    return keras.Model(given, layers.Dense(3, name="last")(layers.Dense(6, activation="relu", name="first")(given)))


def image_net(keras: Any) -> Any:
    """Convolution, norm, ReLU, a sum, a dense layer."""
    layers = keras.layers
    x = given = layers.Input((6, 6, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Add(name="add")([x, layers.Conv2D(4, 1, name="second")(x)])
    return keras.Model(given, layers.Dense(3, name="dense")(layers.Flatten(name="flat")(x)), name="net")


def separable_1d(keras: Any) -> Any:
    """Two kernels in one layer, along a width alone."""
    layers = keras.layers
    x = given = layers.Input((8, 3), name="given")
    x = layers.SeparableConv1D(4, 3, use_bias=False, name="separable")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    return keras.Model(given, layers.Dense(3, name="dense")(layers.Flatten()(x)))


def separable_2d(keras: Any) -> Any:
    """Two kernels in one layer."""
    layers = keras.layers
    x = given = layers.Input((6, 6, 3), name="given")
    x = layers.SeparableConv2D(4, 3, use_bias=False, name="separable")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    return keras.Model(given, layers.Dense(3, name="dense")(layers.Flatten()(x)))


def transposed(keras: Any) -> Any:
    """A transposed convolution and batch norm."""
    layers = keras.layers
    x = given = layers.Input((4, 4, 3), name="given")
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    return keras.Model(given, layers.Conv2D(2, 1, name="last")(x))


def causal(keras: Any) -> Any:
    """As a temporal convolution network: causal, dilated, normed over channels, added."""
    layers = keras.layers
    x = given = layers.Input((8, 4), name="given")
    for i in (1, 2):
        y = layers.Conv1D(4, 3, padding="causal", dilation_rate=i, activation="relu", name=f"conv{i}")(x)
        x = layers.Add(name=f"add{i}")([x, layers.LayerNormalization(name=f"norm{i}")(y)])
    return keras.Model(given, layers.Dense(3, name="dense")(layers.GlobalAveragePooling1D(name="pool")(x)))


def normalized(keras: Any) -> Any:
    """Normalization at the input, adapted to data that are far from 0."""
    layers = keras.layers
    norm = layers.Normalization(name="normalization")
    norm.adapt(np.random.default_rng(6).normal(3, 4, (300, 8)).astype(np.float32))
    given = layers.Input((8,), name="given")
    x = layers.Dense(6, activation="relu", name="first")(norm(given))
    return keras.Model(given, layers.Dense(3, name="last")(x))


def called_twice(keras: Any) -> Any:
    """A submodel and a layer, each used twice."""
    layers = keras.layers
    inside = layers.Input((8,))
    encoder = keras.Model(inside, layers.Dense(6, activation="relu", name="dense")(inside), name="encoder")
    one, other = layers.Input((8,), name="one"), layers.Input((8,), name="other")
    again = layers.Dense(6, activation="relu", name="again")
    both = layers.Subtract(name="apart")([encoder(one), encoder(other)])
    return keras.Model([one, other], layers.Dense(2, name="last")(again(again(both))))


def gru(keras: Any) -> Any:
    """Gates, unrolled by the converter or a loop."""
    return _recurrent(keras, keras.layers.GRU(4, name="gru", unroll=True))


def lstm(keras: Any) -> Any:
    """The same with LSTM."""
    return _recurrent(keras, keras.layers.LSTM(4, name="lstm", unroll=True))


def gru_both_ways(keras: Any) -> Any:
    """The sequence from either end."""
    return _recurrent(keras, keras.layers.Bidirectional(keras.layers.GRU(4, name="gru", unroll=True), name="both"))


def lstm_both_ways(keras: Any) -> Any:
    """The same with LSTM, each of which the converter makes one operator that has its gates one by one."""
    return _recurrent(keras, keras.layers.Bidirectional(keras.layers.LSTM(4, name="lstm"), name="both"), batch=1)


def _recurrent(keras: Any, layer: Any, batch: int | None = None) -> Any:
    given = keras.layers.Input((3, 4), batch, name="given")
    return keras.Model(given, keras.layers.Dense(2, name="dense")(layer(given)))


def attention(keras: Any) -> Any:
    """Attention of a sequence to itself, and a sum."""
    layers = keras.layers
    given = layers.Input((4, 6), name="given")
    x = layers.Add(name="add")([given, layers.MultiHeadAttention(2, 3, name="heads")(given, given)])
    return keras.Model(given, layers.Dense(3, name="dense")(layers.LayerNormalization(name="norm")(x)))


def tokens(keras: Any) -> Any:
    """Numbers of words, of which 0 is none: a mask of the same size keeps it out of a weighted mean."""
    layers, tf = keras.layers, frameworks().tf
    ids = layers.Input((6,), dtype="int32", name="ids")
    words = layers.Embedding(12, 4, name="words")(ids)
    mask = tf.cast(tf.equal(ids, 0), tf.float32) * -9.0
    score = layers.Reshape((6,), name="flat")(layers.Dense(1, name="score")(words))
    weights = layers.Softmax(name="weights")(layers.Add(name="masked")([score, mask]))
    return keras.Model(ids, layers.Dense(3, name="last")(layers.Dot(1, name="mean")([weights, words])))


def filled(model: Any) -> Data:
    """Give norms and biases values of their own; data by the names of its inputs."""
    dice = np.random.default_rng(4)
    for weight in model.weights:
        name = weight.name
        if "bias" in name:
            weight.assign(dice.normal(0, 0.2, weight.shape))
        elif "gamma" in name or "moving_variance" in name:
            weight.assign(dice.uniform(0.5, 1.5, weight.shape))
        elif "beta" in name or "moving_mean" in name:
            weight.assign(dice.normal(0, 0.3, weight.shape))
    return {tensor.name: _values(tensor, dice) for tensor in model.inputs or ()}


def _values(tensor: Any, dice: Any) -> Array:
    shape = (120, *tensor.shape[1:])
    if "int" in str(tensor.dtype):
        values: Array = dice.integers(0, 12, shape).astype(np.int32)
        return values
    normal: Array = dice.normal(0, 1, shape).astype(np.float32)
    return normal


def made(maker: Callable[[Any], Any], folder: Path, *kinds: str, keras: Any = None) -> Kind:
    """A float model, saved, and each of the conversions."""
    keras = keras or frameworks().keras
    keras.utils.set_random_seed(3)
    with quiet():
        model = maker(keras)
        data = filled(model)
        model.save(str(folder / "model.keras"))
        files = {kind: folder / f"{kind}.tflite" for kind in kinds}
        for kind, path in files.items():
            path.write_bytes(converted(model, data, kind))
    np.savez(folder / "data.npz", allow_pickle=False, **data)
    return Kind(folder / "model.keras", folder / "data.npz", files)


def convolutions_annotated(folder: Path) -> Kind:
    """Quantization-aware convolutions between float norms and sums, which become float islands in the file."""
    keras, quantization = frameworks().keras, tfmot().quantization.keras
    keras.utils.set_random_seed(3)
    layers, annotate = keras.layers, quantization.quantize_annotate_layer
    x = given = layers.Input((6, 6, 2), name="image")
    x = annotate(layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv"))(x)
    x = layers.ReLU(6.0, name="relu")(layers.BatchNormalization(name="norm")(x))
    y = annotate(layers.Conv2D(4, 1, use_bias=False, name="second"))(x)
    x = layers.Add(name="add")([x, layers.BatchNormalization(name="norm2")(y)])
    x = annotate(layers.Conv2D(3, 1, name="third"))(x)
    model = keras.Model(given, layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D(name="pool")(x)))
    with quiet():
        return _trained(quantization.quantize_apply(model), folder)


def custom_config(folder: Path) -> Kind:
    """The input's integers on two grids, and a class of the person's own, which the command line has to be told of."""
    keras, quantization = frameworks().keras, tfmot().quantization.keras
    keras.utils.set_random_seed(3)
    scope: dict[str, Any] = {}
    exec(CONFIG, scope)
    layers, annotate = keras.layers, quantization.quantize_annotate_layer
    given = layers.Input((4, 4, 1), name="image")
    up = annotate(layers.UpSampling2D(2, interpolation="bilinear", name="up"), scope["Out"]())(given)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(given)
    x = annotate(layers.UpSampling2D(2, interpolation="bilinear", name="up2"), scope["Out"]())(x)
    x = layers.Conv2D(1, 3, padding="same", name="last")(x)
    model = keras.Model(given, layers.Add(name="sum")([up, x]))
    (folder / "objects.py").write_text(CONFIG)
    with quiet(), quantization.quantize_scope({"Out": scope["Out"]}):
        aware = quantization.quantize_apply(quantization.quantize_annotate_model(model))
        return _trained(aware, folder, custom=folder / "objects.py", low=0.0)


def _trained(model: Any, folder: Path, custom: Path | None = None, low: float = -1.0) -> Kind:
    data = filled(model)
    x = np.random.default_rng(5).uniform(low, 1, next(iter(data.values())).shape).astype(np.float32)
    for _ in range(3):
        model(x, training=True)
    model.save(str(folder / "model.h5"))
    converter = converter_of(model)
    converter.optimizations = [frameworks().tf.lite.Optimize.DEFAULT]
    (folder / "int8.tflite").write_bytes(converter.convert())
    np.savez(folder / "data.npz", allow_pickle=False, x=x)
    return Kind(folder / "model.h5", folder / "data.npz", {"int8": folder / "int8.tflite"}, custom)


def saved(maker: Callable[[Any], Any], folder: Path, keras: Any = None) -> Kind:
    """A SavedModel: as Keras 2 saves it, or as Keras 3 exports it."""
    keras = keras or frameworks().keras
    keras.utils.set_random_seed(3)
    with quiet():
        model = maker(keras)
        data = filled(model)
        if hasattr(keras, "__internal__"):
            model.save(str(folder / "saved"), save_format="tf")
        else:
            model.export(folder / "saved", verbose=False)
        (folder / "int8.tflite").write_bytes(converted(model, data, "int8"))
    np.savez(folder / "data.npz", allow_pickle=False, **data)
    return Kind(folder / "saved", folder / "data.npz", {"int8": folder / "int8.tflite"})


def without_metadata(folder: Path) -> Kind:
    """As other versions of Keras left it: the graph, and not the layers."""
    kind = saved(image_net, folder)
    (kind.reference / "keras_metadata.pb").unlink()
    return kind


def subclassed(folder: Path) -> Kind:
    """A model whose code only its author has."""
    keras, tf = frameworks().keras, frameworks().tf

    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, activation="relu", name="conv")
            self.norm, self.last = keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(3, name="last")

        def call(self, x: Any, training: bool = False) -> Any:
            return self.last(tf.reduce_mean(self.norm(self.conv(x), training=training), (1, 2)))

    keras.utils.set_random_seed(3)
    x = np.random.default_rng(4).normal(0, 1, (120, 6, 6, 2)).astype(np.float32)
    with quiet():
        model = Own()
        model(x)
        filled(model)
        model.save(str(folder / "saved"), save_format="tf")
    return _from_saved(folder, x)


def plain_module(folder: Path) -> Kind:
    """A signature, and no Keras at all."""
    tf, dice = frameworks().tf, np.random.default_rng(4)

    class Plain(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.bias, self.matrix, self.offset = (
                tf.Variable(dice.normal(0, 0.5, shape).astype(np.float32)) for shape in ((3, 3, 2, 4), 4, (4, 3), 3)
            )

        def serve(self, image: Any) -> Any:
            x = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "VALID") + self.bias)
            return {"scores": tf.nn.bias_add(tf.matmul(tf.reduce_mean(x, (1, 2)), self.matrix), self.offset)}

    with quiet():
        module, spec = Plain(), tf.TensorSpec((None, 6, 6, 2), tf.float32, name="image")
        serve = tf.function(module.serve, input_signature=[spec])
        tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": serve})
    return _from_saved(folder, dice.normal(0, 1, (120, 6, 6, 2)).astype(np.float32))


def _from_saved(folder: Path, x: Array) -> Kind:
    lite = frameworks().tf.lite
    with quiet():
        converter = lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        converter.optimizations = [lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[i : i + 1]] for i in range(100))
        converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
        (folder / "int8.tflite").write_bytes(converter.convert())
    np.savez(folder / "data.npz", allow_pickle=False, x=x)
    return Kind(folder / "saved", folder / "data.npz", {"int8": folder / "int8.tflite"})


def another_checkpoint(folder: Path) -> Kind:
    """The same architecture, its weights off by up to a third of their range."""
    kind, keras = made(image_net, folder), frameworks().keras
    dice = np.random.default_rng(7)
    with quiet():
        model = keras.models.load_model(str(kind.reference), compile=False)
        for weight in model.weights:
            if "kernel" in weight.name:
                values = weight.numpy()
                weight.assign(values + dice.uniform(-1, 1, values.shape) * np.ptp(values) / 3)
        (folder / "int8.tflite").write_bytes(converted(model, dict(np.load(kind.data)), "int8"))
    return Kind(kind.reference, kind.data, {"int8": folder / "int8.tflite"})


FLOAT = ("float", "int8")
KINDS: Mapping[str, Callable[[Path], Kind]] = {
    "activations": lambda folder: made(activations, folder, *FLOAT),
    "activations 3": lambda folder: made(activations, folder, "int8", keras=keras_3()),
    "submodels": lambda folder: made(submodels, folder, *FLOAT),
    "dense pair": lambda folder: made(dense_pair, folder, *FLOAT),
    "image": lambda folder: made(image_net, folder, *FLOAT, "float16"),
    "pools 3": lambda folder: made(pools, folder, "int8", keras=keras_3()),
    "separable 1d": lambda folder: made(separable_1d, folder, "int8"),
    "separable 2d": lambda folder: made(separable_2d, folder, "int8"),
    "transposed": lambda folder: made(transposed, folder, "int8"),
    "causal": lambda folder: made(causal, folder, "int8"),
    "normalized": lambda folder: made(normalized, folder, "int8"),
    "called twice": lambda folder: made(called_twice, folder, "int8"),
    "gru": lambda folder: made(gru, folder, "int8"),
    "lstm": lambda folder: made(lstm, folder, "int8"),
    "gru both ways": lambda folder: made(gru_both_ways, folder, "float"),
    "lstm both ways": lambda folder: made(lstm_both_ways, folder, "float"),
    "attention": lambda folder: made(attention, folder, "int8"),
    "tokens": lambda folder: made(tokens, folder, "int8"),
    "convolutions annotated": convolutions_annotated,
    "custom config": custom_config,
    "saved by Keras": lambda folder: saved(image_net, folder),
    "without metadata": without_metadata,
    "exported": lambda folder: saved(image_net, folder, keras_3()),
    "subclassed": subclassed,
    "plain module": plain_module,
    "another checkpoint": another_checkpoint,
}
"""Every kind by name; those of Keras 3 say so."""
