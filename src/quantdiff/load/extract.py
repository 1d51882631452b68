"""Models cut out of a model: a part of it as a model of its own, whose ends may lie as they do in another one.

What the part's operators read and give become its inputs and outputs; ends turn to another order of axes or shape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantdiff.errors import NoSuchElement
from quantdiff.graph import Graph
from quantdiff.load.data import Order
from quantdiff.load.written import packed, schema, unpacked

REFERS = ("scales", "zeroPoints")
"""Fields of quantization details that name tensors."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some operators of a main graph by number, and the tensors at which they are cut out of it.

    ``operators`` include those that only prepare constants and variables for the others. ``inputs`` and ``outputs``
    are tensors of the whole graph.
    """

    operators: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def part_of(graph: Graph, chosen: Collection[int], wanted: Sequence[int] = ()) -> Part:
    """The operators ``chosen``, with what prepares their constants; ``wanted`` are the outputs where not all count.

    Raises:
        NoSuchElement: an operator that the graph does not have, or none at all.
    """
    missing = [i for i in chosen if not 0 <= i < len(graph.operators)]
    if missing or not chosen:
        which = f"operator {missing[0]}" if missing else "no operator"
        raise NoSuchElement(f"{which}: the model has operators 0 to {len(graph.operators) - 1}, as inspect lists them")
    kept = {*chosen} | _preparing(graph, chosen)
    operators = [graph.operators[i] for i in sorted(kept)]
    made = {i for op in operators for i in op.outputs if i >= 0}
    fed = {i for op in operators for i in op.inputs if i >= 0 and i not in made and _comes_from_outside(graph, i)}
    ordered = [i for i in graph.inputs if i in fed]
    inputs = (*ordered, *sorted(fed - {*ordered}))
    return Part(tuple(sorted(kept)), inputs, tuple(wanted) or _outputs(graph, {*chosen}, kept))


def _outputs(graph: Graph, chosen: Collection[int], kept: Collection[int]) -> tuple[int, ...]:
    """What others read, or the caller; everything that nobody inside reads where there is nothing of that kind."""
    made = [i for k in sorted(chosen) for i in graph.operators[k].outputs if i >= 0]
    read = [i for i in made if graph.is_output(i) or any(op.index not in kept for op in graph.readers(i))]
    read = read or [i for i in made if not graph.readers(i)]
    last = [i for i in graph.outputs if i in read]
    return (*(i for i in dict.fromkeys(read) if i not in last), *dict.fromkeys(last))


def _comes_from_outside(graph: Graph, tensor: int) -> bool:
    """Whether its value changes with the data: neither a constant nor a state."""
    known = graph.tensors[tensor]
    return not known.is_constant and not known.is_variable and (tensor in graph.inputs or bool(graph.producer(tensor)))


def _preparing(graph: Graph, chosen: Collection[int]) -> set[int]:
    """Operators that depend on no input and that the chosen ones need: DEQUANTIZE of weights, variables."""
    still = set[int]()
    for op in graph.operators:
        makers = [graph.producer(i) for i in op.inputs if i >= 0 and _comes_from_outside(graph, i)]
        if all(maker is not None and maker.index in still for maker in makers):
            still.add(op.index)
    found, waiting = set[int](), [graph.operators[i] for i in chosen]
    for op in waiting:  # grows while it is walked
        for maker in (graph.producer(i) for i in op.inputs if i >= 0):
            if maker is not None and maker.index in still and maker.index not in found:
                found.add(maker.index)
                waiting.append(maker)
    handles = any(graph.operators[i].op == "VAR_HANDLE" for i in {*found, *chosen})
    return found | {op.index for op in graph.operators if handles and op.op == "CALL_ONCE"}


def extract(whole: Any, part: Part) -> bytes:
    """The part as a model of its own, written from the whole as a ``ModelT``, which stays as it is.

    Tensors, buffers, operator codes and subgraphs that it does not use are left out; so are signatures and metadata.
    Names, grids, sparsity, options and states stay.

    Raises:
        BadModel: it cannot be written.
    """
    model = copy(whole)
    main = copy(whole.subgraphs[0])
    main.operators = [whole.subgraphs[0].operators[i] for i in part.operators]
    main.inputs, main.outputs = [*part.inputs], [*part.outputs]
    _drop_tensors(main)
    bodies = [0, *_bodies(whole, main)]
    model.subgraphs = [main, *(_copied(whole.subgraphs[i]) for i in bodies[1:])]
    for graph in model.subgraphs:
        for op in graph.operators:
            _renumber_bodies(op, {old: new for new, old in enumerate(bodies)})
    model.operatorCodes = _kept(whole.operatorCodes, _uses(model.subgraphs, "operators", "opcodeIndex"))
    empty = schema().BufferT()
    tensors = [(tensor, "buffer") for graph in model.subgraphs for tensor in graph.tensors]
    model.buffers = [empty, *_kept(whole.buffers, [each for each in tensors if each[0].buffer], 1)]
    model.signatureDefs, model.metadata, model.metadataBuffer = None, None, None
    return packed(model)


def _copied(graph: Any) -> Any:
    made = copy(graph)
    made.tensors = [copy(tensor) for tensor in graph.tensors]
    made.operators = [copy(operator) for operator in graph.operators or ()]
    return made


def _drop_tensors(graph: Any) -> None:
    """Keep the tensors that something names, under new numbers."""
    before = graph.tensors
    operators = [copy(op) for op in graph.operators]
    named = {int(i) for i in (*graph.inputs, *graph.outputs)}
    for op in operators:
        named |= {int(i) for field in _lists(op) for i in field if i >= 0}
    waiting = [*named]
    for i in waiting:  # grows while it is walked
        waiting += [j for j in _details(before[i]) if j not in named]
        named.update(_details(before[i]))
    places = {old: new for new, old in enumerate(sorted(named))}
    graph.tensors = [copy(before[i]) for i in places]
    for tensor in graph.tensors:
        _renumber_details(tensor, places)
    for op in operators:
        op.debugMetadataIndex = -1
        op.inputs, op.outputs, op.intermediates = ([places.get(int(i), -1) for i in field] for field in _lists(op))
    graph.operators = operators
    graph.inputs, graph.outputs = ([places[i] for i in ends] for ends in (graph.inputs, graph.outputs))


def _lists(op: Any) -> list[Any]:
    return [() if field is None else field for field in (op.inputs, op.outputs, op.intermediates)]


def _details(tensor: Any) -> list[int]:
    """The tensors that hold the scales of its blocks."""
    details = None if tensor.quantization is None else tensor.quantization.details
    return [i for name in REFERS if (i := getattr(details, name, -1)) >= 0 and (i or name == REFERS[0])]


def _renumber_details(tensor: Any, places: dict[int, int]) -> None:
    named = _details(tensor)
    if named:
        tensor.quantization = copy(tensor.quantization)
        tensor.quantization.details = copy(tensor.quantization.details)
        for name, number in zip(REFERS, named, strict=False):
            setattr(tensor.quantization.details, name, places[number])


def _body_fields(op: Any) -> Iterator[tuple[Any, str, str]]:
    """Options, where they stand, and the field in them, for each that names subgraphs."""
    for place in ("builtinOptions", "builtinOptions2"):
        options = getattr(op, place)
        for name in vars(options) if options is not None else ():
            if name == "subgraph" or name.endswith(("SubgraphIndex", "SubgraphIndices")):
                yield options, place, name


def _bodies(whole: Any, main: Any) -> list[int]:
    """The subgraphs that the main graph calls, and those that these call."""
    found, waiting = list[int](), [main]
    for graph in waiting:  # grows while it is walked
        for options, _, name in (each for op in graph.operators or () for each in _body_fields(op)):
            value = getattr(options, name)
            for index in map(int, value if hasattr(value, "__len__") else [value]):
                if 0 < index < len(whole.subgraphs) and index not in found:
                    found.append(index)
                    waiting.append(whole.subgraphs[index])
    return found


def _renumber_bodies(op: Any, places: dict[int, int]) -> None:
    for options, place, name in [*_body_fields(op)]:
        made, value = copy(options), getattr(options, name)
        one = not hasattr(value, "__len__")
        setattr(made, name, places.get(int(value), -1) if one else [places.get(int(i), -1) for i in value])
        setattr(op, place, made)


def _uses(graphs: Sequence[Any], items: str, name: str) -> list[tuple[Any, str]]:
    return [(item, name) for graph in graphs for item in getattr(graph, items)]


def _kept(before: Sequence[Any], uses: Sequence[tuple[Any, str]], first: int = 0) -> list[Any]:
    """Those of a list that are used, in the order of their first use; every use gets the new number."""
    places = dict[int, int]()
    for owner, name in uses:
        setattr(owner, name, places.setdefault(getattr(owner, name), first + len(places)))
    return [before[i] for i in places]


SMALL = 127  # numbers of operators up to here stand in the older field too


@dataclass(frozen=True, slots=True)
class Lie:
    """How a tensor's values lie elsewhere.

    Attributes:
        shape: the one that they have there.
        order: how the tensor's own axes, samples aside, are turned to be those; () where they lie alike.
    """

    shape: tuple[int, ...]
    order: Order = ()

    def fits(self, own: tuple[int, ...]) -> bool:
        """Whether values of this shape can lie so."""
        if self.order:
            return len(own) == len(self.order) + 1 and tuple(own[axis] for axis in self.axes) == self.shape
        return own[:1] == self.shape[:1] and np.prod(own) == np.prod(self.shape)

    @property
    def axes(self) -> tuple[int, ...]:
        """The order with the samples in front."""
        return (0, *(axis + 1 for axis in self.order))


def turned_ends(content: bytes, inputs: Sequence[Lie], outputs: Sequence[Lie]) -> bytes:
    """The model with a TRANSPOSE, or a RESHAPE, at each end that lies otherwise; each fits its tensor.

    Raises:
        BadModel: it cannot be written.
    """
    model = unpacked(content)
    graph = model.subgraphs[0]
    graph.inputs, before = _moved(model, graph.inputs, inputs, out=False)
    graph.outputs, behind = _moved(model, graph.outputs, outputs, out=True)
    graph.operators = [*before, *graph.operators, *behind]
    return packed(model)


def _moved(model: Any, ends: Sequence[int], lies: Sequence[Lie], *, out: bool) -> tuple[list[int], list[Any]]:
    """The ends as they lie elsewhere, and the operators that make them so."""
    tensors, found, moves = model.subgraphs[0].tensors, [int(i) for i in ends], list[Any]()
    for place, lie in enumerate(lies):
        if lie.order or lie.shape != tuple(int(n) for n in tensors[found[place]].shape):
            moves.append(_move(model, found[place], lie, out))
            found[place] = len(tensors) - 1
    return found, moves


def _move(model: Any, tensor: int, lie: Lie, out: bool) -> Any:
    """An operator between a tensor and the same values as they lie elsewhere, which are the graph's last tensor."""
    tables, graph = schema(), model.subgraphs[0]
    own = [int(n) for n in graph.tensors[tensor].shape]
    if lie.order:
        op, told = "TRANSPOSE", list(lie.axes if out else np.argsort(lie.axes))
    else:
        op, told = "RESHAPE", list(lie.shape) if out else own
    model.buffers.append(tables.BufferT())
    model.buffers[-1].data = np.frombuffer(np.asarray(told, np.int32).tobytes(), np.uint8)
    constant = tables.TensorT()
    constant.name, constant.shape, constant.buffer = b"", [len(told)], len(model.buffers) - 1
    constant.type, constant.hasRank = tables.TensorType.INT32, True
    other = copy(graph.tensors[tensor])
    other.shape, other.shapeSignature = [*lie.shape], None
    graph.tensors += [constant, other]
    there, told_by = len(graph.tensors) - 1, len(graph.tensors) - 2
    code = tables.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(tables.BuiltinOperator, op)
    code.version = 1
    model.operatorCodes.append(code)
    made = tables.OperatorT()
    made.opcodeIndex = len(model.operatorCodes) - 1
    made.inputs, made.outputs = ([tensor, told_by], [there]) if out else ([there, told_by], [tensor])
    return made
