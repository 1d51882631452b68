"""A trained model written as its file has it, where that brings the two nearer to each other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from quantdiff.align.models import align_pair
from quantdiff.api.engines import OpenedPair, Settings, open_model, trace_one
from quantdiff.compare.comparison import Condition, settle
from quantdiff.errors import BadModel
from quantdiff.files import scratch
from quantdiff.ladder.account import order_of_outputs
from quantdiff.ladder.advice.advised import Advised
from quantdiff.ladder.advice.bench import Bench, Counted, Rows, noise
from quantdiff.ladder.advice.search import Tried, holds
from quantdiff.ladder.advice.settled import settling
from quantdiff.ladder.set_up import reference_with
from quantdiff.ladder.slices import by_run
from quantdiff.ladder.switches import Switches
from quantdiff.load.data import Batch
from quantdiff.references.reference import Reference, Settles
from quantdiff.report.folder import written
from quantdiff.run.inputs import inputs_of
from quantdiff.run.runner import silent

TRAINED = ".h5"
ALIGNED_ON = 64


@dataclass(frozen=True, slots=True)
class _Settled:
    """The reference with some biases and grids as the file has them, in the account's arithmetic."""

    switches: Switches
    held: tuple[Sequence[int], Sequence[int]]

    def answer(self, rows: Rows) -> Counted:
        """Beside the file."""
        runs = len(inputs_of(rows.model, rows.batch)[0])
        outputs = [by_run(value.array, runs) for value in rows.candidate.outputs]
        order = order_of_outputs(rows.reference, rows.model, outputs, "the .tflite")
        then, _ = reference_with(self.switches, rows.batch, rows.reference, order, self.held)
        return Counted((rows.beside(then),))


@dataclass(frozen=True, slots=True)
class _Again:
    """A reference that was written and opened again."""

    reference: Reference

    def answer(self, rows: Rows) -> Counted:
        """Beside the file."""
        return Counted((rows.beside(trace_one(self.reference, rows.batch, silent)),))


def settled(
    bench: Bench,
    pair: tuple[Reference, OpenedPair],
    first: Batch,
    wanted: tuple[Path, tuple[Condition, ...]],
    settings: Settings,
) -> Advised:
    """Give a quantization-aware model the biases and ranges of its file, and write it where that helps.

    It is opened again and run: what was promised stands beside what was measured.

    Args:
        bench: the pair and its data, in this process.
        pair: the engine of the trained model, and both models.
        first: samples that tell which layer is which tensor.
        wanted: where the model goes, and what must hold.
        settings: how a trained model is opened.

    Raises:
        BadModel: the reference is no quantization-aware Keras model, or Keras cannot write it.
    """
    (engine, opened), (out, until) = pair, wanted
    if engine.kind != "qat" or not isinstance(engine, Settles):
        why = "is no quantization-aware Keras model, which alone has biases and ranges to settle"
        raise BadModel(f"{opened.reference.source}: {why}; --out FILE.tflite mends the file")
    alignment = align_pair(engine, opened.candidate.engines[0], first)
    found = settling(bench.switches, engine.layers(), alignment)
    held = [i for c in found.choices for i in c.constants], [i for c in found.choices for i in c.grids]
    predicted = settle(*bench.ask(_Settled(bench.switches, held)).each)
    holds(bench.now, until)
    chosen = Tried(found.choices, predicted)
    told = Advised(bench.now, bench.now, (), chosen, until, considered=len(found.choices), complete=True)
    if not found.choices:
        return replace(told, notes=(f"{out} was not written: its biases and ranges are those of the file",))
    if not told.met:
        return told
    content = engine.settled(found.variables).tobytes()
    with scratch() as folder, ExitStack() as stack:
        (folder / out.name).write_bytes(content)
        again = open_model(folder / out.name, settings, (), first, stack)
        measured = settle(*bench.ask(_Again(again.engines[0])).each)
    if not noise(measured) < noise(bench.now):
        note = f"{out} was not written: it is not nearer to the file than {opened.reference.source}"
        return replace(told, measured=measured, notes=(note,))
    with written(out) as file:
        file.write_bytes(content)
    return replace(told, files={"out": str(out)}, measured=measured)
