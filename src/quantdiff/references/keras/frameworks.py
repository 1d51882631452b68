"""TensorFlow, Keras and TFMOT, imported late and in silence."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from quantdiff.lazy import require


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
