"""REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN: ``tflite/kernels/{reduce,arg_min_max}.cc``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.registry import kernel
from quantdiff.sim.runtime import Runtime

REDUCTIONS: dict[str, Callable[..., Any]] = {"REDUCE_MAX": np.max, "REDUCE_MIN": np.min}
CHOICES: dict[str, Callable[..., Any]] = {"ARG_MAX": np.argmax, "ARG_MIN": np.argmin}


def axes_of(x: Array, axes: Array) -> tuple[int, ...]:
    """The axes to reduce, each once and from the front."""
    return tuple(sorted({int(axis) % x.ndim for axis in np.asarray(axes).reshape(-1)}))


@kernel(*REDUCTIONS, batched=False)
def reduce(node: Node, x: Array, axes: Array, *, runtime: Runtime) -> Array:
    """Return the largest or smallest value over ``axes``, kept as size 1 with keep_dims."""
    del runtime
    if node.x.quant is not None and node.x.quant != node.y.quant:
        raise NoKernel("input and output whose scales differ")
    keep = bool(node.option("keep_dims", False))
    result = REDUCTIONS[node.operator.op](x, axis=axes_of(x, axes), keepdims=keep)
    return np.asarray(result, x.dtype)


@kernel(*CHOICES, batched=False)
def choose(node: Node, x: Array, axis: Array, *, runtime: Runtime) -> Array:
    """Return the index of the first largest or smallest value along ``axis``, that axis removed."""
    del runtime
    index = CHOICES[node.operator.op](x, axis=int(np.asarray(axis).reshape(-1)[0]))
    return np.asarray(index, node.y.dtype)
