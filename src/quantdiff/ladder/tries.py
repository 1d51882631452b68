"""What becomes of the outputs under plans: on a real runtime, or in the account's own arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from quantdiff.ladder.advice.bench import Rows, files_of
from quantdiff.ladder.advice.choices import Plan
from quantdiff.ladder.few import Few
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import in_slices, real_inputs
from quantdiff.ladder.switches import Switches
from quantdiff.ladder.targets import OutputGrids
from quantdiff.run.runner import Runner
from quantdiff.trace import Trace


def tries(switches: Switches, few: Few, grids: OutputGrids, plans: Sequence[Plan], trials: Runner) -> Iterator[Trace]:
    """The outputs under each plan, in floats.

    Raises:
        BadModel, RuntimeFailed: they cannot be written as one file, or ``trials`` does not run it.
    """
    if on_the_graph(switches):
        yield from (_computed(switches, few, plan) for plan in plans)
        return
    rows = Rows(switches.model, few.rows, 0, few.reference, few.candidate, trials, trials, grids.tolerance)
    for each in files_of(plans, switches.model.whole()):
        yield from each.traces(rows)


def on_the_graph(switches: Switches) -> bool:
    """Whether plans are computed on the graph: what keeps a state, or loops, is not written as another file."""
    return not switches.file.is_plain


def _computed(switches: Switches, few: Few, plan: Plan) -> Trace:
    """In exact arithmetic: the runtime's kernels are left out."""
    file = switches.file
    bounded = plan.grids.keys() & file.varying
    setting = Setting(plan.constants, plan.own, bounded, bounded, {i: plan.grids[i] for i in bounded})
    values = in_slices(file, real_inputs(switches.model, few.rows), setting, file.graph.outputs)
    pairs = zip(few.candidate.outputs, file.graph.outputs, strict=True)
    outputs = (replace(own, array=values[i].reshape(own.array.shape), quant=None, grid=None) for own, i in pairs)
    return replace(few.candidate, outputs=tuple(outputs))
