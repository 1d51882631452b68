"""Cut a file, and the reference that belongs to it, at the same values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantdiff.align.alignment import Alignment
from quantdiff.errors import NoSuchElement, QuantdiffError
from quantdiff.graph import Graph, Model
from quantdiff.load.data import Batch
from quantdiff.load.extract import Part, extract, part_of
from quantdiff.load.tflite import read_model
from quantdiff.load.written import unpacked
from quantdiff.ops import INTO_FLOAT, INTO_INTEGERS
from quantdiff.quant import Array
from quantdiff.run.extracts import as_batch
from quantdiff.search.fault import MODEL, REFERENCE, Models


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
        partners: tensor of the candidate → tensor of the reference.
        given: the data of its own inputs in real units, by tensor, where a run takes one sample; what the file clips or
            rounds there is a part of the fault.
        source: the data, for messages.
    """

    file: File
    values: Mapping[int, Array] = field(repr=False)
    reference: File | None = None
    partners: Mapping[int, int] = field(default_factory=dict)
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
            files[REFERENCE] = extract(self.reference.objects, parts[1])
        return files, batch

    def _parts(self, chosen: Collection[int], wanted: Sequence[int]) -> tuple[Part, Part | None] | None:
        try:
            part = part_of(self.file.model.main, chosen, wanted)
        except QuantdiffError:
            return None
        if not part.inputs or any(i not in self.values for i in part.inputs):
            return None
        if self.reference is None:
            return part, None
        ends = [[self.partners.get(i) for i in each] for each in (part.inputs, part.outputs)]
        other = None if None in (*ends[0], *ends[1]) else _between(self.reference.model.main, ends[0], ends[1])
        return None if other is None else (part, other)


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


def partners_of(alignment: Alignment, candidate: Graph, reference: Graph) -> dict[int, int]:
    """Tensor of the candidate → that of the reference, floats that restate integers included."""
    found = {match.candidate: match.reference for match in alignment.matches}
    for op in candidate.operators:
        if op.op in (INTO_INTEGERS, INTO_FLOAT):
            for one, other in ((op.inputs[0], op.outputs[0]), (op.outputs[0], op.inputs[0])):
                if one in found and other not in found:
                    found[other] = found[one]
    for ours, theirs in ((candidate.inputs, reference.inputs), (candidate.outputs, reference.outputs)):
        found |= _by_place(candidate, reference, ours, theirs, found)
    return found


def _by_place(
    candidate: Graph, reference: Graph, ours: Sequence[int], theirs: Sequence[int], found: Mapping[int, int]
) -> dict[int, int]:
    """The ends that values do not pair, since the fault lies there: by their names, else by their places."""
    mine, others = ([i for i in ends if i not in known] for ends, known in ((ours, found), (theirs, found.values())))
    names = {reference.tensors[i].name: i for i in others}
    if {candidate.tensors[i].name for i in mine} == names.keys():
        return {i: names[candidate.tensors[i].name] for i in mine}
    return dict(zip(mine, others, strict=True)) if len(mine) == len(others) else {}
