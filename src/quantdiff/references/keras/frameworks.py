"""TensorFlow, Keras and TFMOT, imported late and in silence; TFMOT's layers as a file needs them."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.lazy import require

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
        with quiet(), _absent("scipy"):
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


@contextmanager
def _absent(module: str) -> Iterator[None]:
    """Let an import of ``module`` fail at once while the block runs, unless it is loaded already.

    TFMOT 0.8.1 (sparsity/keras/prune_registry.py) looks for ``keras.engine``, which Keras 3 does not have; finding
    that out would import all of Keras 3, most of a second. Keras 2 does without SciPy, which turns images for training
    alone and takes a tenth of a second. None is what the import system documents for this.
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
