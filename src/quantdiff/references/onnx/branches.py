"""``If`` whose condition is known before any data come, ``Loop`` and ``Scan`` of a known number of rounds, written out.

Exporters of PyTorch leave such ones where a program asks for shapes, or counts. Others stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from quantdiff.quant import Array
from quantdiff.references.onnx.file import inner_graphs, packages

Known = Callable[[Any], Mapping[str, Array] | None]
"""Of a model the values that do not depend on the data; None where it does not run."""
Part = tuple[list[Any], list[Any]]
"""Nodes, and constants that they read."""
MOST = 4000
"""Nodes that a loop is written out to."""
SCAN_INPUTS = ("scan_input_axes", "scan_input_directions")
SCAN_OUTPUTS = ("scan_output_axes", "scan_output_directions")
AXES_ARE_INPUT = 13
"""The version of ONNX since which Unsqueeze reads its axes."""


def decided(proto: Any, known: Known) -> Any:
    """The model without the branches and loops that are known; itself where there are none."""
    current = proto
    while any(node.op_type in WRITTEN_OUT for node in current.graph.node):
        if (constants := known(current)) is None:
            break
        asked = (node for node in current.graph.node if node.op_type in WRITTEN_OUT)
        parts = {node.output[0]: WRITTEN_OUT[node.op_type](node, constants, current) for node in asked}
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


def _branch(node: Any, constants: Mapping[str, Array], proto: Any) -> Part | None:
    """The branch that is taken; None where that hangs on the data."""
    del proto
    condition = constants.get(node.input[0])
    if condition is None or condition.size != 1:
        return None
    wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    nodes, stored, ends = _written_out(_graph(node, wanted), node.output[0], {})
    return nodes + _same(ends, node.output), stored


def _rounds(node: Any, constants: Mapping[str, Array], proto: Any) -> Part | None:
    """The body as often as it runs; None where that hangs on the data."""
    body, count, name = _graph(node, "body"), constants.get(node.input[0]), node.output[0] or node.name
    if count is None or count.size != 1 or not _goes_on(node, body, constants):
        return None
    rounds, states = int(count.reshape(-1)[0]), len(node.input) - 2
    if rounds * len(body.node) > MOST or (rounds < 1 and states < len(node.output)):
        return None
    nodes, stored, carried = list[Any](), [_constant(True, f"{name}/true")], list(node.input[2:])
    given = list[list[str]]()
    for k in range(rounds):
        stored.append(_constant(k, f"{name}/{k}"))
        inputs = _inputs(body, (f"{name}/{k}", f"{name}/true", *carried))
        more, constants_inside, ends = _written_out(body, f"{name}/{k}", inputs)
        nodes, stored, carried = nodes + more, stored + constants_inside, ends[1 : 1 + states]
        given.append(ends[1 + states :])
    rows = [(each, 0) for each in zip(*given, strict=True)]
    return _collected(node, (nodes, stored), carried, rows, proto)


def _scanned(node: Any, constants: Mapping[str, Array], proto: Any) -> Part | None:
    """The body once for each row of what it goes over; None where the file does not say how many there are."""
    body, said, name = _graph(node, "body"), {each.name: each for each in node.attribute}, node.output[0] or node.name
    scanned = said["num_scan_inputs"].i
    states = len(node.input) - scanned
    axes, back = (list(said[key].ints) if key in said else [0] * scanned for key in SCAN_INPUTS)
    rounds = _length(node.input[states], axes[0], constants, proto)
    if rounds is None or rounds * len(body.node) > MOST or len(body.input) != len(node.input):
        return None
    nodes, stored, carried = list[Any](), list[Any](), list(node.input[:states])
    given = list[list[str]]()
    for k in range(rounds):
        rows = [f"{name}/{k}/row{i}" for i in range(scanned)]
        for i, row in enumerate(rows):
            stored.append(_constant(rounds - 1 - k if back[i] else k, f"{row}/at"))
            taken = [node.input[states + i], f"{row}/at"]
            nodes.append(packages().helper.make_node("Gather", taken, [row], name=row, axis=axes[i]))
        more, constants_inside, ends = _written_out(body, f"{name}/{k}", _inputs(body, (*carried, *rows)))
        nodes, stored, carried = nodes + more, stored + constants_inside, ends[:states]
        given.append(ends[states:])
    count = len(node.output) - states
    along, turned = (list(said[key].ints) if key in said else [0] * count for key in SCAN_OUTPUTS)
    found = zip(zip(*given, strict=True), along, turned, strict=True)
    all_rows = [(each[::-1] if turn else each, axis) for each, axis, turn in found]
    return _collected(node, (nodes, stored), carried, all_rows, proto)


def _inputs(body: Any, names: Iterable[str]) -> dict[str, str]:
    return dict(zip((each.name for each in body.input), names, strict=True))


def _length(name: str, axis: int, constants: Mapping[str, Array], proto: Any) -> int | None:
    """How long an axis is, by the file alone: of the samples nobody knows."""
    if name in constants:
        return int(constants[name].shape[axis])
    graph = packages().shape_inference.infer_shapes(proto).graph
    for each in (*graph.input, *graph.value_info):
        dims = each.type.tensor_type.shape.dim
        if each.name == name and len(dims) > 1 and axis % len(dims):  # the first axis counts samples
            return dims[axis].dim_value or None
    return None


def _collected(node: Any, part: Part, carried: list[str], rows: list[tuple[Any, int]], proto: Any) -> Part:
    """The last states, and what each round gives one behind the other."""
    nodes, stored = part
    make, opset = packages().helper.make_node, max(each.version for each in proto.opset_import if not each.domain)
    for (parts, axis), name in zip(rows, node.output[len(carried) :], strict=True):
        if not name:
            continue
        stored.append(_constant([axis], f"{name}/axis"))
        wide = [f"{name}/{k}/wide" for k in range(len(parts))]
        for each, row in zip(parts, wide, strict=True):
            taken, options = ([each, f"{name}/axis"], {}) if opset >= AXES_ARE_INPUT else ([each], {"axes": [axis]})
            nodes.append(make("Unsqueeze", taken, [row], name=row, **options))
        nodes.append(make("Concat", wide, [name], name=f"{name}/all", axis=axis))
    return nodes + _same(carried, node.output[: len(carried)]), stored


def _constant(value: Any, name: str) -> Any:
    return packages().numpy_helper.from_array(np.array(value), name)


WRITTEN_OUT: Mapping[str, Callable[[Any, Mapping[str, Array], Any], Part | None]] = {
    "If": _branch,
    "Loop": _rounds,
    "Scan": _scanned,
}


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
