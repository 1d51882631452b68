"""``If`` whose condition is known before any data come, and ``Loop`` of a known number of rounds, written out.

Exporters of PyTorch leave such ones where a program asks for shapes, or counts. Others stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.references.onnx.file import inner_graphs, packages

Known = Callable[[Any], Mapping[str, Array]]
"""Of a model the values that do not depend on the data."""
Part = tuple[list[Any], list[Any]]
"""Nodes, and constants that they read."""
MOST = 4000
"""Nodes that a loop is written out to."""


def decided(proto: Any, known: Known) -> Any:
    """The model without the branches and loops that are known; itself where there are none."""
    current = proto
    while any(node.op_type in WRITTEN_OUT for node in current.graph.node):
        constants = known(current)
        asked = (node for node in current.graph.node if node.op_type in WRITTEN_OUT)
        parts = {node.output[0]: WRITTEN_OUT[node.op_type](node, constants) for node in asked}
        if not any(parts.values()):
            break
        current = _with(current, {name: part for name, part in parts.items() if part is not None})
    return current


def _with(proto: Any, parts: Mapping[str, Part]) -> Any:
    copy = type(proto)()
    copy.CopyFrom(proto)
    del copy.graph.node[:]
    for node in proto.graph.node:
        nodes, constants = parts.get(node.output[0] if node.output else "", ([node], []))
        copy.graph.node.extend(nodes)
        copy.graph.initializer.extend(constants)
    return copy


def _branch(node: Any, constants: Mapping[str, Array]) -> Part | None:
    """The branch that is taken; None where that hangs on the data."""
    condition = constants.get(node.input[0])
    if condition is None or condition.size != 1:
        return None
    wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    nodes, stored, ends = _written_out(_graph(node, wanted), node.output[0], {})
    return nodes + _same(ends, node.output), stored


def _rounds(node: Any, constants: Mapping[str, Array]) -> Part | None:
    """The body as often as it runs; None where that hangs on the data, or where it collects what each round gives."""
    body, count, name = _graph(node, "body"), constants.get(node.input[0]), node.output[0]
    if (
        count is None
        or count.size != 1
        or len(node.output) != len(node.input) - 2
        or not _goes_on(node, body, constants)
    ):
        return None
    rounds = int(count.reshape(-1)[0])
    if rounds * len(body.node) > MOST:
        return None
    tensor = packages().numpy_helper.from_array
    nodes, stored, carried = list[Any](), [tensor(np.array(True), f"{name}/true")], list(node.input[2:])
    for k in range(rounds):
        stored.append(tensor(np.array(k, np.int64), f"{name}/{k}"))
        taken = [each.name for each in body.input]
        given = dict(zip(taken, (f"{name}/{k}", f"{name}/true", *carried), strict=True))
        more, constants_inside, ends = _written_out(body, f"{name}/{k}", given)
        nodes, stored, carried = nodes + more, stored + constants_inside, ends[1:]
    return nodes + _same(carried, node.output), stored


WRITTEN_OUT: Mapping[str, Callable[[Any, Mapping[str, Array]], Part | None]] = {"If": _branch, "Loop": _rounds}


def _goes_on(node: Any, body: Any, constants: Mapping[str, Array]) -> bool:
    """Whether nothing but the number of rounds ends a loop."""
    true = {name for name, value in constants.items() if value.dtype == bool and value.all()}
    name, makers = body.output[0].name, {each.output[0]: each for each in body.node if each.output}
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name in makers and makers[name].op_type == "Constant":
        return bool(packages().numpy_helper.to_array(makers[name].attribute[0].t).all())
    return (not node.input[1] or node.input[1] in true) and (name == body.input[1].name or name in true)


def _graph(node: Any, name: str) -> Any:
    return next(attribute.g for attribute in node.attribute if attribute.name == name)


def _same(given: list[str], names: Any) -> list[Any]:
    return [packages().helper.make_node("Identity", [a], [b]) for a, b in zip(given, names, strict=True) if b]


def _written_out(graph: Any, prefix: str, given: Mapping[str, str]) -> tuple[list[Any], list[Any], list[str]]:
    """Its nodes and constants by names of their own, and the names of what it gives; ``given`` replace its inputs."""
    names = {**{name: f"{prefix}/{name}" for name in _made(graph)}, **given}
    constants = [_named(tensor, names[tensor.name]) for tensor in graph.initializer]
    nodes = [_renamed(each, names) for each in graph.node]
    for node in nodes:
        node.name = f"{prefix}/{node.name.lstrip('/')}"  # onnxruntime wants each name once
    return nodes, constants, [names.get(each.name, each.name) for each in graph.output]


def _made(graph: Any) -> Iterator[str]:
    """The names that a graph gives, those of graphs inside it left out."""
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)


def _named(tensor: Any, name: str) -> Any:
    copy = type(tensor)()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A node that reads and gives values by other names, inside of its own graphs as well."""
    copy = type(node)()
    copy.CopyFrom(node)
    for side in (copy.input, copy.output):
        side[:] = [names.get(name, name) for name in side]
    for graph in inner_graphs(copy):
        outer = {name: new for name, new in names.items() if name not in set(_made(graph))}
        nodes = [_renamed(each, outer) for each in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for each in graph.output:
            each.name = outer.get(each.name, each.name)
    return copy
