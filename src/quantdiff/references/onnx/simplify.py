"""What every converter does before it translates: constants that are multiplied or added in a row become one.

``Gemm`` and ``MatMul`` by a constant become ``Dense``: a kernel of shape (units, depth) and a bias. Batch norm, and
what adds a constant to a product, become a part of the sum of products in front of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from quantdiff.quant import Array
from quantdiff.references.onnx.program import Node, Program

DENSE = "Dense"
"""No operator of ONNX: ``x @ kernel.T + bias`` along the last axis."""
SUMS = ("Conv", DENSE)
MATRIX = 2


def simplified(program: Program) -> Program:
    """The same values, with fewer operators; a value that is folded away has no node any more."""
    program = _with_gelu(program)
    constants = dict(program.constants)
    readers = Counter(name for node in program.nodes for name in node.inputs) + Counter(program.outputs)
    nodes: list[Node] = []
    sums: dict[str, int] = {}
    for node in program.nodes:
        current = _dense(node, constants) or node
        own = (name for name in current.inputs if name in sums and name not in constants)
        at = next((sums[name] for name in own if readers[name] == 1), None)
        folded = None if at is None else _folded(nodes[at], current, constants)
        if at is None or folded is None:
            at, folded = len(nodes), current
            nodes.append(current)
        nodes[at] = folded
        if folded.op in SUMS:
            sums[folded.outputs[0]] = at
    return replace(program, nodes=tuple(nodes), constants=constants)


def _with_gelu(program: Program) -> Program:
    """``x / √2``, ``Erf``, ``+ 1``, ``* x``, ``/ 2``: exporters before opset 20 write GELU out."""
    makers = {node.outputs[0]: node for node in program.nodes}
    readers: dict[str, list[Node]] = {}
    for node in program.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    gone, found = set[str](), dict[str, Node]()
    for node in program.nodes:
        pattern = _gelu(node, makers, readers, program.constants) if node.op == "Erf" else None
        if pattern is not None:
            x, inside, last = pattern
            gone.update(inside)
            found[last.outputs[0]] = Node("Gelu", last.name, (x,), last.outputs)
    if not found:
        return program
    kept = (node for node in program.nodes if node.outputs[0] not in gone)
    return replace(program, nodes=tuple(found.get(node.outputs[0], node) for node in kept))


def _gelu(
    erf: Node, makers: Mapping[str, Node], readers: Mapping[str, list[Node]], constants: Mapping[str, Array]
) -> tuple[str, list[str], Node] | None:
    """What goes in, the values on the way, and the node that ends it; None for another use of Erf."""
    before = makers.get(erf.inputs[0])
    scaled = None if before is None else _scaled(before, constants)
    if before is None or scaled is None or not np.isclose(scaled[1], np.sqrt(0.5), rtol=1e-5):
        return None
    inside, current, factors = [before.outputs[0], erf.outputs[0]], erf, list[str | float]()
    for k in range(3):
        after = readers.get(current.outputs[0], [])
        if len(after) != 1:
            return None
        (current,), last = after, inside[-1]
        other = next((name for name in current.inputs if name != last), last)
        number = float(constants[other].reshape(-1)[0]) if other in constants and constants[other].size == 1 else None
        if (current.op, number) == ("Add", 1.0) if k == 0 else current.op == "Mul":
            factors += [] if k == 0 else [other if number is None else number]
        else:
            return None
        half = _scaled(makers[other], constants) if k and number is None and other in makers else None
        if half == (scaled[0], 0.5):
            return scaled[0], [*inside, other], current
        if len(factors) == 2 and set(factors) == {scaled[0], 0.5}:  # noqa: PLR2004 (x and a half)
            return scaled[0], inside, current
        inside.append(current.outputs[0])
    return None


def _scaled(node: Node, constants: Mapping[str, Array]) -> tuple[str, float] | None:
    """What a node multiplies by a number, and the number; None for other nodes."""
    names = [name for name in node.inputs if name not in constants]
    given = [constants[name] for name in node.inputs if name in constants]
    if node.op not in ("Mul", "Div") or len(names) != 1 or len(given) != 1 or given[0].size != 1:
        return None
    number = float(given[0].reshape(-1)[0])
    return names[0], number if node.op == "Mul" else 1 / number


def _dense(node: Node, constants: dict[str, Array]) -> Node | None:
    """A product with a constant matrix as ``Dense``; None for all others."""
    if node.op not in ("Gemm", "MatMul") or constants.get(node.inputs[1], np.zeros(0)).ndim != MATRIX:
        return None
    get = node.options.get
    if get("transA", 0):
        return None
    kernel = constants[node.inputs[1]] * np.float32(get("alpha", 1.0))
    names = [_new(constants, f"{node.inputs[1]}", kernel if get("transB", 0) else kernel.T)]
    if node.at(2):
        bias = constants.get(node.at(2))
        if bias is None or bias.size not in (1, len(constants[names[0]])):
            return None
        whole = np.broadcast_to(bias.reshape(-1) * np.float32(get("beta", 1.0)), len(constants[names[0]]))
        names.append(_new(constants, node.at(2), whole))
    return Node(DENSE, node.name, (node.inputs[0], *names), node.outputs)


def _new(constants: dict[str, Array], name: str, value: Array) -> str:
    """Keep a constant under a name of its own, that of the one it was made of where that is free."""
    if name in constants and np.array_equal(constants[name], value) and constants[name].shape == value.shape:
        return name
    fresh = name
    while fresh in constants:
        fresh += "'"
    constants[fresh] = np.ascontiguousarray(value)
    return fresh


def _folded(before: Node, node: Node, constants: dict[str, Array]) -> Node | None:
    """The sum of products with what stands behind it; None where that is no factor or offset by channel."""
    kernel = constants.get(before.inputs[1])
    if kernel is None or not all(name in constants for name in before.inputs[2:] if name):
        return None
    found = FOLDS[node.op](before, node, constants) if node.op in FOLDS else None
    if found is None:
        return None
    factor, offset = found
    own = constants[before.at(2)].astype(np.float64) if before.at(2) else 0.0
    along = factor.reshape(-1, *[1] * (kernel.ndim - 1))
    weights = (kernel.astype(np.float64) * along).astype(kernel.dtype)
    bias = np.broadcast_to(own * factor + offset, len(kernel)).astype(kernel.dtype)
    same = bool(np.all(factor == 1))
    names = before.inputs[1] if same else _new(constants, before.inputs[1], weights)
    biases = _new(constants, before.at(2) or f"{before.inputs[1]} bias", bias)
    return replace(before, inputs=(before.inputs[0], names, biases), outputs=node.outputs)


Factors = tuple[Array, Array]


def _norm(before: Node, node: Node, constants: Mapping[str, Array]) -> Factors | None:
    del before
    if not all(name in constants for name in node.inputs[1:5]):
        return None
    return norm_factors(node, constants)


def norm_factors(node: Node, constants: Mapping[str, Array]) -> Factors:
    """``y = x * factor + offset`` by channel, double: what a batch norm does at inference."""
    gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in node.inputs[1:5])
    factor = gamma / np.sqrt(variance + float(node.options.get("epsilon", 1e-5)))
    return factor, beta - mean * factor


def _sum(before: Node, node: Node, constants: Mapping[str, Array]) -> Factors | None:
    """A constant that is added to a dense layer: a bias."""
    given = next((constants[name] for name in node.inputs if name in constants), None)
    units = len(constants[before.inputs[1]])
    if before.op != DENSE or given is None or given.size != units or given.shape[-1] != units:
        return None
    return np.ones(1), given.reshape(-1).astype(np.float64)


FOLDS: dict[str, Callable[[Node, Node, Mapping[str, Array]], Factors | None]] = {
    "BatchNormalization": _norm,
    "Add": _sum,
}
