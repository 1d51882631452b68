"""``If`` whose condition is known before any data come: the branch that is taken, written out in its place.

Exporters of PyTorch leave such ones where a program asks for shapes. Others stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from quantdiff.references.onnx.file import inner_graphs, packages

Known = Callable[[Any], Mapping[str, bool]]
"""Of a model the values that are true or false, whatever the data."""


def decided(proto: Any, known: Known) -> Any:
    """The model without the branches whose conditions are known; itself where there are none."""
    current = proto
    while any(node.op_type == "If" for node in current.graph.node):
        found = known(current)
        taken = {
            n.output[0]: found[n.input[0]] for n in current.graph.node if n.op_type == "If" and n.input[0] in found
        }
        if not taken:
            break
        current = _without(current, taken)
    return current


def _without(proto: Any, taken: Mapping[str, bool]) -> Any:
    copy = type(proto)()
    copy.CopyFrom(proto)
    del copy.graph.node[:]
    for node in proto.graph.node:
        if node.op_type != "If" or node.output[0] not in taken:
            copy.graph.node.add().CopyFrom(node)
            continue
        wanted = "then_branch" if taken[node.output[0]] else "else_branch"
        branch = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
        nodes, constants = _written_out(node, branch)
        copy.graph.node.extend(nodes)
        copy.graph.initializer.extend(constants)
    return copy


def _written_out(node: Any, branch: Any) -> tuple[list[Any], list[Any]]:
    """Its nodes and constants by names of their own; what the branch gives bears the names of what the node gives."""
    names = {name: f"{node.output[0]}/{name}" for name in _made(branch)}
    constants = [_named(tensor, names[tensor.name]) for tensor in branch.initializer]
    nodes = [_renamed(each, names) for each in branch.node]
    ends = [names.get(each.name, each.name) for each in branch.output]
    same = packages().helper.make_node
    return nodes + [same("Identity", [a], [b]) for a, b in zip(ends, node.output, strict=True) if b], constants


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
