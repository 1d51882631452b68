"""Cut a file, and the reference that belongs to it, at the same values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from quantdiff.align.alignment import Alignment
from quantdiff.errors import NoSuchElement, QuantdiffError, UnsupportedOp
from quantdiff.graph import Graph, Model, Operator, Tensor
from quantdiff.ladder.switches import Switches, switches
from quantdiff.load.data import Batch, Order, turns
from quantdiff.load.extract import Lie, Part, extract, part_of, turned_ends
from quantdiff.load.tflite import read_model
from quantdiff.load.written import unpacked
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS
from quantdiff.quant import Array
from quantdiff.run.recorded import as_batch
from quantdiff.search.fault import MODEL, REFERENCE, Models

Partner = tuple[int, Order]


@dataclass(frozen=True, slots=True)
class File:
    """A file that is cut, as values and as LiteRT's own objects."""

    model: Model
    objects: Any = field(repr=False)

    @classmethod
    def of(cls, model: Model) -> File:
        """A model that was read from a file."""
        assert model.path is not None
        return cls(model, unpacked(model.whole()))


@dataclass(frozen=True, slots=True)
class Cutter:
    """What can be cut, and what went through it.

    Attributes:
        file: the candidate.
        values: its tensors as a runtime had them, by number. Shapes: (samples, *shape of the tensor).
        reference: the other file, if there is one.
        partners: tensor of the candidate → tensor of the reference, and how its axes are turned to be the candidate's.
        given: the data of its own inputs in real units, by tensor, where a run takes one sample; what the file clips or
            rounds there is a part of the fault.
        source: the data, for messages.
    """

    file: File
    values: Mapping[int, Array] = field(repr=False)
    reference: File | None = None
    partners: Mapping[int, Partner] = field(default_factory=dict)
    given: Mapping[int, Array] = field(default_factory=dict, repr=False)
    source: str = "memory"

    def fits(self, chosen: Collection[int], wanted: Sequence[int] = ()) -> bool:
        """Whether these operators can be cut out: everything at the cut is known, on both sides."""
        return self._parts(chosen, wanted) is not None

    def cut(self, chosen: Collection[int], rows: Sequence[int], wanted: Sequence[int] = ()) -> tuple[Models, Batch]:
        """The files and their data, some of the samples.

        Raises:
            QuantdiffError: these operators cannot be cut out.
        """
        parts = self._parts(chosen, wanted)
        if parts is None:
            raise NoSuchElement("these operators cannot be cut out")
        model = extract(self.file.objects, parts[0])
        inputs = [self.values[i][[*rows]] for i in parts[0].inputs]
        batch = as_batch(read_model(memoryview(model)), inputs, self.source)
        real = zip(batch.arrays.items(), parts[0].inputs, strict=True)
        arrays = {name: self.given[i][[*rows]] if i in self.given else array for (name, array), i in real}
        batch = Batch(arrays, None, self.source)
        files = {MODEL: model}
        if self.reference is not None and parts[1] is not None:
            files[REFERENCE] = self._as_here(extract(self.reference.objects, parts[1]), parts[0])
        return files, batch

    def _as_here(self, reference: bytes, part: Part) -> bytes:
        """A part of the reference that takes and gives what the candidate's takes and gives, as it lies there."""
        sides = [[self._lie(i) for i in ends] for ends in (part.inputs, part.outputs)]
        return turned_ends(reference, sides[0], sides[1])

    def _lie(self, tensor: int) -> Lie:
        return Lie(self.file.model.main.tensors[tensor].shape, self.partners[tensor][1])

    def _parts(self, chosen: Collection[int], wanted: Sequence[int]) -> tuple[Part, Part | None] | None:
        try:
            part = part_of(self.file.model.main, chosen, wanted)
        except QuantdiffError:
            return None
        if not part.inputs or any(i not in self.values for i in part.inputs):
            return None
        if self.reference is None:
            return part, None
        graph = self.reference.model.main
        if not all(self._is_known(graph, i) for i in (*part.inputs, *part.outputs)):
            return None
        ends = [[self.partners[i][0] for i in each] for each in (part.inputs, part.outputs)]
        other = _between(graph, ends[0], ends[1])
        return None if other is None else (part, other)

    def _is_known(self, reference: Graph, tensor: int) -> bool:
        """Whether it has a partner, as many values of it, sample by sample."""
        return tensor in self.partners and self._lie(tensor).fits(reference.tensors[self.partners[tensor][0]].shape)


def _between(graph: Graph, inputs: Sequence[Any], outputs: Sequence[Any]) -> Part | None:
    """All operators that lie between these tensors; None where they do not cut a graph out."""
    found, waiting, reached = set[int](), [*outputs], set[int]()
    for tensor in waiting:  # grows while it is walked
        maker = graph.producer(tensor)
        if tensor in inputs:
            reached.add(tensor)
        elif maker is not None and maker.index not in found:
            found.add(maker.index)
            waiting += [i for i in maker.inputs if i >= 0]
    if reached != {*inputs} or len({*inputs}) < len(inputs) or len({*outputs}) < len(outputs) or not found:
        return None
    part = part_of(graph, found, tuple(outputs))
    return Part(part.operators, tuple(inputs), part.outputs) if {*part.inputs} == {*inputs} else None


def partners_of(alignment: Alignment, candidate: Model, reference: Model) -> dict[int, Partner]:
    """Tensor of the candidate → that of the reference, floats that restate integers included.

    By values; behind the fault, where none agree, by the order of operators that compute on what is known.
    """
    ours, theirs = candidate.main, reference.main
    found = {match.candidate: (match.reference, match.order) for match in alignment.matches}
    _restate(ours, found)
    for mine, others in ((ours.inputs, theirs.inputs), (ours.outputs, theirs.outputs)):
        found |= _by_place(ours, theirs, mine, others, found)
    with suppress(UnsupportedOp):
        known = switches(candidate, reference)
        for op in ours.operators:
            _follow(op, known, theirs, found)
        _restate(ours, found)
    return found


def _restate(graph: Graph, found: dict[int, Partner]) -> None:
    for op in graph.operators:
        if op.op in (INTO_INTEGERS, INTO_FLOAT):
            for one, other in ((op.inputs[0], op.outputs[0]), (op.outputs[0], op.inputs[0])):
                if one in found and other not in found:
                    found[other] = found[one]


def _follow(op: Operator, known: Switches, reference: Graph, found: dict[int, Partner]) -> None:
    """Add the outputs of an operator whose partner computes them from the partners of its inputs, and nothing else."""
    inputs = [i for i in op.inputs if i in known.file.varying]
    if all(i in found for i in inputs):
        given = [*dict.fromkeys(found[i][0] for i in inputs)]
        for tensor in op.outputs:
            other = known.partners.get(tensor)
            if tensor not in found and other is not None and _between(reference, given, [other]) is not None:
                shapes = reference.tensors[other], known.file.graph.tensors[tensor]
                if shapes[0].shape == shapes[1].shape or turns(shapes[0].shape[1:], shapes[1].shape[1:]):
                    found[tensor] = other, _order(*shapes)


def _by_place(
    candidate: Graph, reference: Graph, ours: Sequence[int], theirs: Sequence[int], found: Mapping[int, Partner]
) -> dict[int, Partner]:
    """The ends that values do not pair, since the fault lies there: by their names, else by their places."""
    taken = {other for other, _ in found.values()}
    mine, others = [i for i in ours if i not in found], [i for i in theirs if i not in taken]
    names = {reference.tensors[i].name: i for i in others}
    if {candidate.tensors[i].name for i in mine} == names.keys():
        pairs = {i: names[candidate.tensors[i].name] for i in mine}
    else:
        pairs = dict(zip(mine, others, strict=True)) if len(mine) == len(others) else {}
    return {i: (other, _order(reference.tensors[other], candidate.tensors[i])) for i, other in pairs.items()}


def _order(reference: Tensor, candidate: Tensor) -> Order:
    """Channels first or last, where the shapes say so."""
    ours, theirs = reference.shape[1:], candidate.shape[1:]
    return () if ours == theirs else next(iter(turns(ours, theirs)), ())
