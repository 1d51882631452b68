"""What the elementwise ops share: one stored value of each operand, less its zero point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quantdiff.paper.arithmetic.registry import Case, Position
from quantdiff.paper.arithmetic.scaling import signed
from quantdiff.paper.working import Operand, Step
from quantdiff.sim.node import NoKernel, is_quantized, scale_of, zero_point_of


def operands_of(case: Case, at: Position, positions: Sequence[int]) -> tuple[Operand, ...]:
    """The inputs, broadcast against each other as NumPy does, with their stored values at ``at``."""
    arrays = [case.array(i) for i in positions]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    tensors = [case.node.at(i) for i in positions]
    if not all(is_quantized(tensor, "int8", "uint8") for tensor in tensors):
        raise NoKernel("types " + " and ".join(tensor.dtype for tensor in tensors))
    roles = "ab" if len(positions) > 1 else "x"
    return tuple(
        Operand(role, t.name, t.dtype, float(scale_of(t)), zero_point_of(t), at, int(np.broadcast_to(a, shape)[at]))
        for role, t, a in zip(roles, tensors, arrays, strict=True)
    )


def centred_steps(operands: Sequence[Operand]) -> Iterator[Step]:
    """Each stored value less its zero point."""
    for each in operands:
        value, zero_point = each.integer, int(each.zero_point or 0)
        yield Step(f"{each.role} − z_{each.role}", f"{value} − {signed(zero_point)}", value - zero_point)


def in_body(case: Case, at: Position, vector: int) -> bool:
    """True when ``builtin`` computes the element among whole vectors, not in the scalar tail."""
    x = case.array(0)
    return int(np.ravel_multi_index(at, x.shape)) < x.size // vector * vector
