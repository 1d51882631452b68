"""What the file's graph with the reference's constants computes just as the lowered reference does.

There both are one computation: the same operators, with the same options, on the same constants and inputs, and nothing
is rounded. The rung ``rewritten`` takes it from ``real`` and computes what is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Hashable, Mapping
from dataclasses import replace

import numpy as np

from quantdiff.graph import Graph, Operator
from quantdiff.ladder.lowered import RECODES
from quantdiff.ladder.real_graph import RealGraph, Values
from quantdiff.ladder.switches import Switches
from quantdiff.quant import Array, is_float


def with_alike(switches: Switches) -> Switches:
    """The same, and which tensors of the file hold the very same values as their partners.

    A stream shares nothing: its values hang on the samples before.
    """
    file, reference, setting = switches.file, switches.reference.real, switches.rewritten
    if file.streams or reference.streams:
        return switches
    numbers: dict[Hashable, int] = {}
    given = {i: numbers.setdefault(("input", i), len(numbers)) for i in reference.graph.inputs}
    partners = {i: switches.partners.get(i, -1) for i in file.graph.inputs}
    inputs = {i: given[partner] for i, partner in partners.items() if partner in given}
    theirs = _numbered(reference, given, {}, reference.varying, numbers)
    ours = _numbered(file, inputs, setting.constants, setting.own, numbers)
    pairs = [(i, j) for i in ours for j in {switches.partners.get(i, -1), *reference.graph.outputs}]
    return replace(switches, alike=frozenset(pair for pair in pairs if theirs.get(pair[1]) == ours[pair[0]]))


def _numbered(
    real: RealGraph, inputs: Mapping[int, int], constants: Values, bounded: Container[int], numbers: dict[Hashable, int]
) -> dict[int, int]:
    """By tensor the number of what is computed there, equal for equal computations; not of what a grid bounds."""
    found = {i: number for i, number in inputs.items() if i not in bounded}
    for operator in real.operators:
        read = [_read(i, real, constants, found, numbers) for i in operator.inputs]
        if not read or None in read:
            continue
        for place, tensor in enumerate(operator.outputs):
            if tensor in bounded:
                continue
            formula = (*_stated(real.graph, operator, tensor), place, *read)
            restated = read[0] if operator.op in RECODES else None
            found[tensor] = numbers.setdefault(formula, len(numbers)) if restated is None else restated
    return found


def _read(
    tensor: int, real: RealGraph, constants: Values, found: Mapping[int, int], numbers: dict[Hashable, int]
) -> int | None:
    """The number of what an operator reads; −1 where it leaves an input out."""
    if tensor < 0 or tensor in found:
        return found.get(tensor, -1)
    constant = constants.get(tensor, real.constants.get(tensor))
    return None if constant is None else numbers.setdefault(_bits(constant), len(numbers))


def _stated(graph: Graph, operator: Operator, tensor: int) -> tuple[Hashable, ...]:
    """What the file says of an operator, but for how its integers are to be read."""
    made = graph.tensors[tensor]
    kind = "real" if is_float(made.dtype) or made.grid is not None else made.dtype
    return operator.op, repr(sorted(operator.options.items())), kind, made.shape


def _bits(constant: Array) -> Hashable:
    whole = np.ascontiguousarray(constant).reshape(-1)
    return constant.shape, whole.dtype.str, hashlib.blake2b(whole.view(np.uint8).data if whole.size else b"").digest()
