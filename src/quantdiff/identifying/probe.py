"""The rules of a runtime, from a file and its name: the one way in.

Inputs that tell rules apart are those that have done so, and random ones at which rules that still fit differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from quantdiff.errors import BadData
from quantdiff.graph import Graph, Model
from quantdiff.identifying.identification import Group, Identification, device_of, identify_tensors
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import INTEGER_RANGE, Array, dequantize, is_float
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.inputs import inputs_of, load_data, slots_of
from quantdiff.run.random_input import ELEMENTS_AT_MOST, SEED, random_inputs, samples_for
from quantdiff.run.recorded import RecordedRuntime
from quantdiff.run.runner import Runner, started
from quantdiff.run.runtimes import check_installed, versions
from quantdiff.sim.graph.operators import run_by_rule
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.node import NoKernel

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


AT_ONCE, BATCHES, CASES = 64, 32, 3
"""Samples that are simulated together, how many times, and how many samples are kept for each pair of rules."""
Pair = tuple[str, str, str]
"""A kind, and two rules that fit it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Inputs at which rules give different outputs: run on them alone, a device tells what it obeys.

    Attributes:
        batch: the samples, in real units, as ``--data`` takes them; the first ``known`` contradict rules already.
        told: the pairs of rules that they tell apart, and how many elements do.
        left: the pairs that none of the ``searched`` samples told apart.
    """

    batch: Batch = field(repr=False)
    told: Mapping[Pair, int]
    left: tuple[Pair, ...]
    searched: int
    known: int

    def __len__(self) -> int:
        return len(self.batch)


def probe_for(model: Model, found: Identification, seed: int) -> Probe:
    """Search by the simulator, on the device as far as it is known; what is unknown goes by the nearest rule."""
    open_groups = [group for group in found.groups if group.status == "undecided"]
    wanted = {(g.kind, a, b): 0 for g in open_groups for a, b in combinations([each[0] for each in g.rules], 2)}
    kept, cases, searched = _contradicting(found), dict.fromkeys(wanted, 0), 0
    known = len(kept)
    device = device_of(found.groups, found.runtime, _nearest)
    for inputs in _drawn(model.main, seed) if wanted else ():
        searched += len(inputs[0])
        values = simulate(model.main, inputs, device, model.subgraphs).values
        apart = [each for group in open_groups for each in _apart(model.main, group, values, len(inputs[0]))]
        for sample in range(len(inputs[0])):
            news = {pair: int(counts[sample]) for pair, counts in apart if counts[sample] and cases[pair] < CASES}
            if news:
                kept.append([array[sample] for array in inputs])
                for pair, counts in apart:
                    cases[pair] += bool(counts[sample])
                    wanted[pair] += int(counts[sample])
        if all(count >= CASES for count in cases.values()):
            break
    told = {pair: count for pair, count in wanted.items() if count}
    return Probe(_batch(model, kept), told, tuple(pair for pair in wanted if pair not in told), searched, known)


def _contradicting(found: Identification) -> list[list[Array]]:
    """A sample for each rule that does not fit, at which it does not."""
    examples = [each.fit.example for group in found.groups for each in group.refuted]
    samples = sorted({example.element[0] for example in examples if example is not None})
    return [[array[sample] for array in found.inputs] for sample in samples] if found.inputs else []


def _nearest(group: Group) -> str:
    return group.rule or (group.nearest.fit.rule if group.nearest else "")


def _drawn(graph: Graph, seed: int) -> Iterator[list[Array]]:
    """Random inputs of many contrasts around many levels, so that sums of all sizes come up. Shapes: (samples, …)."""
    rng, count = np.random.default_rng(seed + 1), samples_for(graph, AT_ONCE)
    for number in range(BATCHES):
        inputs = random_inputs(graph, count, seed + 1 + number)
        yield [_faded(array, graph.tensors[i].dtype, rng) for i, array in zip(graph.inputs, inputs, strict=True)]


def _faded(array: Array, dtype: str, rng: np.random.Generator) -> Array:
    """The same with a contrast of its own for each sample; every other one stays as it is."""
    if not (dtype in INTEGER_RANGE or is_float(dtype)):
        return array
    shape = (len(array), *[1] * (array.ndim - 1))
    contrast = np.where(np.arange(len(array)) % 2, rng.uniform(0, 1, len(array)), 1.0).reshape(shape)
    level = array[:, :1].reshape(len(array), -1)[:, :1].reshape(shape).astype(np.float64)
    mixed = contrast * array + (1 - contrast) * level
    return (np.rint(mixed) if dtype in INTEGER_RANGE else mixed).astype(array.dtype)


def _apart(graph: Graph, group: Group, values: Mapping[int, Array], samples: int) -> Iterator[tuple[Pair, Array]]:
    """For each pair of rules of a group: elements that they give differently, sample by sample. Shape: (samples,)."""
    names = [each[0] for each in group.rules]
    counts = {(group.kind, a, b): np.zeros(samples, np.int64) for a, b in combinations(names, 2)}
    for operator in graph.operators:
        if operator.index not in group.operators or any(i not in values for i in operator.outputs):
            continue
        given = {rule: _outputs(graph, operator.index, values, rule) for rule in names}
        for pair in counts:
            for first, second in zip(given[pair[1]], given[pair[2]], strict=False):
                if first.shape == second.shape and len(first) == samples:
                    counts[pair] += np.count_nonzero((first != second).reshape(samples, -1), axis=1)
    yield from counts.items()


def _outputs(graph: Graph, index: int, values: Mapping[int, Array], rule: str) -> Sequence[Array]:
    operator = next(each for each in graph.operators if each.index == index)
    try:
        return run_by_rule(graph, operator, values, rule)
    except NoKernel:
        return ()


def _batch(model: Model, kept: Sequence[Sequence[Array]]) -> Batch:
    """The samples as a data set: in real units, by the names that the model gives its inputs."""
    arrays = {}
    for k, (slot, index) in enumerate(zip(slots_of(model), model.main.inputs, strict=True)):
        tensor = model.main.tensors[index]
        shape = (len(kept), *tensor.shape)
        stored = np.stack([sample[k] for sample in kept]) if kept else np.zeros(shape, tensor.dtype)
        real = stored if tensor.quant is None else dequantize(stored, tensor.quant)
        arrays[slot.name] = real.reshape(-1, *tensor.shape[1:])
    if len(arrays) == 1:
        arrays = {"x": next(iter(arrays.values()))}
    return Batch(arrays, None, "inputs that tell rules apart")
