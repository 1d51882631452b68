"""What dumps among the runtimes tell, for results that are about something else."""

from __future__ import annotations

from quantdiff.api.engines import OpenedPair
from quantdiff.compare.device import diagnose_device
from quantdiff.load.data import Batch
from quantdiff.report.text.device import device_text
from quantdiff.run.random_input import samples_for
from quantdiff.run.recorded import RecordedRuntime
from quantdiff.run.tflite import inputs_of


def device_notes(pair: OpenedPair, batch: Batch) -> tuple[str, ...]:
    """Of each dump the first operator that gives something else, on the first samples; ``verify`` shows all of them."""
    model = pair.candidate.file
    dumps = [each for each in pair.processes if isinstance(each, RecordedRuntime)]
    if model is None or not dumps:
        return ()
    inputs = [array[: samples_for(model.main)] for array in inputs_of(model, batch)]
    found = ((each.runtime, diagnose_device(model, inputs, each)) for each in dumps)
    return tuple(f"{name}: {line}" for name, each in found for line in device_text(each))
