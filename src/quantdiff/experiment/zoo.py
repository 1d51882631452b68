"""The digit classifiers of the original experiment, and the three steps that lead to a ``.tflite``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quantdiff.errors import MissingExtra, QuantdiffError, reason_of
from quantdiff.experiment.datasets import Dataset
from quantdiff.experiment.trial import Trial, depth
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import as_written, frameworks, quiet, tfmot
from quantdiff.references.keras.model import save_keras
from quantdiff.references.keras.reference import converter_of
from quantdiff.run.runner import Progress

IMAGE, CLASSES, FILTERS = (28, 28), 10, 12
BATCH, HELD_OUT = 32, 0.1
TUNED_ON, TUNING_BATCH = 1000, 500
CALIBRATED_ON = 1000
EAGER_STEPS = 8  # so few steps cost less than the graph that would run them
STEPS_AT_ONCE = 100  # training steps per call into TensorFlow: the same steps, a third of the time


Calibration = Callable[[], Iterator[list[Array]]]


class TrainingFailed(QuantdiffError):
    """Keras, TFMOT or the converter raised an error; the message names the step."""


def build(trial: Trial) -> Any:
    """The float model, not trained: ``CNN``, or ``denseN`` with N linear layers of 10 units."""
    layers = frameworks().keras.layers
    stack = [layers.InputLayer(input_shape=IMAGE)]
    if trial.model == "CNN":
        stack += [
            layers.Reshape((*IMAGE, 1)),
            layers.Conv2D(FILTERS, 3, activation="relu"),
            layers.MaxPooling2D(2),
        ]
    stack.append(layers.Flatten())
    stack += [layers.Dense(CLASSES, use_bias=trial.bias) for _ in range(max(1, depth(trial.model)))]
    return frameworks().keras.Sequential(stack)


def seed_everything(seed: int) -> None:
    """Make what follows repeatable on this machine: seeds of Python, NumPy and TensorFlow, ops in fixed order."""
    used = frameworks()
    used.keras.backend.clear_session()
    used.keras.utils.set_random_seed(seed)
    used.tf.config.experimental.enable_op_determinism()


def train(trial: Trial, data: Dataset, progress: Progress) -> Any:
    """The trained float model of the zoo; see ``train_float``."""
    return train_float(lambda: build(trial), trial.seed, trial.epochs, data, progress)


def train_float(make: Callable[[], Any], seed: int, epochs: int, data: Dataset, progress: Progress) -> Any:
    """What ``make`` gives, trained: Adam, batch 32, cross-entropy from logits, or from shares behind a softmax."""
    seed_everything(seed)
    model = make()
    _fit(model, data.x_train, data.y_train, BATCH, epochs, ("train float", progress))
    return model


def quantize_aware(model: Any, data: Dataset, progress: Progress) -> Any:
    """A quantization-aware copy by TFMOT, tuned for one epoch on the first 1,000 images at batch 500."""
    quantize_model = tfmot().quantization.keras.quantize_model
    with quiet(), as_written():
        qat = quantize_model(model)
    _fit(qat, data.x_train[:TUNED_ON], data.y_train[:TUNED_ON], TUNING_BATCH, 1, ("tune qat", progress))
    return qat


def one_by_one(images: Array) -> Calibration:
    """The first 1,000 images, each alone, as TensorFlow's guide to quantization after training feeds them."""

    def representative() -> Iterator[list[Array]]:
        for i in range(min(CALIBRATED_ON, len(images))):
            yield [images[i : i + 1]]

    return representative


def convert(
    model: Any,
    calibration: Array | None,
    *,
    feed: Callable[[Array], Calibration] = one_by_one,
    integer_ends: bool = False,
) -> bytes:
    """The model as ``.tflite``: int8 throughout with ``calibration`` images, else by the converter's defaults.

    The defaults make a float model dynamic range (int8 weights alone); a quantization-aware one becomes int8
    inside, from its trained ranges, with float input and output unless ``integer_ends``.

    Raises:
        TrainingFailed: the converter refuses the model.
    """
    lite = frameworks().tf.lite
    converter = converter_of(model)
    converter.optimizations = [lite.Optimize.DEFAULT]
    if calibration is not None:
        converter.representative_dataset = feed(calibration)
        converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    if calibration is not None or integer_ends:
        converter.inference_input_type = converter.inference_output_type = frameworks().tf.int8
    return run_converter(converter)


def run_converter(converter: Any) -> bytes:
    """What the converter makes; raises ``TrainingFailed`` with the first line of its message."""
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:
        raise TrainingFailed(f"the TFLite converter failed: {reason_of(error)}") from error


def _fit(model: Any, x: Array, y: Array, batch: int, epochs: int, stage: tuple[str, Progress]) -> None:
    """Train on all but the last tenth, which the original experiment held out."""
    keras = frameworks().keras
    name, progress = stage
    kept = max(1, int(len(x) * (1 - HELD_OUT)))
    total = -(-kept // batch)

    class Report(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        """Tell how far the training is."""

        def on_train_batch_end(self, step: int, logs: Any = None) -> None:
            del logs
            progress(name, self.epochs_done * total + step + 1, epochs * total)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            del logs
            self.epochs_done = epoch + 1

        epochs_done = 0

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not _ends_in_softmax(model))
    with quiet():
        if epochs * total <= EAGER_STEPS:
            model.compile(optimizer="adam", loss=loss, run_eagerly=True)
        else:
            model.compile(optimizer="adam", loss=loss, steps_per_execution=min(STEPS_AT_ONCE, total))
        model.fit(x[:kept], y[:kept], batch_size=batch, epochs=epochs, verbose=0, callbacks=[Report()])


def _ends_in_softmax(model: Any) -> bool:
    """Whether the model gives shares instead of logits; TFMOT wraps the layer, and its activation."""
    last = getattr(model.layers[-1], "layer", model.layers[-1])
    activation = getattr(last, "activation", None)
    activation = getattr(activation, "activation", activation)
    return type(last).__name__ == "Softmax" or getattr(activation, "__name__", "") == "softmax"


def check_extra() -> None:
    """Refuse at once what a worker would only find out later.

    Raises:
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    for module in ("tensorflow", "tf_keras", "tensorflow_model_optimization"):
        if find_spec(module) is None:
            raise MissingExtra(f"{module} is needed here: pip install 'quantdiff[keras]'")


def prepare() -> None:
    """Import the frameworks now, beside other work."""
    frameworks()


def save_models(folder: Path, models: Mapping[str, Any]) -> None:
    """Keras models by file name. A TFMOT model goes to ``.h5``: plain tf-keras cannot read its ``.keras`` file."""
    for name, model in models.items():
        save_keras(model, folder / name)
