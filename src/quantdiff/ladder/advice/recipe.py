"""A set of choices for the tools that convert: a recipe for litert-quantizer, a denylist for TensorFlow's converter."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from quantdiff.graph import Operator
from quantdiff.ladder.advice.plans import CHANNELS, FLOAT, INPUT, INT16, OUTPUT, Choice
from quantdiff.ladder.switches import Switches
from quantdiff.ops import RECODES
from quantdiff.quant import is_float

QUANTIZED, LEFT = "min_max_uniform_quantize", "no_quantize"
"""Of litert-quantizer, which was ai-edge-quantizer: its algorithms by name."""
NamesOf = Callable[[Operator], list[str]]


def recipe(
    switches: Switches, choices: Sequence[Choice], names: NamesOf, ends: AbstractSet[int] = frozenset()
) -> list[dict[str, Any]]:
    """The recipe: everything in int8 with a scale per channel, what was chosen in int16 or float.

    ``ends`` (``INPUT``, ``OUTPUT``) are in float whatever was chosen. A later entry goes before an earlier one. A scope
    is a regular expression for the names of an operator's outputs in the float file, a semicolon behind each.
    """
    floats = _operators(choices, FLOAT) | float_ends(switches) | ends
    wide = _operators(choices, INT16) - floats
    entries = [_entry(".*", "*", 8)]
    for kinds, bits in ((wide, 16), (_operators(choices, CHANNELS) - floats, 8)):
        entries += [_entry(scope, "*", bits) for scope in _scopes(switches, kinds, names)]
        entries += [_entry(".*", end, bits) for end in _ends(kinds)]
    left = {"algorithm_key": LEFT, "op_config": {}}
    entries += [{"regex": scope, "operation": "*", **left} for scope in _scopes(switches, floats, names)]
    return entries + [{"regex": ".*", "operation": end, **left} for end in _ends(floats)]


def denylist(switches: Switches, choices: Sequence[Choice], names: NamesOf) -> dict[str, list[str]]:
    """What ``QuantizationDebugOptions(**…)`` takes: nodes by the names of their outputs in the float file."""
    operators = _converted(switches, _operators(choices, FLOAT))
    return {"denylisted_nodes": [name for each in operators for name in names(each)], "denylisted_ops": []}


def _operators(choices: Sequence[Choice], kind: str) -> frozenset[int]:
    return frozenset[int]().union(*(choice.operators for choice in choices if choice.kind == kind))


def _converted(switches: Switches, operators: frozenset[int]) -> list[Operator]:
    """Those that the float file has too."""
    every = switches.file.graph.operators
    return [every[i] for i in sorted(operators) if i >= 0 and every[i].op not in RECODES]


def _scopes(switches: Switches, operators: frozenset[int], names: NamesOf) -> list[str]:
    return [f"^{re.escape(';'.join(names(each)))};$" for each in _converted(switches, operators)]


def _ends(operators: frozenset[int]) -> list[str]:
    """Inputs and outputs of the model, which litert-quantizer has operations for."""
    return [name for end, name in ((INPUT, "INPUT"), (OUTPUT, "OUTPUT")) if end in operators]


def float_ends(switches: Switches) -> frozenset[int]:
    """The ends of the file that are floats: they stay so."""
    graph = switches.file.graph
    ends = ((INPUT, graph.inputs), (OUTPUT, graph.outputs))
    return frozenset(end for end, tensors in ends if all(is_float(graph.tensors[i].dtype) for i in tensors))


def _entry(scope: str, operation: str, bits: int) -> dict[str, Any]:
    """Static quantization: weights of 8 bits, symmetric, per channel; activations of ``bits``."""
    activations = {"num_bits": bits, "symmetric": bits == 16, "granularity": "TENSORWISE", "dtype": "INT"}  # noqa: PLR2004 (int16 has no zero point)
    weights = {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
    config = {
        "activation_tensor_config": activations,
        "weight_tensor_config": weights,
        "compute_precision": "INTEGER",
        "explicit_dequantize": False,
        "skip_checks": False,
        "min_weight_elements": 0,
    }
    return {"regex": scope, "operation": operation, "algorithm_key": QUANTIZED, "op_config": config}


def names_of(switches: Switches, *, float_file: bool) -> NamesOf:
    """The names of an operator's outputs in the float file: the reference's where that is one, else the file's own."""

    def named(operator: Operator) -> list[str]:
        found = []
        for tensor in operator.outputs:
            partner = switches.partners.get(tensor) if float_file else None
            graph = switches.file.graph if partner is None else switches.reference.real.graph
            found.append(graph.tensors[tensor if partner is None else partner].name)
        return [name for name in found if name]

    return named
