"""The work-around that people try: weights of the QAT model in the original architecture."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantdiff.experiment.zoo import TrainingFailed
from quantdiff.references.keras.frameworks import frameworks


def with_copied_weights(base: Any, qat: Any) -> Any:
    """A model built as ``base``, with the float weights that quantization-aware training left; no ranges.

    Raises:
        TrainingFailed: TFMOT exchanged a layer, so that its weights have no place.
    """
    copy = frameworks().keras.models.clone_model(base)
    trained = {layer.name: layer for layer in qat.layers}
    for layer in copy.layers:
        wrapped = trained.get(f"quant_{layer.name}", trained.get(layer.name))
        own = {_last(weight): weight for weight in getattr(wrapped, "weights", ())}
        names = [_last(weight) for weight in layer.weights]
        if not own.keys() >= set(names):
            raise TrainingFailed(f"copied-ptq: the QAT model has no weights {', '.join(names)} for layer {layer.name}")
        layer.set_weights([np.asarray(own[name]) for name in names])
    return copy


def _last(weight: Any) -> str:
    return str(weight.name).rpartition("/")[2].partition(":")[0]
