"""TensorFlow, Keras and TFMOT, imported late and in silence, and their layers that quantize, as a file needs them.

Those of TFMOT, and what Keras 3's ``model.quantize(mode)`` made of a layer, in real numbers.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import reload
from typing import Any

import numpy as np

from quantdiff.errors import BadModel
from quantdiff.lazy import require
from quantdiff.quant import Array

PACKAGE = "tensorflow_model_optimization.python.core.quantization.keras"


def quantize_scope() -> AbstractContextManager[Any]:
    """TFMOT's own scope, with the two mended classes in front."""
    stack = ExitStack()
    stack.enter_context(tfmot().quantization.keras.quantize_scope())
    stack.enter_context(frameworks().keras.utils.custom_object_scope(_mended()))
    return stack


def safe_mode(on: bool) -> AbstractContextManager[Any]:
    """Keras 2 with its safe mode on or off, for every format; its own switch is for ``.keras`` alone."""
    scope: AbstractContextManager[Any] = require("tf_keras.src.saving.serialization_lib", extra="keras").SafeModeScope(
        on
    )
    return scope


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
    """TFMOT's two classes as a ``.keras`` file needs them.

    tf-keras 2.21 writes a ``.keras`` file with them but cannot read it back, for two reasons. ``QuantizeLayer.build``
    does not mark the layer as built, so loading builds it twice and expects each variable twice.
    ``QuantizeWrapperV2.build`` lists the wrapped layer's variables once more in front of its own if that layer was
    built before it, as in ``quantize_model``, but not while a file is loaded, so the stored list is longer by these
    repetitions at its front. The names of the classes must stay: the paths inside the file are made from them.
    """
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


@dataclass(frozen=True, slots=True)
class Frameworks:
    """TensorFlow and Keras 2 (tf-keras), from the extra ``[keras]``."""

    tf: Any
    keras: Any


@cache
def frameworks() -> Frameworks:
    """Import TensorFlow and Keras once; TFMOT 0.8 works with Keras 2 alone, so that is what ``keras`` is.

    Raises:
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Imports make some 1.5 million objects; letting the collector walk them again and again costs a second.
    gc.disable()
    try:
        with quiet():
            loaded = Frameworks(require("tensorflow", extra="keras"), require("tf_keras", extra="keras"))
    finally:
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)  # tracing a model makes as many again, and hardly any garbage
        gc.enable()
    loaded.tf.get_logger().setLevel("ERROR")
    loaded.tf.autograph.set_verbosity(0)
    return loaded


def tfmot() -> Any:
    """TFMOT, which brings quantization-aware training.

    Raises:
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    frameworks()
    with quiet(), _absent("keras"):
        return require("tensorflow_model_optimization", extra="keras")


def load_to_read() -> None:
    """TFMOT in a process that reads models and trains none: without SciPy, with which Keras 2 turns images.

    That saves a tenth of a second.

    Raises:
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    with _absent("scipy"):
        tfmot()


def ready_for_own_code() -> None:
    """What ``load_to_read`` left out, for code of the user, which may turn images, too."""
    image = sys.modules.get("tf_keras.src.preprocessing.image")
    if image is not None and not hasattr(image, "scipy"):
        reload(image)


@contextmanager
def _absent(module: str) -> Iterator[None]:
    """Let an import of ``module`` fail at once while the block runs, unless it is loaded already.

    TFMOT 0.8.1 (sparsity/keras/prune_registry.py) looks for ``keras.engine``, which Keras 3 does not have; finding
    that out would import all of Keras 3, most of a second. None is what the import system documents for this.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if sys.modules.get(module) is None:
            del sys.modules[module]


_lock = threading.Lock()
_silence = ExitStack()
_inside = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Send what native code and Python warnings say on standard error nowhere while the block runs.

    The descriptor belongs to the whole process, so blocks on several threads share one silence: the first to
    begin makes it, the last to end takes it back.
    """
    global _inside  # noqa: PLW0603 (a count of the process, like the descriptor)
    with _lock:
        if _inside == 0:
            _silence.enter_context(_silenced())
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _silence.close()


@contextmanager
def _silenced() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


ROUNDS_INPUTS = ("int8", "int4")
"""Modes in which a layer may have a quantizer for its inputs."""


def mode_of(layer: Any) -> str:
    """How a layer was quantized; "" where it was not."""
    return str(getattr(layer, "quantization_mode", None) or "")


def real_kernel(layer: Any) -> Array | None:
    """The kernel that a quantized layer multiplies by, in its own axes: (depth, units) of Dense.

    None of layers that are neither Dense nor, in int8, EinsumDense.
    """
    kind = type(layer).__name__
    if kind == "EinsumDense" and mode_of(layer) == "int8":
        scale = layer._adjust_scale_for_dequant(layer.kernel_scale)
        return np.asarray(np.asarray(layer.kernel, np.float32) / np.asarray(scale, np.float32), np.float32)
    if not mode_of(layer) or kind != "Dense":
        return None
    stored, scale = (np.asarray(part, np.float32) for part in (layer.kernel, getattr(layer, "kernel_scale", 1.0)))
    if not getattr(layer, f"is_{mode_of(layer)}_calibrated", True):  # gptq and awq: in name alone
        return stored
    if not hasattr(layer, "kernel_zero"):  # one scale for each unit, by which Keras divides
        return np.asarray(stored / scale, np.float32)
    zero, group = np.asarray(layer.kernel_zero, np.float32), np.asarray(layer.g_idx).astype(np.int64)
    if hasattr(layer, "quantized_kernel"):  # gptq and awq: (units, depth)
        real = ((stored - zero[:, group]) * scale[:, group]).T
        return np.asarray(real / np.asarray(getattr(layer, "awq_scales", np.ones(1)))[:, None], np.float32)
    return np.asarray((stored - zero[group]) * scale[group], np.float32)


def rounds_inputs(layer: Any) -> bool:
    """Whether a layer rounds what it reads, each sample on a scale of its own."""
    return mode_of(layer) in ROUNDS_INPUTS and getattr(layer, "inputs_quantizer", None) is not None


def with_parts(layers: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The layers and, by paths of their own, what stands inside of them: the products of MultiHeadAttention."""
    for path, layer in layers:
        yield path, layer
        inside = layer._flatten_layers(include_self=False) if hasattr(layer, "_flatten_layers") else ()
        yield from ((f"{path}/{part.name}", part) for part in inside)


def notes_of(layers: tuple[tuple[str, Any], ...], name: str) -> tuple[str, ...]:
    """Which layers Keras quantized, for whoever thinks that it was the whole model."""
    layers = tuple(with_parts(layers))
    modes = {path: mode_of(layer) for path, layer in layers if mode_of(layer)}
    if not modes:
        return ()
    rounded = [path for path, layer in layers if rounds_inputs(layer)]
    also = "; their inputs are rounded, each sample on a scale of its own" if rounded else ""
    which = ", ".join(modes)
    return (
        f"{name}: Keras' quantize({next(iter(modes.values()))!r}) touched {which} alone; "
        f"all other layers are float{also}",
    )


@contextmanager
def spelled_out(layers: tuple[Any, ...]) -> Iterator[None]:
    """Quantized layers computed with floats while the block traces them, which TFLite's operators can say.

    The same function: rounding the inputs gives the same integers, and a product of the real kernel the same sums but
    for float32.
    """
    own = [layer for layer in layers if real_kernel(layer) is not None]
    try:
        for layer in own:
            object.__setattr__(layer, "quantized_call", _call(layer, real_kernel(layer)))
        yield
    finally:
        for layer in own:
            object.__delattr__(layer, "quantized_call")


def _call(layer: Any, kernel: Array | None) -> Any:
    def call(inputs: Any, training: bool | None = None) -> Any:
        import keras  # noqa: PLC0415 (the model is of Keras 3, so it is there)

        del training
        if rounds_inputs(layer):
            codes, scale = layer.inputs_quantizer(inputs, axis=getattr(layer, "quantization_axis", -1))
            inputs = keras.ops.cast(codes, "float32") / scale
        product = getattr(layer, "equation", None)
        y = keras.ops.matmul(inputs, kernel) if product is None else keras.ops.einsum(product, inputs, kernel)
        y = y if layer.bias is None else y + layer.bias
        return y if layer.activation is None else layer.activation(y)

    return call
