"""A device that was recorded: which operator is the first not to give what the device's own inputs give.

Each operator is computed on the tensors that the device itself had before it, by the rules of each runtime that could
be meant; tensors that the dump leaves out are computed on the way. So what a device inherits is told from what it adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from quantdiff.graph import Graph, Model, Operator
from quantdiff.load.dumps.readings import RELATIVE, Meant, meant, read_otherwise, wrong_elements
from quantdiff.quant import Array
from quantdiff.run.recorded import RecordedRuntime
from quantdiff.sim.device import Rules
from quantdiff.sim.graph.chains import Outcome, attempt, fed_alike, simulate_each
from quantdiff.sim.graph.simulator import Missing, missing_inputs
from quantdiff.sim.runtime import Runtime

Values = dict[int, Array]
LOST = ("unknown", "arithmetic")


FLOATS = ("float16", "float32", "float64")
HOW_FLOATS = f"floats count as the same up to {RELATIVE:g} of the largest value of their tensor"


@dataclass(frozen=True, slots=True)
class TensorFinding:
    """One tensor of a dump, held against what the device's own inputs give.

    Attributes:
        operator, op: who makes it.
        tensor, name: which one it is.
        rules: the runtime whose rules come nearest, of several the one that fits most of the dump.
        count: elements.
        wrong: those that are not what the device's own inputs give.
        differing: those that are not what the file gives from its inputs on: inherited, and new.
        meant: why they are wrong, as far as that can be told; None where none are, or the operator is not simulated.
        passed_on: whether operators behind it were computed from these values; False: from the right ones, so that it
            was read wrongly, not computed wrongly; None where nothing tells.
        why: where the simulator lacks the operator.
        by_rules: wrong elements by each runtime's rules.
    """

    operator: int
    op: str
    tensor: int
    name: str
    rules: str
    count: int
    wrong: int
    differing: int
    meant: Meant | None = None
    passed_on: bool | None = None
    why: str = ""
    by_rules: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All tensors of a dump in the order of computation, and how its numbers were read where not as they stand.

    ``nearest`` are the rules that most elements obey; None where no tensor can be computed.
    """

    findings: tuple[TensorFinding, ...]
    notes: tuple[str, ...] = ()
    nearest: Rules | None = None

    @property
    def first(self) -> TensorFinding | None:
        """The first that is not what the device's own inputs give."""
        return next((each for each in self.findings if each.wrong), None)


@dataclass(slots=True)
class Walk:
    """What is held by each runtime's rules: of the device as it is meant, and the other thing that it may have had.

    ``right_is_other``: for each tensor that is wrong, whether the right values are that other thing.
    """

    graph: Graph
    subgraphs: Sequence[Graph]
    recorded: Mapping[int, Array]
    held: dict[Rules, Values]
    other: dict[Rules, Values]
    clean: Mapping[Rules, Mapping[int, Array]]
    right_is_other: dict[int, bool] = field(default_factory=dict)
    passed_on: dict[int, bool] = field(default_factory=dict)

    def step(self, operator: Operator) -> list[TensorFinding]:
        """One operator on what the device had, and where that is doubtful on what belongs there."""
        given = self._outcomes(operator, self.held)
        beside: dict[Rules, Outcome] = {}
        if any(i in other for other in self.other.values() for i in operator.inputs):
            beside = self._outcomes(operator, {r: held | self.other[r] for r, held in self.held.items()})
        found = list[TensorFinding]()
        for place, index in enumerate(operator.outputs):
            ours, own = _arrays(given, place), _arrays(beside, place)
            if index in self.recorded:
                found.append(self._judge(operator, index, ours, own, given))
            else:
                for rules, array in ours.items():
                    self.held[rules][index] = array
                for rules, array in own.items():
                    self.other[rules][index] = array
        return found

    def _outcomes(self, operator: Operator, held: Mapping[Rules, Values]) -> dict[Rules, Outcome]:
        found = dict[Rules, Outcome]()
        for group in fed_alike(operator, held):
            if absent := missing_inputs(self.graph, operator, held[group[0]]):
                why = f"tensor {self.graph.tensors[absent[0]].label!r} cannot be computed"
                found |= dict.fromkeys(group, Missing(operator.index, operator.op, why))
                continue
            found |= attempt(self.graph, operator, held[group[0]], group, self.subgraphs)
        return found

    def _judge(
        self,
        operator: Operator,
        index: int,
        ours: Mapping[Rules, Array],
        own: Mapping[Rules, Array],
        given: Mapping[Rules, Outcome],
    ) -> TensorFinding:
        device = self.recorded[index]
        candidates = [(rules, array, False) for rules, array in ours.items()]
        candidates += [(rules, array, True) for rules, array in own.items()]
        candidates = [each for each in candidates if each[1].shape == device.shape]
        tensor = self.graph.tensors[index]
        if not candidates:
            for held in self.held.values():
                held[index] = device
            why = next((o.why for o in given.values() if isinstance(o, Missing)), "its shape is another one")
            return TensorFinding(operator.index, operator.op, index, tensor.label, "", device.size, 0, 0, why=why)
        counts = [wrong_elements(device, array) for _, array, _ in candidates]
        told = self._told(operator, index, candidates) if min(counts) else [None] * len(counts)
        left = [
            count if each is None or each.wrong is None else each.wrong
            for count, each in zip(counts, told, strict=True)
        ]
        best = left.index(min(left))
        by_rules = dict[str, int]()
        for (rules, _, _), count in zip(candidates, left, strict=True):
            by_rules[rules.value] = min(count, by_rules.get(rules.value, count))
        by_side = {
            side: min(n for n, (_, _, its) in zip(counts, candidates, strict=True) if its is side)
            for side in {its for _, _, its in candidates}
        }
        if len({*by_side.values()}) > 1:
            self._follow(operator, on_other=candidates[best][2])
        self._keep(index, told[best], own if candidates[best][2] else ours)
        wrong = counts[best]
        return TensorFinding(
            operator.index, operator.op, index, tensor.label, "", device.size, wrong, 0, told[best], by_rules=by_rules
        )

    def _told(
        self, operator: Operator, index: int, candidates: Sequence[tuple[Rules, Array, bool]]
    ) -> list[Meant | None]:
        """Why the tensor is not what is expected, for each way to expect it; equal arrays are one."""
        known, others = dict[int, Meant](), self._others(operator, index)
        return [
            known.setdefault(id(a), known.get(id(a)) or meant(self.recorded[index], a, others))
            for _, a, _ in candidates
        ]

    def _keep(self, index: int, told: Meant | None, expected: Mapping[Rules, Array]) -> None:
        """What the operators behind it are fed with: as it is meant, and the other thing that it may have been."""
        device = self.recorded[index]
        read = device if told is None or told.values is None else told.values
        for rules, held in self.held.items():
            held[index] = read
            if read is not device:
                self.other[rules][index] = device
            elif told is not None and rules in expected:
                self.other[rules][index] = expected[rules]
        if told is not None:
            self.right_is_other[index] = read is device

    def _follow(self, operator: Operator, *, on_other: bool) -> None:
        """The operator fits one side alone, so this is what the device had of the wrong tensors that it reads."""
        waiting = list(operator.inputs)
        for index in waiting:  # grows while it is walked
            if index in self.right_is_other:
                self.passed_on.setdefault(index, self.right_is_other[index] is not on_other)
            elif index >= 0 and index not in self.recorded and (maker := self.graph.producer(index)) is not None:
                waiting += [i for i in maker.inputs if i not in waiting]

    def _others(self, operator: Operator, index: int) -> dict[str, Array]:
        """Tensors that may lie in the same memory: as recorded, and as they should be."""
        clean = next(iter(self.clean.values()))
        found = dict[str, Array]()
        for maker in self.graph.operators:
            for each in maker.outputs:
                if each != index and not self.graph.tensors[each].is_constant:
                    name = f"tensor {each} (#{maker.index} {maker.op}, {_when(maker, operator)})"
                    if each in self.recorded:
                        found[name] = self.recorded[each]
                    elif each in clean:
                        found[name] = clean[each]
        for each in self.graph.inputs:
            found[f"the input (tensor {each})"] = clean[each]
        return found


def _when(maker: Operator, operator: Operator) -> str:
    return "which runs later" if maker.index > operator.index else "which ran before"


def _arrays(outcomes: Mapping[Rules, Outcome], place: int) -> dict[Rules, Array]:
    return {rules: each[place] for rules, each in outcomes.items() if not isinstance(each, Missing)}


def diagnose_device(
    model: Model, inputs: Sequence[Array], device: RecordedRuntime, rules: Sequence[Rules] = ()
) -> Diagnosis:
    """What a dump shows, by ``rules``, else by those that it names or by all that there are.

    Raises as ``RecordedRuntime.attend``.
    """
    rules = rules or (list(Runtime) if device.rules is None else [device.rules])
    recorded, notes = device.recorded(model, inputs), device.read_as(model)
    found = diagnose(model, inputs, recorded, rules)
    if _is_lost(found):
        for index, told, values in _inputs_otherwise(model, inputs, recorded, rules):
            found = diagnose(model, inputs, {**recorded, index: values}, rules)
            notes = (*notes, f"the device was fed with input {model.main.tensors[index].label!r}, {told}")
    if any(not each.why and model.main.tensors[each.tensor].dtype in FLOATS for each in found):
        notes = (*notes, HOW_FLOATS)
    known = any(not each.why for each in found)
    return Diagnosis(found, notes, _nearest(found, rules) if known else None)


def _is_lost(found: Sequence[TensorFinding]) -> bool:
    """Whether the first tensor that can be computed is nothing that its inputs could give."""
    first = next((each for each in found if not each.why), None)
    return first is not None and first.meant is not None and first.meant.kind in LOST


def _inputs_otherwise(
    model: Model, inputs: Sequence[Array], recorded: Mapping[int, Array], rules: Sequence[Rules]
) -> Iterator[tuple[int, str, Array]]:
    """The first reading of an input of the dump with which the rest makes sense; tried on one sample."""
    few = {i: array[:1] for i, array in recorded.items()}
    for index in model.main.inputs:
        for told, values in read_otherwise(recorded[index]) if index in recorded else ():
            tried = diagnose(model, [a[:1] for a in inputs], {**few, index: values[:1]}, rules)
            if not _is_lost(tried):
                yield index, told, values
                return


def diagnose(
    model: Model, inputs: Sequence[Array], recorded: Mapping[int, Array], rules: Sequence[Rules]
) -> tuple[TensorFinding, ...]:
    """Hold every recorded tensor against what the device's own inputs give by each of ``rules``.

    Shapes: each input and tensor (runs, *shape).
    """
    graph = model.main
    fed = [recorded.get(i, given) for i, given in zip(graph.inputs, inputs, strict=True)]
    chains = simulate_each(graph, fed, tuple(rules), model.subgraphs)
    start = dict(zip(graph.inputs, fed, strict=True))
    walk = Walk(
        graph, model.subgraphs, recorded, {r: dict(start) for r in rules}, {r: {} for r in rules},
        {r: chain.values for r, chain in chains.items()},
    )  # fmt: skip
    found = [finding for operator in graph.operators for finding in walk.step(operator)]
    nearest = _nearest(found, rules)
    return tuple(_with_clean(each, walk, nearest) for each in found)


def _nearest(found: Sequence[TensorFinding], rules: Sequence[Rules]) -> Rules:
    """The rules that most elements obey."""
    return min(rules, key=lambda r: sum(each.by_rules.get(r.value, each.count) for each in found))


def _with_clean(found: TensorFinding, walk: Walk, nearest: Rules) -> TensorFinding:
    """The finding with its rules, and what differs from a run without any device."""
    clean, device = walk.clean[nearest].get(found.tensor), walk.recorded[found.tensor]
    differing = 0 if clean is None or clean.shape != device.shape else wrong_elements(device, clean)
    best = min(found.by_rules.values(), default=0)
    fitting = [name for name, wrong in found.by_rules.items() if wrong == best]
    rules = nearest.value if nearest.value in fitting else next(iter(fitting), "")
    return replace(found, rules=rules, differing=differing, passed_on=walk.passed_on.get(found.tensor))
