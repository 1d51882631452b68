"""Weights packed in 4 or 2 bits, under int8 activations: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, Maker
from weighted_ops import dense, image
from written_models import T

from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime


def packed(values: Array, bits: int = 4) -> bytes:
    """Two or four values a byte, the first in the low bits."""
    flat, each = np.asarray(values, np.uint8).reshape(-1) & (2**bits - 1), 8 // bits
    bytewise = np.append(flat, np.zeros(-flat.size % each, np.uint8)).reshape(-1, each)
    return bytes((bytewise << np.arange(0, 8, bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8))


def narrowed(maker: Maker, bits: int = 4, low: int = -7) -> Maker:
    """The same case with its weights cut to ``low`` … 7, or to -2 … 1."""
    step, low, high = (16, low, 7) if bits == 4 else (50, -2, 1)

    def make(dice: Dice) -> Case:
        case = maker(dice)

        def other(t: T) -> T:
            if t.name == "b" and t.dtype == "int32":
                return replace(t, data=np.clip(np.asarray(t.data), -(2**25), 2**25))
            if t.name != "w":
                return t
            values = np.clip(np.asarray(t.data, np.int64) // step, low, high)
            return replace(t, dtype=f"int{bits}", zero_point=0, data=None, raw=packed(values, bits))

        return replace(case, tensors=[other(t) for t in case.tensors])

    return make


MAKERS: dict[str, Maker] = {
    "CONV_2D int8×4": narrowed(lambda dice: image(dice, False)),
    "DEPTHWISE_CONV_2D int8×4": narrowed(lambda dice: image(dice, True)),
    "FULLY_CONNECTED int8×2, per channel": narrowed(lambda dice: dense(dice, True), 2),
    "FULLY_CONNECTED int8×2, per tensor": narrowed(lambda dice: dense(dice, False), 2),
    "FULLY_CONNECTED int8×4, per channel": narrowed(lambda dice: dense(dice, True)),
    "FULLY_CONNECTED int8×4, per tensor": narrowed(lambda dice: dense(dice, False)),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if runtime is Runtime.TFLM and (op.endswith("per channel") or "×2" in op):
        pytest.skip("this runtime takes one scale alone, and 4 bits at least")
    exact(op, MAKERS[op], runtime)
