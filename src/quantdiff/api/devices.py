"""What dumps among the runtimes tell, for results that are about something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantdiff.api.engines import OpenedPair
from quantdiff.compare.device import Diagnosis, diagnose_device
from quantdiff.load.data import Batch
from quantdiff.report.text.device import device_text
from quantdiff.run.random_input import samples_for
from quantdiff.run.recorded import RecordedRuntime
from quantdiff.run.tflite import inputs_of
from quantdiff.sim.runtime import Runtime


def device_notes(pair: OpenedPair, batch: Batch) -> tuple[str, ...]:
    """Of each dump the first operator that gives something else, on the first samples; ``verify`` shows all of them."""
    return tuple(_told(_diagnosed(pair, batch)))


def settle_devices(pair: OpenedPair, batch: Batch) -> tuple[str, ...]:
    """The same, and what an account needs: a dump that does not say whose rules it obeys obeys those that come nearest.

    Inner tensors that it shows wrongly, where the device had the right values, are left out of it.
    """
    found = list(_diagnosed(pair, batch))
    notes = list(_told(found))
    for device, told in found:
        device.leave_out([each.tensor for each in told.findings if each.wrong and each.passed_on is False])
        if device.rules is None and isinstance(told.nearest, Runtime):
            device.obey(told.nearest)
            notes.append(f"{device.runtime}: taken to obey the rules that come nearest, {told.nearest.value}")
    return tuple(notes)


def _diagnosed(pair: OpenedPair, batch: Batch) -> Iterator[tuple[RecordedRuntime, Diagnosis]]:
    model = pair.candidate.file
    dumps = [each for each in pair.processes if isinstance(each, RecordedRuntime)]
    if model is not None and dumps:
        inputs = [array[: samples_for(model.main)] for array in inputs_of(model, batch)]
        yield from ((each, diagnose_device(model, inputs, each)) for each in dumps)


def _told(found: Iterable[tuple[RecordedRuntime, Diagnosis]]) -> Iterator[str]:
    return (f"{device.runtime}: {line}" for device, told in found for line in device_text(told))
