"""ARG_MAX, ARG_MIN: LiteRT ``tflite/kernels/arg_min_max.cc``, ``internal/reference/arg_min_max.h``.

tflm: ``tensorflow/lite/micro/kernels/arg_min_max.cc``. Of equal values the first counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, kernel
from quantdiff.sim.runtime import Runtime

CHOICES: dict[str, Callable[..., Any]] = {"ARG_MAX": np.argmax, "ARG_MIN": np.argmin}


@kernel(*CHOICES, batched=False)
def choose(node: Node, x: Array, axis: Array, *, runtime: Runtime) -> Array:
    """Return the index of the first largest or smallest value along ``axis``, that axis removed."""
    del runtime
    index = CHOICES[node.operator.op](x, axis=int(np.asarray(axis).reshape(-1)[0]))
    return np.asarray(index, node.y.dtype)
