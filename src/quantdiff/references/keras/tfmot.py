"""TFMOT's layers: as a ``.keras`` file needs them, and as they are built fast.

tf-keras 2.21 writes a ``.keras`` file with these layers but cannot read it back, for two reasons.
``QuantizeLayer.build`` does not mark the layer as built, so loading builds it twice and expects each variable twice.
``QuantizeWrapperV2.build`` lists the wrapped layer's variables once more in front of its own if that layer was built
before it, as in ``quantize_model``, but not while a file is loaded, so the stored list is longer by these repetitions
at its front. The same classes with both mended follow; their names must stay, the paths inside the file are made
from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.lazy import require
from quantdiff.references.keras.frameworks import frameworks, tfmot

PACKAGE = "tensorflow_model_optimization.python.core.quantization.keras"


def quantize_scope() -> AbstractContextManager[Any]:
    """TFMOT's own scope, with the two mended classes in front."""
    stack = ExitStack()
    stack.enter_context(tfmot().quantization.keras.quantize_scope())
    stack.enter_context(frameworks().keras.utils.custom_object_scope(_mended()))
    return stack


@contextmanager
def as_written() -> Iterator[None]:
    """Trace TFMOT's layers as plain Python while the block runs.

    AutoGraph would rewrite the source of every one of them, half of the time that ``quantize_model`` takes. TFMOT's
    own quantizers have no ``if`` or ``while`` on a tensor, so there is nothing to rewrite; a person's might.
    """
    classes = _layer(), _wrapper()
    calls = [each.call for each in classes]
    try:
        for each, call in zip(classes, calls, strict=True):
            each.call = frameworks().tf.autograph.experimental.do_not_convert(call)
        yield
    finally:
        for each, call in zip(classes, calls, strict=True):
            each.call = call


def _layer() -> Any:
    return require(f"{PACKAGE}.quantize_layer", extra="keras").QuantizeLayer


def _wrapper() -> Any:
    return require(f"{PACKAGE}.quantize_wrapper", extra="keras").QuantizeWrapperV2


def _mended() -> dict[str, type]:
    layer, wrapper = _layer(), _wrapper()

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
