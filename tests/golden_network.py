"""A convolution, a depthwise one, a reshape and a dense layer, recorded once per runtime and session."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import small_models as models
from written_models import Op, T, write_tflite

from quantdiff.load.data import make_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.vectors import GoldenVectors, record

CHANNELS, FLAT, UNITS = 9, 54, 12
"""Nine channels: ``builtin`` rounds the last depthwise one otherwise than the first eight. The dense layer
scales by a quarter, so that every fourth sum is a tie, on which the runtimes' rules part."""


def network() -> bytes:
    """Strides, SAME padding, zero points off 0, per-channel scales, fused activations."""
    rng = np.random.default_rng(5)
    scales = rng.uniform(0.002, 0.01, CHANNELS).astype(np.float32)

    def bias(name: str, scale: float) -> T:
        return T(name, (CHANNELS,), "int32", scale * scales, data=rng.integers(-400, 400, CHANNELS))

    def weights(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return rng.integers(-127, 128, shape)

    tensors = [
        T("x", (1, 5, 4, 2), scale=0.05, zero_point=-7),
        T("conv_w", (CHANNELS, 3, 2, 2), scale=scales, data=weights(CHANNELS, 3, 2, 2)),
        bias("conv_b", 0.05),
        T("conv", (1, 5, 4, CHANNELS), scale=0.04, zero_point=11),
        T("depth_w", (1, 3, 3, CHANNELS), scale=scales, axis=3, data=weights(1, 3, 3, CHANNELS)),
        bias("depth_b", 0.04),
        T("depth", (1, 3, 2, CHANNELS), scale=2.0**-5, zero_point=-3),
        T("shape", (2,), "int32", data=[1, FLAT]),
        T("flat", (1, FLAT), scale=2.0**-5, zero_point=-3),
        T("dense_w", (UNITS, FLAT), scale=0.5, data=rng.integers(-1, 2, (UNITS, FLAT))),
        T("dense_b", (UNITS,), "int32", 2.0**-6, data=rng.integers(-50, 50, UNITS)),
        T("y", (1, UNITS), scale=2.0**-4, zero_point=4),
    ]
    one, two = {"strideH": 1, "strideW": 1}, {"strideH": 2, "strideW": 2, "depthMultiplier": 1}
    operators = [
        Op("CONV_2D", ["x", "conv_w", "conv_b"], ["conv"], {**one, "fusedActivationFunction": 3}, version=3),
        Op("DEPTHWISE_CONV_2D", ["conv", "depth_w", "depth_b"], ["depth"], two, version=3),
        Op("RESHAPE", ["depth", "shape"], ["flat"]),
        Op("FULLY_CONNECTED", ["flat", "dense_w", "dense_b"], ["y"], models.NONE, version=4),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


@cache
def recorded(runtime: str) -> GoldenVectors:
    """Two of three samples on the real runtime."""
    x = np.random.default_rng(2).normal(0, 3, (3, 5, 4, 2)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model = load_tflite(models.save(Path(folder), network(), "network.tflite"))
        return record(model, make_batch({"x": x}, "memory"), runtime, 2)
