"""A model as nodes in ONNX's words: what a file says, and what one run of it shows; no package of ONNX in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from quantdiff.layer import TrainedRange
from quantdiff.load.data import Slot
from quantdiff.quant import Array


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: ``op`` is ONNX's name for it, ``inputs`` and ``outputs`` name values; "" is one left out."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def at(self, place: int) -> str:
        """The name of an input; "" for one that is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True, slots=True)
class Program:
    """Nodes in an order in which they can run.

    Attributes:
        name: the file's, for messages.
        inputs: what it takes.
        outputs: names of values.
        nodes: its operators.
        constants: by name the values that do not depend on the inputs.
        examples: by name what the others are for ``samples`` samples of zeros, samples along axis 0.
        samples: how many that are.
        unseen: those that the words put between, and that no run shows.
        trained: by the integers that a quantizer gives what it has learned of its range.
    """

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)
    examples: Mapping[str, Array] = field(default_factory=dict, compare=False, repr=False)
    samples: int = 1
    unseen: frozenset[str] = frozenset()
    trained: Mapping[str, TrainedRange] = field(default_factory=dict, compare=False, repr=False)

    @property
    def varying(self) -> frozenset[str]:
        """The values that depend on the inputs."""
        found = {slot.name for slot in self.inputs}
        for node in self.nodes:
            if any(name in found for name in node.inputs):
                found.update(name for name in node.outputs if name)
        return frozenset(found)

    @property
    def by_shape(self) -> frozenset[str]:
        """Of these the ones that follow from shapes alone, whatever the data."""
        varying, found = self.varying, set[str]()
        for node in self.nodes:
            fed = [name for name in node.inputs if name in varying]
            if fed and (node.op in ("Shape", "Size") or all(name in found for name in fed)):
                found.update(name for name in node.outputs if name)
        return frozenset(found)

    def with_constants(self, stored: Mapping[str, Array]) -> Program:
        """The same, knowing what is stored and, by its examples, what follows from that or from shapes alone."""
        varying = self.varying - self.by_shape
        fixed = {name: array for name, array in self.examples.items() if name not in varying}
        return replace(self, constants={**stored, **fixed})
