"""Read an ``.onnx``: nothing that it holds runs, and nothing outside its folder is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, reason_of
from quantdiff.lazy import require
from quantdiff.load.data import Slot
from quantdiff.quant import Array
from quantdiff.references.onnx.program import Node

STANDARD = ("", "ai.onnx", "com.microsoft")
"""Domains whose operators onnxruntime has; the last is onnxruntime's own."""
LARGEST = 2**31
"""Elements of one value, and bytes of a whole model: protobuf holds no more."""
RECODES = ("QuantizeLinear", "DequantizeLinear")
"""onnxruntime has them also for types that ONNX's own took later."""
ON_INTEGERS = ("QGemm", "QAttention", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")
MOST_NODES = 1_000_000


def packages() -> Any:
    """``onnx``.

    Raises:
        MissingExtra: the extra ``[onnx]`` is not installed.
    """
    return require("onnx", extra="onnx")


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A checked model. ``proto`` is ONNX's own, with all weights in it and its nodes in order."""

    path: Path
    proto: Any
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name


def read(path: Path) -> OnnxFile:
    """The file, with its external data.

    Raises:
        BadModel: it cannot be read, contradicts itself, reaches out of its folder or wants code of its own.
        MissingExtra: the extra ``[onnx]`` is not installed.
    """
    onnx = packages()
    try:
        proto = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf raises what it likes
        raise BadModel(f"{path}: no ONNX model, or a damaged one ({reason_of(error)}); export it again") from error
    if not proto.graph.node or not proto.graph.output:
        raise BadModel(f"{path}: an ONNX model without operators or outputs; export it again")
    if proto.functions:
        proto = _inlined(proto, path)
    _load_outside(onnx, proto, path)
    _check_domains(proto, path)
    _check_sizes(onnx, proto, path)
    _sort(proto, path)
    known = {tensor.name for tensor in proto.graph.initializer}
    inputs = tuple(_slot(onnx, each, path) for each in proto.graph.input if each.name not in known)
    if not inputs:
        raise BadModel(f"{path}: an ONNX model without inputs; nothing can be fed to it")
    return OnnxFile(path, proto, inputs, tuple(each.name for each in proto.graph.output))


def _inlined(proto: Any, path: Path) -> Any:
    """Functions that the model defines written out, as exporters of PyTorch leave some."""
    _check_calls(proto, path)
    try:
        return require("onnx.inliner", extra="onnx").inline_local_functions(proto)
    except Exception as error:  # a C++ check that raises what it likes
        raise BadModel(f"{path}: not a valid ONNX model: {reason_of(error)}") from error


def _check_calls(proto: Any, path: Path) -> None:
    """Refuse functions that call each other so often that they cannot be written out."""
    bodies = {(each.domain, each.name): each.node for each in proto.functions}
    sizes: dict[tuple[str, str], float] = {}

    def size(nodes: Any) -> float:
        return sum(1 + of(node.domain, node.op_type) + sum(size(g.node) for g in inner_graphs(node)) for node in nodes)

    def of(domain: str, name: str) -> float:
        key = (domain, name)
        if key in bodies and key not in sizes:
            sizes[key] = inf  # of one that calls itself
            sizes[key] = size(bodies[key])
        return sizes.get(key, 0)

    try:
        whole = size(proto.graph.node)
    except RecursionError:
        whole = inf
    if whole > MOST_NODES:
        raise BadModel(f"{path}: not a valid ONNX model: its functions call themselves, or each other without end")


def inner_graphs(node: Any) -> Iterator[Any]:
    """The graphs inside a node."""
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else []
        yield from attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    """Every stored tensor of a graph: initializers, attributes, and those of graphs inside."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
        for inner in inner_graphs(node):
            yield from _tensors(inner)


def _load_outside(onnx: Any, proto: Any, path: Path) -> None:
    """Weights in files beside the model; none of them may lie elsewhere, by whatever way."""
    folder = path.resolve().parent
    outside = False
    for tensor in _tensors(proto.graph):
        facts = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place, outside = facts.get("location", ""), True
        try:
            target = (folder / place).resolve()
            inside = bool(place) and target.is_relative_to(folder) and not Path(place).is_absolute()
            there = inside and target.is_file()
        except (OSError, ValueError):
            inside = there = False
        if not inside:
            raise BadModel(f"{path}: its weights are said to lie in {place!r}, outside of its folder; nothing is read")
        if not there:
            raise BadModel(f"{path}: its weights lie in {place!r}, which is missing; put that file beside the model")
    if not outside:
        return
    try:
        onnx.load_external_data_for_model(proto, str(folder))
    except Exception as error:  # a place past the end, no permission, and what onnx's own checks raise
        raise BadModel(f"{path}: its weights cannot be read ({reason_of(error)}); export it again") from error


def _check_domains(proto: Any, path: Path) -> None:
    for node in proto.graph.node:
        if node.domain not in STANDARD:
            raise BadModel(
                f"{path}: node {node.name or node.output[0]!r} is {node.op_type} of domain {node.domain!r}, "
                "code of its own that is never run; export with standard operators"
            )


def _check_sizes(onnx: Any, proto: Any, path: Path) -> None:
    """Refuse values that no memory holds, before anything computes them."""
    for tensor in _tensors(proto.graph):
        if any(n < 0 for n in tensor.dims) or prod(tensor.dims) > LARGEST:
            raise BadModel(f"{path}: constant {tensor.name!r} of shape {tuple(tensor.dims)}; export it again")
    if proto.ByteSize() >= LARGEST:
        raise BadModel(f"{path}: more than 2 GiB of weights, which onnxruntime does not take from memory")
    shaped = proto
    try:
        shaped = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:  # it raises what it likes; a model that it cannot follow may run all the same
        if "shape" in str(error).lower() and "inference" not in str(error).lower():
            raise BadModel(f"{path}: not a valid ONNX model: {reason_of(error)}") from error
    for value in (*shaped.graph.value_info, *shaped.graph.input, *shaped.graph.output):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if any(n < 0 for n in sizes) or prod(n for n in sizes if n) > LARGEST:
            raise BadModel(f"{path}: value {value.name!r} has the shape {tuple(sizes)}, more than any memory holds")


def _sort(proto: Any, path: Path) -> None:
    """The nodes in an order in which they can run.

    Raises:
        BadModel: some wait for each other, or for a value that nobody gives.
    """
    graph = proto.graph
    known = {tensor.name for tensor in graph.initializer} | {each.name for each in graph.input} | {""}
    known |= {sparse.values.name for sparse in graph.sparse_initializer}
    maker = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    made = Counter(name for node in graph.node for name in node.output if name)
    twice = [name for name, count in made.items() if count > 1 or name in known]
    if twice:
        raise BadModel(f"{path}: value {twice[0]!r} is made twice; export it again")
    reads = [reads_of(node) - known for node in graph.node]
    missing = [(node, name) for node, names in zip(graph.node, reads, strict=True) for name in names - made.keys()]
    if missing:
        raise _waits(path, *missing[0], "which nothing gives")
    try:
        order = [
            *TopologicalSorter({at: [maker[name] for name in names] for at, names in enumerate(reads)}).static_order()
        ]
    except CycleError as error:
        before, after = error.args[1][:2]
        raise _waits(path, graph.node[after], graph.node[before].output[0], "which waits for itself") from error
    known |= made.keys()
    missing_outputs = [each.name for each in graph.output if each.name not in known]
    if missing_outputs:
        raise BadModel(f"{path}: output {missing_outputs[0]!r} is given by no node; export it again")
    if any(maker[name] >= at for at, names in enumerate(reads) for name in names):
        copies = [type(node).FromString(node.SerializeToString()) for node in (graph.node[at] for at in order)]
        del graph.node[:]
        graph.node.extend(copies)


def _waits(path: Path, node: Any, name: object, how: str) -> BadModel:
    return BadModel(f"{path}: node {node.name or node.op_type!r} wants {name!r}, {how}; export it again")


def reads_of(node: Any) -> set[str]:
    """What a node reads, and the graphs inside it read of the one around them."""
    found = set(node.input)
    for inner in inner_graphs(node):
        own = {each.name for each in inner.input} | {each.name for each in inner.initializer}
        for each in inner.node:
            found |= reads_of(each) - own
            own |= set(each.output)
        found |= {each.name for each in inner.output} - own
    return found


def _slot(onnx: Any, value: Any, path: Path) -> Slot:
    kind = value.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, TypeError) as error:
        raise BadModel(f"{path}: input {value.name!r} is no tensor of numbers, which is all that can be fed") from error
    if dtype.kind not in "fiub":
        raise BadModel(f"{path}: input {value.name!r} holds {dtype}, which cannot be fed")
    sizes = [dim.dim_value or None for dim in kind.shape.dim]
    return Slot(value.name, tuple(sizes), dtype.name)


def nodes_of(file: OnnxFile) -> tuple[Node, ...]:
    """The nodes as values; of graphs inside them only what they read from outside, behind the node's own inputs.

    Raises:
        BadModel: operators on integers, which round inside.
    """
    onnx = packages()
    inside = next((n for n in file.proto.graph.node if "QLinear" in n.op_type or n.op_type in ON_INTEGERS), None)
    if inside is not None:
        raise BadModel(
            f"{file.name}: {inside.op_type} {inside.name!r} rounds inside (QOperator format), so that only outputs can "
            "be compared, by `diff` without --layers; quantize with quant_format=QuantFormat.QDQ for more"
        )
    return tuple(
        Node(
            node.op_type if node.domain != STANDARD[-1] or node.op_type in RECODES else f"{node.domain}.{node.op_type}",
            node.name,
            (*node.input, *sorted(reads_of(node) - {*node.input, ""})),
            tuple(node.output),
            {a.name: _option(onnx, a) for a in node.attribute if a.type in _plain_kinds(onnx)},
        )
        for node in file.proto.graph.node
    )


def constants_of(file: OnnxFile) -> dict[str, Array]:
    """The stored values by name."""
    onnx = packages()
    return {each.name: np.asarray(onnx.numpy_helper.to_array(each)) for each in file.proto.graph.initializer}


def _plain_kinds(onnx: Any) -> tuple[int, ...]:
    kinds = onnx.AttributeProto
    return kinds.FLOAT, kinds.INT, kinds.STRING, kinds.FLOATS, kinds.INTS, kinds.STRINGS


def _option(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, list):
        return [each.decode(errors="replace") if isinstance(each, bytes) else each for each in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
