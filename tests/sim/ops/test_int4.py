"""Weights packed in 4 bits, under int8, int16 and float activations: every runtime bit for bit."""

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


def packed(values: Array) -> bytes:
    """Two values a byte, the first in the low bits."""
    flat = np.asarray(values, np.uint8).reshape(-1) & 15
    both = np.append(flat, np.zeros(flat.size % 2, np.uint8)).reshape(-1, 2)
    return bytes((both[:, 0] | both[:, 1] << 4).astype(np.uint8))


def narrowed(maker: Maker) -> Maker:
    """The same case with its weights cut to -7 … 7, their scale larger in turn."""

    def make(dice: Dice) -> Case:
        case = maker(dice)

        def other(t: T) -> T:
            if t.name == "b":
                return replace(t, data=np.clip(np.asarray(t.data), -(2**25), 2**25))
            if t.name != "w":
                return t
            values = np.clip(np.asarray(t.data, np.int64) // 16, -7, 7)
            return replace(t, dtype="int4", zero_point=0, data=None, raw=packed(values))

        return replace(case, tensors=[other(t) for t in case.tensors])

    return make


MAKERS: dict[str, Maker] = {
    "CONV_2D int8×4": narrowed(lambda dice: image(dice, False)),
    "DEPTHWISE_CONV_2D int8×4": narrowed(lambda dice: image(dice, True)),
    "FULLY_CONNECTED int8×4, per channel": narrowed(lambda dice: dense(dice, True)),
    "FULLY_CONNECTED int8×4, per tensor": narrowed(lambda dice: dense(dice, False)),
}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("op", MAKERS)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    if runtime is Runtime.TFLM and op.endswith("per channel"):
        pytest.skip("this runtime takes one scale alone")
    exact(op, MAKERS[op], runtime)
