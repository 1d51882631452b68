"""Attention that stands as one word, which XNNPACK computes by a graph of its own, not by the file's decomposition.

Source: LiteRT ``tflite/delegates/xnnpack/xnnpack_delegate.cc`` (``VisitDotAttentionNode``), ``flexbuffers_util.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from flatbuffers import flexbuffers

from quantdiff.quant import Array
from quantdiff.sim.floats import neon, xnnpack
from quantdiff.sim.floats.elementwise import flushed
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.ops.fully_connected import matmul_of_floats
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.xnnpack.checks import is_float

NAME, RANK, HEADS = "odml.scaled_dot_product_attention", 4, 2
"""What exporters call it, and the axis of the heads in (batch, time, heads, depth)."""


def is_attention(node: Node) -> bool:
    """What the delegate takes."""
    if node.option("name", "") != NAME or not all(map(is_float, (*node.inputs, *node.outputs))):
        return False
    query, key, value = (node.at(position).shape for position in range(3))
    if not query[-1:] == key[-1:] == value[-1:]:
        return False
    mask = node.inputs[3].shape if len(node.inputs) > 3 and node.inputs[3] is not None else None  # noqa: PLR2004
    return mask is None or key[1] == value[1] == mask[-1]


def attention(node: Node, inputs: Sequence[Array], runtime: Runtime) -> Array:
    """Compute ``softmax(cap * tanh(q * scale @ k.T / cap) + mask) @ v``, each head apart.

    Shapes: q (b, t, heads, depth), k and v (b, s, groups, depth), mask (…, t, s) -> (b, t, heads, depth).
    """
    query, key, value, *mask = inputs
    if not query.ndim == key.ndim == value.ndim == RANK or query.shape[HEADS] % key.shape[HEADS]:
        raise NoKernel("heads that do not fit each other")
    given, cap = (_attribute(node, name) for name in ("scale", "logit_cap"))
    scale = np.asarray(1 / np.sqrt(query.shape[-1]) if given is None else given, np.float32)
    each = query.shape[HEADS] // key.shape[HEADS]
    heads, keys, values = (a.swapaxes(1, 2) for a in (flushed(flushed(query) * flushed(scale)), key, value))
    keys, values = (np.repeat(a, each, axis=1) for a in (keys, values))
    logits = _product(heads, keys.swapaxes(-1, -2), key.shape[HEADS] == 1, runtime)
    if cap is not None:
        logits = flushed(xnnpack.tanh(flushed(logits / cap), runtime) * cap)
    for each_mask in mask:
        logits = flushed(flushed(each_mask) + logits)
    weights = neon.softmax(logits) if runtime.on_arm64 else xnnpack.softmax(logits)
    return _product(weights, values, key.shape[HEADS] == 1, runtime).swapaxes(1, 2)


def _product(left: Array, right: Array, shared: bool, runtime: Runtime) -> Array:
    """One for each head, or where keys are ``shared`` a dense layer of all heads. Shapes: (b, heads, …) twice."""
    if not shared:
        return matmul_of_floats(left, right, runtime)
    rows = left.reshape(len(left), 1, -1, left.shape[-1])
    return matmul_of_floats(rows, right[:, :1], runtime, units=0).reshape(*left.shape[:-1], right.shape[-1])


def _attribute(node: Node, name: str) -> Array | None:
    """A number of the word's attributes, None where there is none; the delegate reads its first four bytes."""
    stored = bytes(node.option("composite_attributes", b""))
    try:
        root = flexbuffers.GetRoot(stored).AsMap if stored else None
        found = next((root[name] for key in root.Keys if key.AsKey == name), None) if root is not None else None
        number = found.AsFloat if found is not None and found.IsFloat else None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise NoKernel("attributes that cannot be read") from error
    if number is not None and float(np.float32(number)) != number:
        raise NoKernel(f"{name} {number}, of which the delegate reads half the bytes")
    return None if number is None else np.asarray(number, np.float32)
