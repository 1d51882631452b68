"""A model as nodes in ONNX's words: what a file says, and what one run of it shows; no package of ONNX in sight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from quantdiff.load.data import Slot
from quantdiff.ops import TrainedRange
from quantdiff.quant import Array


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: ``op`` is ONNX's name for it, ``inputs`` and ``outputs`` name values; "" is one left out."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def at(self, place: int) -> str:
        """The name of an input; "" for one that is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True, slots=True)
class Program:
    """Nodes in an order in which they can run.

    Attributes:
        name: the file's, for messages.
        inputs: what it takes.
        outputs: names of values.
        nodes: its operators.
        constants: by name the values that do not depend on the inputs.
        examples: by name what the others are for ``samples`` samples of zeros, samples along axis 0.
        samples: how many that are.
        unseen: those that the words put between, and that no run shows.
        trained: by the integers that a quantizer gives what it has learned of its range.
    """

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)
    examples: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)
    samples: int = 1
    unseen: frozenset[str] = frozenset()
    trained: Mapping[str, TrainedRange] = field(default_factory=dict, compare=False, repr=False)

    @property
    def varying(self) -> frozenset[str]:
        """The values that depend on the inputs."""
        found = {slot.name for slot in self.inputs}
        for node in self.nodes:
            if any(name in found for name in node.inputs):
                found.update(name for name in node.outputs if name)
        return frozenset(found)

    @property
    def by_shape(self) -> frozenset[str]:
        """Of these the ones that follow from shapes alone, whatever the data."""
        varying, found = self.varying, set[str]()
        for node in self.nodes:
            fed = [name for name in node.inputs if name in varying]
            if fed and (node.op in ("Shape", "Size") or all(name in found for name in fed)):
                found.update(name for name in node.outputs if name)
        return frozenset(found)

    def with_constants(self, stored: Mapping[str, Array]) -> Program:
        """The same, knowing what is stored and, by its examples, what follows from that or from shapes alone."""
        varying = self.varying - self.by_shape
        fixed = {name: array for name, array in self.examples.items() if name not in varying}
        return replace(self, constants={**stored, **fixed})


DENSE = "Dense"
"""No operator of ONNX: ``x @ kernel.T + bias`` along the last axis."""
SUMS = ("Conv", DENSE)
MATRIX = 2
CHANNEL = 3
"""Axes from that of the channels of an image on."""
BY_CHANNEL = ("Add", "Sub", "Mul", "Div")


def simplified(program: Program) -> Program:
    """The same values, with fewer operators; a value that is folded away has no node any more."""
    program = _with_gelu(program)
    constants = dict(program.constants)
    readers = Counter(name for node in program.nodes for name in node.inputs) + Counter(program.outputs)
    nodes: list[Node] = []
    sums: dict[str, int] = {}
    inside = _before_norms(program, readers)
    for node in program.nodes:
        current = _dense(node, constants) or node
        own = (name for name in current.inputs if name in sums and name not in constants)
        at = next((sums[name] for name in own if readers[name] == 1), None)
        kept = at is None or (current.op in BY_CHANNEL and nodes[at].op == "Conv" and current.outputs[0] not in inside)
        folded = None if at is None or kept else _folded(nodes[at], current, constants)
        if at is None or folded is None:
            at, folded = len(nodes), current
            nodes.append(current)
        nodes[at] = folded
        if folded.op in SUMS:
            sums[folded.outputs[0]] = at
    return replace(program, nodes=tuple(nodes), constants=constants)


def _before_norms(program: Program, readers: Mapping[str, int]) -> set[str]:
    """What a batch norm normalizes, and what constants made that of: QAT divides by the norm's own factor before it."""
    found = set[str]()
    for node in reversed(program.nodes):
        known = node.op == "BatchNormalization" or (node.op in BY_CHANNEL and node.outputs[0] in found)
        found.update(name for name in node.inputs[:2] if known and name not in program.constants and readers[name] == 1)
    return found


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


def _by_channel(before: Node, node: Node, constants: Mapping[str, Array]) -> Factors | None:
    """A constant for each channel, behind a convolution: a factor or an offset."""
    given = constants.get(node.inputs[1])
    shape = () if given is None else given.shape[-3:]
    if before.op != "Conv" or given is None or given.size not in (1, len(constants[before.inputs[1]])):
        return _sum(before, node, constants) if node.op == "Add" else None
    if given.size > 1 and (len(shape) < CHANNEL or shape[0] != given.size):
        return None
    value, one, none = given.reshape(-1).astype(np.float64), np.ones(1), np.zeros(1)
    return {"Add": (one, value), "Sub": (one, -value), "Mul": (value, none), "Div": (1 / value, none)}[node.op]


def _sum(before: Node, node: Node, constants: Mapping[str, Array]) -> Factors | None:
    """A constant that is added to a dense layer: a bias."""
    given = next((constants[name] for name in node.inputs if name in constants), None)
    units = len(constants[before.inputs[1]])
    if before.op != DENSE or given is None or given.size != units or given.shape[-1] != units:
        return None
    return np.ones(1), given.reshape(-1).astype(np.float64)


FOLDS: dict[str, Callable[[Node, Node, Mapping[str, Array]], Factors | None]] = {
    "BatchNormalization": _norm,
    **dict.fromkeys(BY_CHANNEL, _by_channel),
}
