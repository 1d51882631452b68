"""The trained model: ranges that never settled, and training that the file shows nothing of."""

from __future__ import annotations

import math
from collections.abc import Iterator

from quantdiff.linting.lint import Found, LearnedRange, Severity, Trained, check, counted
from quantdiff.linting.wiring import Location

START, NEAR = 6.0, 0.6
"""TFMOT's LastValueQuantizer and MovingAverageQuantizer begin at -6 to 6."""
DECAY, TOLERATED = 0.999, 0.05


@check("QAT01", Severity.ERROR, Trained)
def range_untouched(trained: Trained) -> Iterator[Found]:
    """A range of the quantization-aware model is exactly as it was created.

    It was never updated: the model was saved before training, the layer was frozen, or it ran with training=False.
    The file was made with a scale that has nothing to do with the data. Train (a few hundred steps at least) and
    convert again.
    """
    for learned in trained.ranges():
        if (learned.low, learned.high) == (-START, START):
            yield Found(learned.place, "-6 and 6, the values at the start")


@check("QAT02", Severity.WARNING, Trained)
def range_unsettled(trained: Trained) -> Iterator[Found]:
    """A range of the quantization-aware model is still close to its start of -6 to 6.

    TFMOT's moving averages go a thousandth of the way with each step: after 1,000 steps 37 % of the start is left,
    after 5,000 less than 1 %. The scale in the file is that of the start, not of the data. Train for more steps
    (smaller batches count), or begin with ranges from calibration.
    """
    for learned in trained.ranges():
        if not learned.of_weights and not learned.behind_relu and _is_near_start(learned):
            yield Found(learned.place, f"{learned.low:.4g} to {learned.high:.4g}")


def _is_near_start(learned: LearnedRange) -> bool:
    low, high = abs(learned.low + START), abs(learned.high - START)
    return max(low, high) <= NEAR and (low, high) != (0, 0)


@check("QAT03", Severity.WARNING, Trained)
def relu_range_negative(trained: Trained) -> Iterator[Found]:
    """The learned range of a ReLU's output reaches below 0.

    A ReLU gives nothing negative: these codes are lost. The moving average started at -6 and is not done; it halves
    every 693 steps. Every other range of the model is as young. Train for some 5,000 steps in all (smaller batches
    count), or begin with ranges from calibration.
    """
    for learned in trained.ranges():
        lost = -learned.low / (learned.high - learned.low) if learned.high > learned.low else 0.0
        if learned.behind_relu and lost > TOLERATED and learned.low > -START:
            steps = math.log(-learned.low / START) / math.log(DECAY)
            evidence = f"{learned.low:.4g} to {learned.high:.4g}: {lost:.1%} of the codes; as after {steps:.0f} steps"
            yield Found(learned.place, evidence)


@check("QAT04", Severity.ERROR, Trained)
def annotated_only(trained: Trained) -> Iterator[Found]:
    """The reference is annotated for quantization, but quantize_apply was never called.

    QuantizeAnnotate only marks layers. Without `tfmot.quantization.keras.quantize_apply(model)` the model trained in
    float, and the file was quantized after training like any other. Apply, then train.
    """
    marked = [number for number, layer in enumerate(trained.layers) if layer.kind == "QuantizeAnnotate"]
    if marked and trained.kind != "qat":
        yield Found(trained.place(marked[0]), f"{counted(len(marked), 'annotated layer')}, none quantized")


@check("DATA01", Severity.INFO, Trained)
def data_inside(trained: Trained) -> Iterator[Found]:
    """The reference's file carries samples of data.

    `torch.export.save` stores the example that a program was exported with, and the whole storage behind it: of a
    slice `x[:1]` of the training data that is all of them. Whoever gets the file gets the data. Export with
    `x[:1].clone()`.
    """
    if trained.stored_samples:
        yield Found(Location("reference"), f"some {trained.stored_samples} samples")


@check("QAT06", Severity.WARNING, Trained)
def integer_weights_lost(trained: Trained) -> Iterator[Found]:
    """Layers of the reference hold their weights as integers, but the file holds floats.

    Keras 3's `quantize("int8")`, `"int4"` and `"gptq"` touch Dense and the like alone, and its exports write them as
    float32: the file is as large as before. Convert the float model with a quantizer of LiteRT instead.
    """
    quantized = [number for number, layer in enumerate(trained.layers) if layer.options.get("quantization_mode")]
    if quantized and not trained.file_has_integer_weights:
        first = trained.layers[quantized[0]].options["quantization_mode"]
        yield Found(
            trained.place(quantized[0]), f"{counted(len(quantized), 'layer')} in {first}, no integers in the file"
        )


@check("QAT05", Severity.WARNING, Trained)
def qat_lost(trained: Trained) -> Iterator[Found]:
    """The reference is quantization-aware, but the file computes in float.

    The learned ranges are not in the file. Set `converter.optimizations = [tf.lite.Optimize.DEFAULT]`, and convert the
    quantization-aware model itself, not the float model that it was made from.
    """
    if trained.kind == "qat" and not trained.file_is_quantized:
        yield Found(Location(str(trained.model.path or "model")), "no quantized activation in the file")
