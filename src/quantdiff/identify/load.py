"""From a file and the name of a runtime to its rules: the one way in."""

from __future__ import annotations

from pathlib import Path

from quantdiff.errors import BadData
from quantdiff.graph import Graph
from quantdiff.identify.identification import Identification, identify_tensors
from quantdiff.identify.probe import Probe, probe_for
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.run.child import TIMEOUT
from quantdiff.run.data_sources import load_data
from quantdiff.run.in_process import started
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.random_input import SEED, random_inputs, samples_for
from quantdiff.run.runtimes import check_installed
from quantdiff.run.tflite import inputs_of
from quantdiff.run.versions import versions

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
    if data is None:
        inputs = random_inputs(
            model.main, _default(model.main) if samples is None else samples_for(model.main, samples), seed
        )
        source = f"seeded random input (seed {seed})"
    else:
        batch = load_data(data, path)
        inputs, source = inputs_of(model, batch), batch.source
        inputs = [array[: samples_for(model.main, samples or len(array))] for array in inputs]
    if not inputs or not len(inputs[0]):
        raise BadData(f"{path.name} takes no input, so nothing tells rules apart")
    check_installed([runtime])
    with started(runtime, timeout) as runner:
        reading = read_everything(model, inputs, runner)
        here = versions() if runner.versions is None else dict(runner.versions)
    groups, missing = identify_tensors(model.main, reading.values)
    made_by = {
        "command": "identify",
        "model": str(path),
        "data": source,
        "samples": len(inputs[0]),
        "versions": here,
    }
    return Identification(runtime, groups, missing, not reading.changed, made_by)


def load_and_probe(path: Path, found: Identification, seed: int = SEED) -> Probe:
    """Inputs that tell apart the rules of which the data left several.

    Raises:
        BadModel: the model cannot be read.
    """
    return probe_for(load_tflite(path), found, seed)


def _default(graph: Graph) -> int:
    return samples_for(graph, SAMPLES_AT_MOST, ELEMENTS)
