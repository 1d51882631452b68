"""Operators that a runtime does not have: TensorFlow Lite Micro, XNNPACK."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import numpy as np

from quantdiff.errors import QuantdiffError
from quantdiff.linting.registry import Found, Severity, check
from quantdiff.linting.weighted import weighted
from quantdiff.linting.wiring import Wiring, is_integer_value
from quantdiff.ops import COMPILED
from quantdiff.sim.node import Node, NoKernel
from quantdiff.sim.xnnpack.checks import all_float
from quantdiff.sim.xnnpack.delegate import RULES, taken


@check("TFLM01", Severity.INFO, Wiring)
def tflm_lacks(wiring: Wiring) -> Iterator[Found]:
    """TensorFlow Lite Micro has no such operator.

    The model will not start on a microcontroller; elsewhere this does not matter. Use an op that TFLM has, or register
    a kernel of your own. The list is that of the Python package (`python_ops_resolver.cc`); newer ones may have more.
    """
    version, ops = tflm_ops()
    for node in wiring.nodes:
        if node.operator.op not in ops and not _compiled(node):
            yield Found(wiring.operator(node), f"not among the {len(ops)} ops of {version}")


@cache
def tflm_ops() -> tuple[str, frozenset[str]]:
    """Package and version, and the names of its ops; ``scripts/write_tflm_ops.py`` writes the file."""
    text = files("quantdiff.linting").joinpath("tflm_ops.txt").read_text(encoding="utf-8")
    version, *ops = text.splitlines()
    return version, frozenset(ops)


TYPES = {("float32", "float32"), ("int8", "int8"), ("int8", "int4"), ("int16", "int8")}
"""Input and weights that TFLM takes (``micro/kernels/{conv,depthwise_conv,fully_connected,transpose_conv}.cc``)."""


@check("TFLM02", Severity.INFO, Wiring)
def tflm_types(wiring: Wiring) -> Iterator[Found]:
    """TensorFlow Lite Micro has this operator, but not for these types.

    It computes int8, int16 with int8 weights, or float throughout: not the old uint8 scheme, and no float input with
    int8 weights (dynamic range). For a microcontroller convert to full int8; elsewhere this does not matter.
    """
    for layer in weighted(wiring):
        if layer.x is not None and (layer.x.dtype, layer.weights.dtype) not in TYPES:
            yield Found(layer.place, f"{layer.x.dtype} input with {layer.weights.dtype} weights")


WITHOUT_16_BITS = (
    *("ARG_MAX", "ARG_MIN", "ATAN2", "CEIL", "COS", "CUMSUM", "DEPTH_TO_SPACE", "ELU", "FLOOR", "HARD_SWISH"),
    *("L2_NORMALIZATION", "L2_POOL_2D", "LOCAL_RESPONSE_NORMALIZATION", "LOG_SOFTMAX", "POW", "RELU_0_TO_1"),
    *("RELU_N1_TO_1", "ROUND", "SIGN", "SIN", "SPACE_TO_DEPTH", "SQUARE"),
)
"""Refused in int16 by all runtimes that this package knows, each with a message about the type."""


@check("KERNEL01", Severity.ERROR, Wiring)
def no_16_bits(wiring: Wiring) -> Iterator[Found]:
    """An operator on 16 bits for which no runtime has a kernel.

    LiteRT and TensorFlow Lite Micro refuse the file, when it is loaded or when it first runs. Converters write such
    files where their specification promises more than the kernels hold. Leave this operator in float or int8, or
    replace it.
    """
    for node in wiring.nodes:
        if _has_no_kernel(node):
            yield Found(wiring.operator(node), "int16")


@check("KERNEL02", Severity.WARNING, Wiring)
def compiled_for_a_chip(wiring: Wiring) -> Iterator[Found]:
    """A part of the network is code for a chip, which only that chip runs.

    A vendor's compiler has put its code in place of operators. Nobody can look into it here, and no runtime of a CPU
    starts the file. Keep the file that the compiler was given and compare that one; what the chip computes goes in as
    `--runtime recorded:DUMP`.
    """
    for node in wiring.nodes:
        if _compiled(node):
            yield Found(wiring.operator(node), f"written by {_compiled(node)}")


def _compiled(node: Node) -> str | None:
    return COMPILED.get(node.operator.op.removeprefix("CUSTOM:"))


def _has_no_kernel(node: Node) -> bool:
    wide = (t is not None and t.dtype == "int16" and is_integer_value(t) for t in node.inputs)
    return node.operator.op in WITHOUT_16_BITS and any(wide)


@check("XNN01", Severity.INFO, Wiring)
def xnnpack_declines(wiring: Wiring) -> Iterator[Found]:
    """XNNPACK, LiteRT's default on a CPU, leaves this quantized operator to the slower built-in kernels.

    Each one also splits the part that XNNPACK runs in two. Usual in int8 models for SOFTMAX and AVERAGE_POOL_2D, and
    harmless at the end of a model; in the middle, another op may do (MEAN for the pool, a fused activation for RELU).
    The built-in kernels round by other rules: `quantdiff verify` shows what differs.
    """
    for node in wiring.nodes:
        if any(map(is_integer_value, (*node.inputs, *node.outputs))) and not (
            _has_no_kernel(node) or _compiled(node) or _taken(node)
        ):
            dtypes = ", ".join(dict.fromkeys(t.dtype for t in (*node.inputs, *node.outputs) if t))
            yield Found(wiring.operator(node), f"{_why(node)}: {dtypes}")


def _why(node: Node) -> str:
    rule = RULES.get(node.operator.op)
    if rule is None:
        return "an op that it does not know"
    return "in float only" if rule is all_float else "not with these types, scales or options"


def _taken(node: Node) -> bool:
    """The delegate's answer; an operator that lacks what its rule asks for is not taken."""
    try:
        with np.errstate(all="ignore"):
            return taken(node)
    except (QuantdiffError, NoKernel, LookupError, ValueError):
        return False
