"""A device that was recorded: which operator is the first not to give what the device's own inputs give.

Each operator is computed on the tensors that the device itself had before it, by the rules of each runtime that could
be meant; tensors that the dump leaves out are computed on the way. So what a device inherits is told from what it adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from quantdiff.graph import Graph, Model, Operator
from quantdiff.load.dumps.readings import Meant, meant, wrong_elements
from quantdiff.quant import Array
from quantdiff.sim.graph.chains import Outcome, attempt, fed_alike, simulate_each
from quantdiff.sim.graph.simulator import Missing, missing_inputs
from quantdiff.sim.runtime import Runtime

Values = dict[int, Array]
LOST = ("constant", "samples", "overwritten", "unknown")
"""Kinds of ``Meant`` of which the device may have computed on other values than it shows."""


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
        in_the_dump_alone: operators behind it fit the right values: it was read wrongly, not computed wrongly.
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
    in_the_dump_alone: bool = False
    why: str = ""
    by_rules: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All tensors of a dump in the order of computation, and how its numbers were read where not as they stand."""

    findings: tuple[TensorFinding, ...]
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> TensorFinding | None:
        """The first that is not what the device's own inputs give."""
        return next((each for each in self.findings if each.wrong), None)


@dataclass(slots=True)
class Walk:
    """What is held by each runtime's rules: of the device, and what belongs there where that is lost."""

    graph: Graph
    subgraphs: Sequence[Graph]
    recorded: Mapping[int, Array]
    held: dict[Runtime, Values]
    right: dict[Runtime, Values]
    clean: Mapping[Runtime, Mapping[int, Array]]
    doubtful: dict[int, int] = field(default_factory=dict)
    excused: set[int] = field(default_factory=set)

    def step(self, operator: Operator) -> list[TensorFinding]:
        """One operator on what the device had, and where that is doubtful on what belongs there."""
        given = self._outcomes(operator, self.held)
        beside: dict[Runtime, Outcome] = {}
        if any(i in right for right in self.right.values() for i in operator.inputs):
            beside = self._outcomes(operator, {r: held | self.right[r] for r, held in self.held.items()})
        found = list[TensorFinding]()
        for place, index in enumerate(operator.outputs):
            ours, own = _arrays(given, place), _arrays(beside, place)
            if index in self.recorded:
                found.append(self._judge(operator, index, ours, own, given))
            else:
                for rules, array in ours.items():
                    self.held[rules][index] = array
                for rules, array in own.items():
                    self.right[rules][index] = array
        return found

    def _outcomes(self, operator: Operator, held: Mapping[Runtime, Values]) -> dict[Runtime, Outcome]:
        found = dict[Runtime, Outcome]()
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
        ours: Mapping[Runtime, Array],
        own: Mapping[Runtime, Array],
        given: Mapping[Runtime, Outcome],
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
        best = counts.index(min(counts))
        _, expected, on_right = candidates[best]
        by_rules = dict[str, int]()
        for (rules, _, _), count in zip(candidates, counts, strict=True):
            by_rules[rules.value] = min(count, by_rules.get(rules.value, count))
        if on_right:
            self._excuse(operator)
        told = meant(device, expected, self._others(operator, index)) if counts[best] else None
        self._keep(index, device, told, own if on_right else ours)
        if told is not None and told.kind in LOST:
            self.doubtful[index] = operator.index
        return TensorFinding(
            operator.index, operator.op, index, tensor.label, "", device.size, counts[best], 0, told, by_rules=by_rules
        )

    def _keep(self, index: int, device: Array, told: Meant | None, expected: Mapping[Runtime, Array]) -> None:
        """What the operators behind it are fed with."""
        for rules, held in self.held.items():
            held[index] = device if told is None or told.values is None else told.values
            if told is not None and told.kind in LOST and rules in expected:
                self.right[rules][index] = expected[rules]

    def _excuse(self, operator: Operator) -> None:
        """The operator fits the right values: those that it reads were lost on the way to us only."""
        waiting = list(operator.inputs)
        for index in waiting:  # grows while it is walked
            if index in self.doubtful:
                self.excused.add(index)
            elif index >= 0 and index not in self.recorded and (maker := self.graph.producer(index)) is not None:
                waiting += [i for i in maker.inputs if i not in waiting]

    def _others(self, operator: Operator, index: int) -> dict[str, Array]:
        """Tensors that may lie in the same memory: as recorded, and as they should be."""
        clean = next(iter(self.clean.values()))
        found = dict[str, Array]()
        for maker in self.graph.operators:
            for each in maker.outputs:
                if each != index and not self.graph.tensors[each].is_constant:
                    name = f"{self.graph.tensors[each].label!r} (#{maker.index} {maker.op}, {_when(maker, operator)})"
                    if each in self.recorded:
                        found[name] = self.recorded[each]
                    elif each in clean:
                        found[name] = clean[each]
        for each in self.graph.inputs:
            found[f"the input {self.graph.tensors[each].label!r}"] = clean[each]
        return found


def _when(maker: Operator, operator: Operator) -> str:
    return "which runs later" if maker.index > operator.index else "which ran before"


def _arrays(outcomes: Mapping[Runtime, Outcome], place: int) -> dict[Runtime, Array]:
    return {rules: each[place] for rules, each in outcomes.items() if not isinstance(each, Missing)}


def diagnose(
    model: Model, inputs: Sequence[Array], recorded: Mapping[int, Array], rules: Sequence[Runtime]
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


def _nearest(found: Sequence[TensorFinding], rules: Sequence[Runtime]) -> Runtime:
    """The rules that most elements obey."""
    return min(rules, key=lambda r: sum(each.by_rules.get(r.value, each.count) for each in found))


def _with_clean(found: TensorFinding, walk: Walk, nearest: Runtime) -> TensorFinding:
    """The finding with its rules, and what differs from a run without any device."""
    clean, device = walk.clean[nearest].get(found.tensor), walk.recorded[found.tensor]
    differing = 0 if clean is None or clean.shape != device.shape else wrong_elements(device, clean)
    best = min(found.by_rules.values(), default=0)
    fitting = [name for name, wrong in found.by_rules.items() if wrong == best]
    rules = nearest.value if nearest.value in fitting else next(iter(fitting), "")
    excused = found.tensor in walk.excused
    return replace(found, rules=rules, differing=differing, in_the_dump_alone=excused)
