"""A copy of a QAT model with its biases on the int32 grid of the ``.tflite``: nothing is left to round there."""

from __future__ import annotations

from quantdiff.align.alignment import Alignment
from quantdiff.graph import Model
from quantdiff.ladder.exchange.biases import exchange_biases
from quantdiff.parameters.quantizers import Observed
from quantdiff.parameters.sides import ModelPair
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import KerasModel, describe, named_layers
from quantdiff.references.keras.tfmot import quantize_scope


def snap_biases(qat: KerasModel, converted: Model, alignment: Alignment) -> KerasModel:
    """A copy of ``qat`` whose biases are multiples of input scale × weight scale, as ``converted`` stores them.

    Of a layer with a batch norm folded into it, ``beta`` moves so that the folded bias lies on the grid. A bias that
    has no place of its own in the file stays as it is.
    """
    with quiet(), quantize_scope():
        model = frameworks().keras.models.clone_model(qat.model)
    model.set_weights(qat.model.get_weights())
    sides = ModelPair(read_layers(qat), converted.main, alignment, Observed())
    for change in exchange_biases(sides, dict(named_layers(model))).changes:
        change.make()
    return describe(model, qat.name)
