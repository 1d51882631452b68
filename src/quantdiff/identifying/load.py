"""From a file and the name of a runtime to its rules: the one way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quantdiff.errors import BadData
from quantdiff.graph import Model
from quantdiff.identifying.identification import Identification, identify_tensors
from quantdiff.identifying.probe import Probe, probe_for
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.inputs import inputs_of, load_data
from quantdiff.run.random_input import ELEMENTS_AT_MOST, SEED, random_inputs, samples_for
from quantdiff.run.recorded import RecordedRuntime
from quantdiff.run.runner import Runner, started
from quantdiff.run.runtimes import check_installed, versions

SAMPLES_AT_MOST, ELEMENTS = 1024, 2**22
"""Random samples where nobody says how many: as many as give so many elements, which tell most rules apart."""


def load_and_identify(
    path: Path,
    runtime: str,
    data: Path | Batch | None = None,
    samples: int | None = None,
    seed: int = SEED,
    timeout: float = TIMEOUT,
) -> Identification:
    """The rules that a runtime obeys on a model.

    Raises:
        BadModel, BadData: the model or the data cannot be read, or do not fit each other.
        RuntimeFailed: there is no such runtime, or it gives nothing.
    """
    model = load_tflite(path)
    check_installed([runtime])
    with started(runtime, timeout) as runner:
        recorded = runner if isinstance(runner, RecordedRuntime) else None
        if recorded is not None and data is None:
            source, values, faithful = f"the data of {recorded.dump.source}", recorded.of_model(model).values, True
        else:
            given, source = _inputs(model, data, samples, seed)
            values, faithful = _read(model, given, runner)
        here = versions() if runner.versions is None else dict(runner.versions)
    groups, missing = identify_tensors(model.main, values)
    made_by = {
        "command": "identify",
        "model": str(path),
        "data": source,
        "samples": max(map(len, values.values()), default=0),
        "versions": here,
    }
    inputs = tuple(values[i] for i in model.main.inputs if i in values)
    known = inputs if len(inputs) == len(model.main.inputs) else ()
    return Identification(runtime, groups, missing, faithful, made_by, known)


def _inputs(model: Model, data: Path | Batch | None, samples: int | None, seed: int) -> tuple[list[Array], str]:
    """What is fed, and where it comes from. Shapes: (samples, *shape of the input)."""
    assert model.path is not None
    if data is None:
        count = samples_for(model.main, samples or SAMPLES_AT_MOST, ELEMENTS_AT_MOST if samples else ELEMENTS)
        inputs, source = random_inputs(model.main, count, seed), f"seeded random input (seed {seed})"
    else:
        batch = load_data(data, model.path)
        inputs = [array[: samples_for(model.main, samples or len(array))] for array in inputs_of(model, batch)]
        source = batch.source
    if not inputs or not len(inputs[0]):
        raise BadData(f"{model.path.name} takes no input, so nothing tells rules apart")
    return inputs, source


def _read(model: Model, inputs: Sequence[Array], runner: Runner) -> tuple[Mapping[int, Array], bool]:
    """The device's tensors by index, and whether reading them has changed nothing."""
    if isinstance(runner, RecordedRuntime):
        known = runner.known(model, inputs)
        inputs = [array[known] for array in inputs]
    runner.attend(model, inputs)
    if isinstance(runner, RecordedRuntime):  # which may lack outputs
        return dict(zip(model.main.inputs, inputs, strict=True)) | runner.recorded(model, inputs), True
    reading = read_everything(model, inputs, runner)
    return reading.values, not reading.changed


def load_and_probe(path: Path, found: Identification, seed: int = SEED) -> Probe:
    """Inputs that tell apart the rules of which the data left several.

    Raises:
        BadModel: the model cannot be read.
    """
    return probe_for(load_tflite(path), found, seed)
