"""TFMOT's layers as a ``.keras`` file needs them: tf-keras 2.21 writes such a file but cannot read it back.

Two things go wrong there. ``QuantizeLayer.build`` does not mark the layer as built, so loading builds it twice
and expects each variable twice. ``QuantizeWrapperV2.build`` lists the wrapped layer's variables once more in front
of its own if that layer was built before it, as in ``quantize_model``, but not while a file is loaded, so the stored
list is longer by these repetitions at its front. The same classes with both mended follow; their names must stay,
the paths inside the file are made from them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.load.frameworks import frameworks, require, tfmot

PACKAGE = "tensorflow_model_optimization.python.core.quantization.keras"


def quantize_scope() -> AbstractContextManager[Any]:
    """TFMOT's own scope, with the two mended classes in front."""
    stack = ExitStack()
    stack.enter_context(tfmot().quantization.keras.quantize_scope())
    stack.enter_context(frameworks().keras.utils.custom_object_scope(_mended()))
    return stack


def _mended() -> dict[str, type]:
    layer = require(f"{PACKAGE}.quantize_layer", extra="keras").QuantizeLayer
    wrapper = require(f"{PACKAGE}.quantize_wrapper", extra="keras").QuantizeWrapperV2

    class QuantizeLayer(layer):  # type: ignore[misc, valid-type]
        """TFMOT's layer, built at most once."""

        def build(self, input_shape: Any) -> None:
            if not hasattr(self, "optimizer_step"):
                super().build(input_shape)

    class QuantizeWrapperV2(wrapper):  # type: ignore[misc, valid-type]
        """TFMOT's wrapper, which skips the repeated variables at the front of the stored list."""

        def load_own_variables(self, store: Any) -> None:
            own = self._trainable_weights + self._non_trainable_weights
            repeated = len(store.keys()) - len(own)
            if repeated < 0:
                raise BadModel(f"layer {self.name}: {len(own)} variables wanted, {len(store.keys())} stored")
            for i, variable in enumerate(own):
                stored = store[str(i + repeated)]
                if stored.shape != variable.shape:
                    raise BadModel(f"layer {self.name}: {variable.name} is stored as {stored.shape}")
                variable.assign(stored)

    return {"QuantizeLayer": QuantizeLayer, "QuantizeWrapperV2": QuantizeWrapperV2}
