"""A ladder that is set up: both ends, what belongs to what, and which rungs there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantdiff.align.alignment import TensorPair
from quantdiff.graph import Model
from quantdiff.ladder.account import Account, LayerAccount
from quantdiff.ladder.candidate_end import chains
from quantdiff.ladder.explanation import CURVES, EXACT, MECHANISMS, ROUNDING
from quantdiff.ladder.reference_end import ReferenceEnd, reference_end
from quantdiff.ladder.targets import OutputGrids, ends_of_file, order_of_outputs
from quantdiff.load.data import Batch
from quantdiff.parameters.sides import ModelPair
from quantdiff.quant import Array, dequantize
from quantdiff.references.keras.reference import KerasReference
from quantdiff.run.inner_tensors import Reading
from quantdiff.sim.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Question:
    """Why ``model`` gives other outputs than ``keras`` on these data.

    Outputs without a grid count as equal within ``tolerance``, in real units.
    """

    keras: KerasReference
    model: Model
    batch: Batch
    tolerance: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """Everything that does not change from slice to slice."""

    end: ReferenceEnd
    sides: ModelPair
    model: Model
    runtime: Runtime
    ends: OutputGrids
    pairs: Mapping[str, TensorPair]
    missing: tuple[str, ...]
    borrowed: tuple[str, ...]

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The rungs; without the simulator's where it lacks an operator."""
        return tuple(m for m in MECHANISMS if not (self.missing and m in (EXACT, CURVES, ROUNDING)))

    def force(self, values: Mapping[int, Array]) -> dict[str, Array]:
        """A runtime's values of every layer that is paired, in real units."""
        tensors = {name: self.model.main.tensors[pair.tensor] for name, pair in self.pairs.items()}
        return {n: dequantize(values[t.index], t.quant) for n, t in tensors.items() if t.quant is not None}


@dataclass(slots=True)
class Sums:
    """What is added up while the data pass by; ``changed`` outputs are others because inner values were read."""

    outputs: Account
    layers: dict[str | int, LayerAccount]
    closed_reference: bool = True
    closed_candidate: bool = True
    changed: int = 0
    samples: int = 0


def set_up(question: Question, sides: ModelPair, reading: Reading, runtime: Runtime) -> Ladder:
    """What the first slice tells: which output is which, and whether the simulator has every operator.

    Raises:
        NotComparable: the outputs of the two models do not fit each other.
    """
    keras, model = question.keras, question.model
    end = reference_end(keras, model, sides, reading.rows)
    one = {index: array[:1] for index, array in reading.values.items()}
    first = chains(model, [array[:1] for array in reading.inputs], runtime, one)
    run = end.run(reading.rows, frozenset())
    end = end.without(run.shared)
    outputs = [pair for pair in sides.alignment.pairs if pair.role == "output"]
    pairs = {
        pair.layer: pair
        for pair in outputs
        if pair.layer in end.grids and _fits(run.layers.get(pair.layer), reading.values.get(pair.tensor))
    }
    ends = ends_of_file(model.main, order_of_outputs(keras, model, run.outputs, reading), question.tolerance)
    return Ladder(end, sides, model, runtime, ends, pairs, first.missing, first.borrowed)


def _fits(ours: Array | None, theirs: Array | None) -> bool:
    return ours is not None and theirs is not None and ours.size == theirs.size
