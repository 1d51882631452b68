"""Operators that copy integers: what goes in and what comes out must be said in one unit."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.graph import Tensor
from quantdiff.linting.registry import Found, Severity, check
from quantdiff.linting.wiring import Wiring, is_quantized, scale, zero_point
from quantdiff.ops import traits
from quantdiff.sim.node import Node

Grid = tuple[float, int]


@check("SCALE07", Severity.ERROR, Wiring)
def copied_to_another_grid(wiring: Wiring) -> Iterator[Found]:
    """An operator that copies integers has another scale or zero point at its output than at its input.

    The kernels of RESHAPE, REVERSE_V2, GATHER, PAD and their like move integers, those of pools and resizing average
    them, and none reads the scales: what stands behind takes the values in the wrong unit. LiteRT refuses some of them
    instead (EXPAND_DIMS, MIRROR_PAD, PACK, REDUCE_MAX, UNPACK, …), and more with XNNPACK (PAD, SLICE, SPLIT, TRANSPOSE,
    …). Give both tensors one grid, or put a QUANTIZE between them.
    """
    for node in wiring.nodes:
        if traits(node.operator.op).one_grid and node.operator.op != "CONCATENATION" and (pair := _unlike(node)):
            x, y = map(_told, pair)
            yield Found(wiring.operator(node), f"input {x}; output {y}")


def _unlike(node: Node) -> tuple[Grid, Grid] | None:
    """The first input and output of one type that are on two grids."""
    pairs = ((_grid(x), _grid(y)) for y in node.outputs for x in node.inputs if x is not None and x.dtype == y.dtype)
    return next(((x, y) for x, y in pairs if x is not None and y is not None and x != y), None)


def _grid(tensor: Tensor) -> Grid | None:
    """Scale and zero point of what is quantized as a whole."""
    step = scale(tensor) if is_quantized(tensor) else None
    return None if step is None else (step, zero_point(tensor))


def _told(grid: Grid) -> str:
    return f"scale {grid[0]:.4g}, zero point {grid[1]}"
