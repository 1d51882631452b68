"""Weights of two pairs' operators: do they agree, and where did a bias go?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from quantdiff.align.weights import SAME_WEIGHTS, real_values, relative_error, tflite_layout
from quantdiff.flow import FlowValue
from quantdiff.layer import Layer
from quantdiff.quant import Array

NONE = 1e-3  # of the larger bias: as good as no bias


def kernels_agree(reference: Sequence[FlowValue], candidate: Sequence[FlowValue]) -> bool | None:
    """Whether the one kernel on each side is the same, batch norm folded in or not; None without one on each."""
    ours, theirs = ([p for p in side if p.is_weighted] for side in (reference, candidate))
    if len(ours) != 1 or len(theirs) != 1:
        return None
    kernels = [_kernels(ours[0], reference), _kernels(theirs[0], candidate)]
    return any(same_kernel(a, b) for a in kernels[0] for b in kernels[1])


def same_kernel(a: Array, b: Array) -> bool:
    """The same numbers but for rounding, axes of size 1 aside."""
    shapes = ([n for n in each.shape if n != 1] for each in (a, b))
    return len({tuple(shape) for shape in shapes}) == 1 and relative_error(b.ravel(), a.ravel()) < SAME_WEIGHTS


def own_kernel(place: FlowValue) -> Array | None:
    """The kernel in real units, in TFLite's order of axes."""
    if place.kernel is not None and place.kernel.data is not None and place.kernel.data.shape == place.kernel.shape:
        return real_values(place.kernel)
    if place.layer is not None and place.layer.kernel is not None:
        return tflite_layout(place.layer, place.layer.kernel).astype(np.float64)
    return None


def _kernels(place: FlowValue, segment: Sequence[FlowValue]) -> list[Array]:
    """The kernel as it is, and with the batch norms of the segment folded in."""
    kernel = own_kernel(place)
    if kernel is None:
        return []
    factors = [each.layer.norm.factor for each in segment if each.layer is not None and each.layer.norm is not None]
    if not factors or place.layer is None:
        return [kernel]
    shape = (-1,) if place.layer.kind == "DepthwiseConv2D" else (-1, *[1] * (kernel.ndim - 1))
    return [kernel, kernel * np.prod(factors, axis=0).reshape(shape)]


def bias_moved(reference: Sequence[FlowValue], candidate: FlowValue) -> bool:
    """Whether the reference's layer adds a bias that the candidate's operator does not: a later one adds it."""
    biases = [_bias(place, reference) for place in reference if place.is_weighted]
    if candidate.kernel is None or len(biases) != 1 or biases[0] is None:
        return False
    own = np.zeros(1) if candidate.bias is None or candidate.bias.data is None else real_values(candidate.bias)
    largest = float(np.abs(biases[0]).max())
    return largest > 0 and float(np.abs(own).max()) < NONE * largest


def _bias(place: FlowValue, segment: Sequence[FlowValue]) -> Array | None:
    """The bias in real units, the batch norms of the segment in it; None where there is none to be read."""
    if place.bias is not None:
        return real_values(place.bias) if place.bias.data is not None else None
    if place.layer is None:
        return None
    return _with_norms(place.layer, (each.layer for each in segment if each.layer is not None))


def _with_norms(layer: Layer, segment: Iterable[Layer]) -> Array | None:
    """The bias with batch norm in it, ``(bias - mean) * factor + beta``."""
    bias = None if layer.bias is None else layer.bias.astype(np.float64)
    for norm in (each.norm for each in segment if each.norm is not None):
        bias = ((0.0 if bias is None else bias) - norm.mean) * norm.factor + norm.beta
    return bias
