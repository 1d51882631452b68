"""A file with its lowered reference: what can be exchanged between them, and the settings of the rungs.

Both graphs are made ready for real arithmetic first: loops written out, variables as delays, constants in real units,
those that operators only move or recode too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from quantdiff.errors import UnsupportedOp
from quantdiff.graph import STATE, Graph, Model, Operator, Tensor
from quantdiff.ladder.explanation import BIAS, CLIPPING, INPUT, RANGES, REWRITTEN, STEPS, WEIGHTS
from quantdiff.ladder.matching import RECODES, Lowered, Match, lowered, match_constants, pair_operators, with_clamps
from quantdiff.ladder.real_graph import Grid, RealGraph, Setting, Values, grid_of, in_loops, is_delay
from quantdiff.ladder.real_operator import CHOOSES, fold, folds, in_units_of_sums, real_constant
from quantdiff.ladder.refolding import folded
from quantdiff.ladder.streams import CONTROL, delayed, unrolled
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS, traits
from quantdiff.quant import Array
from quantdiff.sim.node import NoKernel, fitting, node_of

MADE_UP = ("StatefulPartitionedCall", "PartitionedCall", "Identity", "tfl.", "arith.", "tensor ")
"""How names begin that a converter gives."""
SWITCHES = (INPUT, RANGES, WEIGHTS, BIAS, CLIPPING, STEPS)
"""What is exchanged between the reference's graph and the file's, in the order of the ladder."""


@dataclass(frozen=True, slots=True)
class Switches:
    """Everything that does not change with the data.

    ``matches`` by constant of the file; ``biases`` are those of them that are added to sums. ``own``: the reference's
    grids on tensors of the file. ``inputs``: where the float input becomes the file's integers. ``ends``: by output
    the tensor whose grid is the output's own, None where it has none, or where others read it too. ``partners``:
    by tensor of the file the tensor of the reference. ``shapes`` are those at run time, which a file need not state.
    ``names``: by tensor of the file the layer that the alignment matched with it. ``alike``: tensors of the file and
    of the reference, in pairs, that hold the very same values before anything is exchanged.
    """

    model: Model
    lowering: Model
    file: RealGraph
    reference: Lowered
    matches: Mapping[int, Match]
    biases: AbstractSet[int]
    own: Mapping[int, Grid]
    inputs: AbstractSet[int]
    ends: tuple[int | None, ...]
    partners: Mapping[int, int]
    shapes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    alike: AbstractSet[tuple[int, int]] = frozenset()

    def layer_of(self, tensor: int) -> str:
        """The reference's name of a tensor of the file: of the alignment, else of its partner or its kernel."""
        if tensor in self.names:
            return self.names[tensor]
        graph, real = self.file.graph, self.reference.real.graph
        maker, partner = graph.producer(tensor), self.partners.get(tensor)
        labels = [graph.tensors[tensor].label] if partner is None else [real.tensors[partner].label]
        for constant in maker.inputs if maker is not None else ():
            match = self.matches.get(constant)
            labels += [real.tensors[match.other].label] if match is not None and match.other is not None else []
        return next((label for label in labels if not label.startswith(MADE_UP)), labels[0])

    def setting(self, exchanged: AbstractSet[str]) -> Setting:
        """The file's graph with the reference's side of all that is not ``exchanged``; output grids are left off."""
        last = {i for i in self.ends if i is not None}
        fixed = self.file.varying - last
        mine = fixed & self.inputs if INPUT in exchanged else frozenset[int]()
        inner = fixed - self.inputs
        owned = inner & self.own.keys()
        clipped = rounded = mine
        if RANGES in exchanged:
            clipped, rounded = clipped | owned, rounded | owned
        if CLIPPING in exchanged:
            clipped = clipped | (inner - owned)
        if STEPS in exchanged:
            rounded = rounded | (inner - owned)
        own = {
            i: grid
            for i, grid in self.own.items()
            if i not in last and (INPUT if i in self.inputs else RANGES) not in exchanged
        }
        return Setting(self.constants(WEIGHTS in exchanged, BIAS in exchanged), own, clipped, rounded)

    def constants(self, weights: bool, biases: bool) -> Values:
        """The reference's constants, but for those that are exchanged."""
        return {
            i: match.value
            for i, match in self.matches.items()
            if match.value is not None and not (biases if i in self.biases else weights)
        }

    def mechanism(self, tensor: int) -> str:
        """Which switch a constant belongs to."""
        return BIAS if tensor in self.biases else WEIGHTS

    @property
    def rewritten(self) -> Setting:
        """Nothing exchanged."""
        return self.setting(frozenset())

    def lowered_setting(self, ends: AbstractSet[int] = frozenset()) -> Setting:
        """The reference as it is: its own grids, those of its ``ends`` left off."""
        real = self.reference.real
        on = frozenset(real.varying - {i for i in real.grids if self.reference.of(i) in ends})
        return Setting({}, {}, on, on)

    def rungs(self) -> list[tuple[str, Setting]]:
        """The settings between the rewritten reference and the file's rounding."""
        rungs = [(REWRITTEN, self.rewritten)]
        return rungs + [(m, self.setting(frozenset(SWITCHES[: k + 1]))) for k, m in enumerate(SWITCHES)]


def switches(model: Model, lowering: Model) -> Switches:
    """Match the file with its lowered reference.

    Raises:
        UnsupportedOp: a graph holds what has no real arithmetic here.
    """
    file, reference = real_graph(model.main, model.subgraphs), lowered(real_graph(lowering.main, lowering.subgraphs))
    pairs = pair_operators(file, reference)
    alone = {op.index for op in reference.operators} - {theirs.index for _, theirs in pairs}
    if alone:
        reference = lowered(folded(reference.real, alone))
        pairs = pair_operators(file, reference)
    file = with_clamps(file, reference, pairs)
    pairs = tuple((file.graph.operators[ours.index], theirs) for ours, theirs in pairs)
    partners = _partners(file, reference, pairs)
    own = _own(file, _reference_grids(file, reference, partners))
    inputs = _inputs(model.main)
    return Switches(
        model,
        lowering,
        file,
        reference,
        match_constants(file, reference, pairs),
        frozenset(_biases(file)),
        own,
        frozenset(inputs),
        tuple(_end(file, i) for i in model.main.outputs),
        partners,
    )


def _partners(file: RealGraph, reference: Lowered, pairs: tuple[tuple[Operator, Operator], ...]) -> dict[int, int]:
    """By tensor of the file the reference's: outputs of paired operators, and the inputs that they read."""
    found: dict[int, int] = {}
    sources = _inputs(file.graph)
    for ours, theirs in pairs:
        for mine, own in zip(ours.inputs, theirs.inputs, strict=False):
            given = _restated(file, mine, sources)
            if given in sources:
                found.setdefault(given, reference.of(own))
        source = reference.of(theirs.inputs[0])
        if ours.op == "TRANSPOSE" and found.get(_restated(file, ours.inputs[0], ()), source) != source:
            continue  # each turns another value
        for mine, own in zip(ours.outputs, theirs.outputs, strict=False):
            activation = str(ours.options.get("fused_activation_function", "NONE"))
            unfused = theirs.options.get("fused_activation_function", "NONE") == "NONE" != activation
            behind = reference.clamp_behind(own, activation) if unfused else None
            found[mine] = own if behind is None else behind
    for operator in file.operators:  # what restates a tensor has its partner
        if operator.op in RECODES and operator.inputs[0] in found:
            found.setdefault(operator.outputs[0], found[operator.inputs[0]])
    return found


def copied_from(switches: Switches, tensor: int) -> Grid | None:
    """The grid of what an operator moves, where the file says another one of its output: kernels copy the integers."""
    file = switches.file
    maker, own = file.graph.producer(tensor), file.grids.get(tensor)
    if maker is None or own is None or not traits(maker.op).moves or traits(maker.op).joins:
        return None
    given = file.grids.get(maker.inputs[traits(maker.op).x])
    return None if given is None or given.same(own) else given


def _turns(operator: Operator) -> bool:
    """Whether an operator gives the same values, all of them, in another order, shape or type."""
    return operator.op in (*RECODES, "TRANSPOSE") or traits(operator.op).keeps_order


def _restated(file: RealGraph, tensor: int, sources: Sequence[int]) -> int:
    """The input that a tensor restates, else the tensor before all restating."""
    maker = file.graph.producer(tensor)
    while tensor not in sources and maker is not None and maker.op in RECODES:
        tensor = maker.inputs[0]
        maker = file.graph.producer(tensor)
    return tensor


def _reference_grids(file: RealGraph, reference: Lowered, partners: Mapping[int, int]) -> dict[int, Grid]:
    """By tensor of the file that has a grid the reference's; what either side has turned lies on the grid before it."""
    found: dict[int, Grid] = {}
    for tensor in file.grids:
        root = tensor
        while root not in partners and (maker := file.graph.producer(root)) is not None and _turns(maker):
            root = maker.inputs[0]
        partner = partners.get(root)
        while partner is not None and partner not in reference.grids:
            maker = reference.real.graph.producer(partner)
            partner = reference.of(maker.inputs[0]) if maker is not None and _turns(maker) else None
        if partner is not None:
            found[tensor] = reference.grids[partner]
    return found


def _own(file: RealGraph, found: Mapping[int, Grid]) -> dict[int, Grid]:
    """The reference's grids where the file has its own: one that the reference puts on behind a move stands before it.

    A file quantizes its input at once, a reference may flatten it first. Where tensors are joined, a file gives all
    of them one grid; a reference may round each on its own, and all of them once more.
    """
    own = {i: grid for i, grid in found.items() if i not in file.copies or _joins(file, i)}
    for tensor, grid in found.items():
        root = _moved_from(file, tensor)
        if root is not None:
            own.setdefault(root, grid)
    return own


def _joins(file: RealGraph, tensor: int) -> bool:
    maker = file.graph.producer(tensor)
    return maker is not None and traits(maker.op).joins


def _moved_from(file: RealGraph, tensor: int) -> int | None:
    """The tensor that a copy moves; None where others read it, or where several are joined."""
    while tensor in file.copies:
        maker = file.graph.producer(tensor)
        if maker is None or traits(maker.op).joins or not traits(maker.op).moves:
            return None
        tensor = maker.inputs[traits(maker.op).x]
        if len(file.graph.readers(tensor)) > 1:
            return None
    return tensor


def _inputs(graph: Graph) -> list[int]:
    """Tensors at which a float input first meets a grid."""
    at_once = [i for i in graph.inputs if graph.tensors[i].grid is not None]
    quantized = [op.outputs[0] for op in graph.operators if op.op == INTO_INTEGERS and op.inputs[0] in graph.inputs]
    return at_once + [i for i in quantized if graph.tensors[i].grid is not None and not _graph_reads_integers(graph, i)]


def _graph_reads_integers(graph: Graph, tensor: int) -> bool:
    maker = graph.producer(tensor)
    return maker is not None and graph.tensors[maker.inputs[0]].grid is not None


def _biases(file: RealGraph) -> list[int]:
    """Constants that are added to sums: by their place, or by their type."""
    tensors = file.graph.tensors
    found = []
    for operator in file.operators:
        for place, tensor in enumerate(operator.inputs):
            if tensor in file.constants and file.constants[tensor].dtype.kind == "f":
                wide = tensors[tensor].dtype in ("int32", "int64")
                if place == traits(operator.op).bias or (wide and traits(operator.op).stateful):
                    found.append(tensor)
    return found


def _end(file: RealGraph, output: int) -> int | None:
    """The tensor whose grid is the output's own; None where there is none, or where others read it too."""
    graph, tensor = file.graph, output
    while tensor not in file.grids or tensor in file.copies:
        maker = graph.producer(tensor)
        if maker is None or len(graph.readers(tensor)) > (tensor != output):
            return None
        known = traits(maker.op)
        if not (maker.op == INTO_FLOAT or (known.moves and not known.joins and not known.splits)):
            return None
        tensor = maker.inputs[known.x]
    alone = len(graph.readers(tensor)) <= (tensor != output) and (tensor == output or tensor not in graph.outputs)
    return tensor if alone and graph.producer(tensor) is not None else None


ON_STATE = ("CALL_ONCE", "VAR_HANDLE", "ASSIGN_VARIABLE")


def real_graph(graph: Graph, subgraphs: Sequence[Graph] = ()) -> RealGraph:
    """The graph with its constants in real units, its control flow written out and its variables as delays.

    Raises:
        UnsupportedOp: a loop whose end depends on the data, or a constant that cannot be read as real numbers.
    """
    origin: Mapping[int, Operator] = {}
    try:
        with fitting():
            if any(operator.op in CONTROL for operator in graph.operators):
                graph, origin = unrolled(graph, subgraphs)
            if any(operator.op in STATE for operator in graph.operators):
                graph = delayed(graph, subgraphs)
    except NoKernel as error:
        raise UnsupportedOp(f"control flow: {error}") from error
    graph = in_units_of_sums(graph)
    constants, folded = _constants(graph)
    folded |= {op.index for op in graph.operators if op.op in ON_STATE} | unread(graph)
    made = [i for op in graph.operators if op.index not in folded for i in op.outputs]
    grids = {i: grid for i in (*graph.inputs, *made) if i not in constants and (grid := grid_of(graph, i)) is not None}
    copies = {i for op in graph.operators if _copies(graph, op, constants) for i in op.outputs if i in grids}
    return RealGraph(graph, constants, folded, grids, copies, in_loops(graph, folded), origin)


def _constants(graph: Graph) -> tuple[dict[int, Array], set[int]]:
    """Every constant in real units, with what operators make of constants alone; and these operators."""
    tensors, folded = graph.tensors, set[int]()
    named = sorted({i for op in graph.operators for i in op.inputs if i >= 0 and tensors[i].is_constant})
    try:
        constants = {i: real_constant(tensors[i]) for i in named}
    except NoKernel as error:
        raise UnsupportedOp(str(error)) from error
    refolded = _behind_refolding(graph)
    for operator in graph.operators:
        node = node_of(graph, operator)
        known = all(i < 0 or i in constants for i in operator.inputs)
        known |= operator.op == "SHAPE" and has_fixed_shape(node.x) and operator.inputs[0] not in refolded
        if known and operator.inputs and not is_delay(operator) and folds(node):
            folded.add(operator.index)
            try:
                made = fold(node, [constants.get(i) for i in operator.inputs])
            except (NoKernel, ValueError, TypeError, IndexError) as error:
                raise UnsupportedOp(f"operator {operator.index} {operator.op}: {error}") from error
            constants.update(zip(operator.outputs, made, strict=True))
    return constants, folded


def _behind_refolding(graph: Graph) -> set[int]:
    """Tensors behind a RESHAPE that makes several rows of one sample, as windows do.

    The file states one row there: what it says of shapes contradicts itself, and only a run tells them.
    """
    found = set[int]()
    for operator in graph.operators:
        sizes = [math.prod(graph.tensors[i].shape) for i in (*operator.inputs[:1], *operator.outputs) if i >= 0]
        if (operator.op == "RESHAPE" and len(set(sizes)) > 1) or not found.isdisjoint(operator.inputs):
            found.update(operator.outputs)
    return found


def has_fixed_shape(tensor: Tensor) -> bool:
    """Whether the shape that the file states is the one at run time, the number of samples aside."""
    signature = tensor.shape_signature
    return signature is None or tuple(signature[1:]) == tuple(tensor.shape[1:])


def _copies(graph: Graph, operator: Operator, constants: Values) -> bool:
    """Whether the operator's outputs lie on their grid because its inputs lie on the same one."""
    known = traits(operator.op)
    if is_delay(operator):
        return all(graph.tensors[i].quant == graph.tensors[operator.outputs[0]].quant for i in operator.inputs)
    if not known.moves or any(i < 0 for i in operator.outputs):
        return False
    joined = operator.inputs if known.joins or operator.op in CHOOSES[1:3] else (operator.inputs[known.x],)
    held = [i for i in joined if i >= 0 and graph.tensors[i].grid is not None]
    data = [graph.tensors[i] for i in held if i not in constants] or [graph.tensors[i] for i in held]  # or a table's
    return bool(data) and all(t.quant == graph.tensors[o].quant for t in data for o in operator.outputs)


def unread(graph: Graph) -> set[int]:
    """The operators of a stream that no output hangs on: what only keeps a steady variable as it is."""
    if not any(operator.op in STATE for operator in graph.operators):
        return set()
    left, read = {op.index: op for op in graph.operators}, set(graph.outputs)
    while found := [op for op in left.values() if not read.isdisjoint(op.outputs)]:
        read.update(i for op in found for i in op.inputs)
        for op in found:
            del left[op.index]
    return set(left)
