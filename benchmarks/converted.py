"""A Keras model as two files, float and int8, and how long a call takes: what benchmarks of pairs share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write_pair(model: Any, folder: Path, samples: np.ndarray) -> None:
    """``float.tflite`` and, calibrated on the samples, ``int8.tflite``. Shape: (samples, *shape of the input)."""
    from quantdiff.references.keras.frameworks import frameworks, quiet
    from quantdiff.references.keras.reference import converter_of

    tf = frameworks().tf
    with quiet():
        for name in ("float", "int8"):
            converter = converter_of(model)
            if name == "int8":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: ([x[None]] for x in samples)
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                converter.inference_input_type = converter.inference_output_type = tf.int8
            (folder / f"{name}.tflite").write_bytes(converter.convert())


def seconds(work: Callable[[], object]) -> float:
    """One call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
