"""Hold the simulator against real runtimes: every operator fed with the runtime's own input, and the chain."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from quantdiff.compare.device import diagnose_device
from quantdiff.compare.verdict import Compared, OperatorResult, Verdict, Verification, compare_operators, tally
from quantdiff.errors import BadData, RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.graph import Graph, Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array, shared
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inner_tensors import Reading, read_everything
from quantdiff.run.inputs import inputs_of, load_data
from quantdiff.run.profiled import Profiled
from quantdiff.run.random_input import SAMPLES, SEED, random_inputs, samples_for
from quantdiff.run.recorded import RecordedRuntime
from quantdiff.run.runner import Progress, Runner, silent, started
from quantdiff.run.runtimes import ALL, RUNTIMES, RuntimeEntry, check_installed, chosen, entry_of, versions
from quantdiff.sim.device import Device, Rules
from quantdiff.sim.graph.chains import simulate_each
from quantdiff.sim.graph.shapes import false_shapes
from quantdiff.sim.graph.simulator import Missing, Simulation
from quantdiff.sim.runtime import ARCHITECTURES, CHECKED, Runtime
from quantdiff.sim.xnnpack.delegate import agrees

STATE = 4
"""Where an SVDF reads its state."""
NONE_READY: Mapping[str, Runner] = MappingProxyType({})
NOT_SIMULATED = "not simulated: there are no rules to hold it against"
PREDICTED = "predicted by its profile; --runtime recorded:DUMP beside it holds the device against that"


def load_and_verify(  # noqa: PLR0913 (model, runtimes, data, and how far it is)
    path: Path,
    runtimes: Sequence[str],
    timeout: float = TIMEOUT,
    data: Path | Batch | None = None,
    samples: int | None = None,
    seed: int = SEED,
    *,
    progress: Progress = silent,
) -> Verification:
    """A verdict per runtime (``all`` stands for each that is simulated), and what they were made from.

    Raises:
        BadModel, BadData: the model or the data cannot be read, or do not fit each other.
        RuntimeUnavailable: there is no such runtime.
    """
    model, names = load_tflite(path), names_of(runtimes)
    dumps = {name: started(name, timeout) for name in names if entry_of(name).file}
    inputs, source = _inputs(model, path, data, (samples, seed), [d for d in dumps.values() if d.of_one_file])
    made_by = {
        "command": "verify",
        "model": str(path),
        "data": source,
        "samples": len(inputs[0]) if inputs else 0,
        "versions": versions(),
    }
    return Verification(verify_inputs(model, inputs, names, timeout, dumps, progress), made_by)


def names_of(runtimes: Sequence[str]) -> list[str]:
    """Runtimes as they are asked for; ``all`` stands for each that is simulated."""
    every = [each.name for each in RUNTIMES.values() if each.simulated]
    return every if ALL in runtimes else list(chosen(runtimes))


def _inputs(
    model: Model, path: Path, data: Path | Batch | None, drawn: tuple[int | None, int], dumps: Sequence[Runner]
) -> tuple[list[Array], str]:
    """What everything is fed with: the data; without, what a device was fed with that was recorded, or chance."""
    samples, seed = drawn
    if data is not None:
        batch = load_data(data, path)
        inputs, source = inputs_of(model, batch), batch.source
    elif dumps:
        own = dumps[0].own_inputs(model)
        if own is None:
            raise BadData(f"{dumps[0].runtime}: the dump holds no inputs; give by --data what the device was fed with")
        inputs, source = own, f"the inputs in {dumps[0].runtime}"
    else:
        count = samples_for(model.main, samples or SAMPLES)
        return random_inputs(model.main, count, seed), f"seeded random input (seed {seed})"
    for dump in dumps:
        if isinstance(dump, RecordedRuntime):
            known = dump.known(model, inputs)
            source += f", {len(known)} of {len(inputs[0])} samples: those in {dump.runtime}" * (
                len(known) < len(inputs[0])
            )
            inputs = [array[known] for array in inputs]
        dump.attend(model, inputs)
    return [array[: samples_for(model.main, samples or len(array))] for array in inputs], source


@dataclass(frozen=True, slots=True)
class Ran:
    """What a runtime gave, whose rules it should obey, and what to know where nobody has checked these there."""

    reading: Reading
    rules: Rules | None
    doubt: str


def verify_inputs(
    model: Model,
    inputs: Sequence[Array],
    runtimes: Sequence[str],
    timeout: float = TIMEOUT,
    ready: Mapping[str, Runner] = NONE_READY,
    progress: Progress = silent,
) -> dict[str, Verdict]:
    """Compare every tensor of every operator with what each runtime, by name, gives for ``inputs``.

    Those that are ``ready`` need not be started; one that was recorded is told what became of each tensor, by the rules
    of the profiles beside it, if there are any.

    Shapes: each input (samples, *shape of the model's input).

    Raises:
        RuntimeUnavailable: there is no such runtime.
    """
    recorded = {name: each for name, each in ready.items() if isinstance(each, RecordedRuntime)}
    profiles = {name: each.device for name, each in ready.items() if isinstance(each, Profiled)}
    entries = {name: entry_of(name) for name in runtimes if name not in (*recorded, *profiles)}
    damaged = _damaged(model)
    asked = [name for name, entry in entries.items() if entry.simulated or entry.command or entry.module]
    ran, failed = _observe(model, inputs, asked, timeout, ready)
    doubts = {name: ran[name].doubt if name in ran else "" for name in entries}
    why = {name: "; ".join(filter(None, (_without_rules(entries[name]), its))) for name, its in doubts.items()}
    found = {name: Verdict("unsupported", why=why[name]) for name in entries} | failed
    rules = {name: ran[name].rules if name in ran else entry.simulated for name, entry in entries.items()}
    refuses = {n for n, verdict in failed.items() if rules[n] is Runtime.TFLM and verdict.status == "unavailable"}
    told = {n: damaged[its] for n, its in rules.items() if its in damaged and n not in refuses}
    for group in _by_rules({n: its for n, its in rules.items() if n in ran and n not in told and its}):
        values = {its: ran[name].reading.values for its, name in group.items()}
        compared, known = compare_operators(model.main, values, model.subgraphs, progress)
        chains = simulate_each(model.main, inputs, tuple(values), model.subgraphs, known)
        for its, name in group.items():
            verdict = _verdict(model.main, ran[name].reading, compared[its], chains[its])
            found[name] = replace(verdict, doubt=ran[name].doubt)
    by = tuple(profiles.values())
    found |= told | {name: _of_device(model, inputs, each, by) for name, each in recorded.items()}
    found |= {} if recorded else dict.fromkeys(profiles, Verdict("unsupported", why=PREDICTED))
    return {name: found[name] for name in runtimes if name in found}


def _without_rules(entry: RuntimeEntry) -> str:
    """Why there is nothing to hold a runtime against."""
    measured = entry.rules_on("") is None or entry.rules_on(entry.machine) is not None
    return NOT_SIMULATED if measured else f"nobody has measured {entry.kernels} on {entry.machine}: {NOT_SIMULATED}"


def _by_rules(rules: Mapping[str, Rules]) -> list[dict[Rules, str]]:
    """Runtimes in groups in which each has other rules: those are computed together."""
    groups = list[dict[Rules, str]]()
    for name, its in rules.items():
        group = next((each for each in groups if its not in each), None)
        if group is None:
            groups.append(group := {})
        group[its] = name
    return groups


def _damaged(model: Model) -> dict[Runtime, Verdict]:
    """Runtimes that compute on other memory than the model's, and why: what they give, or that they end, is chance.

    TFLM believes the shapes of the file: where they are false it reads and writes beside its tensors. LiteRT writes the
    16 bits of an SVDF's state over the 8 bits that TFLM keeps.
    """
    found = _by_svdf(model) | _by_shape(model)
    return {runtime: Verdict("unsupported", why=why) for runtime, why in found.items()}


def _by_svdf(model: Model) -> dict[Runtime, str]:
    for op in model.main.operators:
        if op.op == "SVDF" and len(op.inputs) > STATE and model.main.tensors[op.inputs[STATE]].dtype == "int8":
            why = f"operator {op.index} SVDF: LiteRT writes an int16 state over the int8 one of this file"
            return dict.fromkeys((r for r in Runtime if r is not Runtime.TFLM), why)
    return {}


def _by_shape(model: Model) -> dict[Runtime, str]:
    shapes = false_shapes(model.main, model.subgraphs)
    found = next((shape for shape in shapes if math.prod(shape.made) != math.prod(shape.tensor.shape)), None)
    if found is None:
        return {}
    op = found.operator
    return {Runtime.TFLM: f"operator {op.index} {op.op}: {found.text}; TFLM believes it and computes on other memory"}


def _of_device(
    model: Model, inputs: Sequence[Array], device: RecordedRuntime, profiles: Sequence[Device] = ()
) -> Verdict:
    """What a dump shows, by the profiles, else by the rules that it names or by all that there are."""
    rules, found = None if profiles else device.rules, diagnose_device(model, inputs, device, profiles)
    known = [each for each in found.findings if not each.why]
    operators = tuple(OperatorResult(each.operator, each.op, each.rules, each.count, each.wrong) for each in known)
    missing = tuple(Missing(each.operator, each.op, each.why) for each in found.findings if each.why)
    ends = [each for each in known if each.tensor in model.main.outputs]
    wrong = any(each.wrong for each in known)
    return Verdict(
        "differs" if wrong else "unsupported" if missing or not known else "exact",
        operators,
        missing,
        chain_count=sum(each.count for each in ends),
        chain_mismatches=sum(each.differing for each in ends),
        doubt="" if rules is None else doubt(entry_of(rules.value).package, device.versions, device.machine),
        device=found,
    )


def _observe(
    model: Model, inputs: Sequence[Array], runtimes: Sequence[str], timeout: float, ready: Mapping[str, Runner]
) -> tuple[dict[str, Ran], dict[str, Verdict]]:
    """What the runtimes gave, one array for all that gave the same bits, and verdicts on those that gave nothing."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # each waits for a process of its own
        found = list(threads.map(lambda name: _read(model, inputs, ready.get(name) or name, timeout), runtimes))
    seen = {runtime: each for runtime, each in zip(runtimes, found, strict=True) if isinstance(each, Ran)}
    failed = {runtime: each for runtime, each in zip(runtimes, found, strict=True) if isinstance(each, Verdict)}
    values = _shared({runtime: each.reading.values for runtime, each in seen.items()})
    shared_values = {n: replace(each, reading=replace(each.reading, values=values[n])) for n, each in seen.items()}
    return shared_values, failed


def _read(model: Model, inputs: Sequence[Array], runtime: str | Runner, timeout: float) -> Ran | Verdict:
    """What the runtime gave, or the verdict that it gave nothing."""
    try:
        if isinstance(runtime, str):
            check_installed([runtime], real=True)
        with started(runtime, timeout) if isinstance(runtime, str) else runtime as runner:
            reading = read_everything(model, inputs, runner)
            here = versions() if runner.versions is None else runner.versions
            return Ran(reading, runner.rules, doubt(entry_of(runner.runtime).package, here, runner.machine))
    except (RuntimeCrashed, RuntimeHung) as error:
        return Verdict("crashed", why=str(error))
    except RuntimeFailed as error:
        return Verdict("unavailable", why=str(error))


def _shared(values: Mapping[str, Mapping[int, Array]]) -> dict[str, dict[int, Array]]:
    """The same values, with one array for all runtimes that gave the same bits."""
    result: dict[str, dict[int, Array]] = {runtime: {} for runtime in values}
    for index in dict.fromkeys(i for held in values.values() for i in held):
        holders = [runtime for runtime, held in values.items() if index in held]
        for runtime, array in zip(holders, shared(values[runtime][index] for runtime in holders), strict=True):
            result[runtime][index] = array
    return result


def _verdict(graph: Graph, reading: Reading, compared: Compared, chain: Simulation) -> Verdict:
    """All that was found about one runtime."""
    theirs, operators = reading.values, compared.operators
    pairs = [(chain.values[i], theirs[i]) for i in graph.outputs if i in chain.values and i in theirs]
    chain_count, chain_mismatches = tally(pairs)
    delegates = isinstance(chain.runtime, Runtime) and chain.runtime.family is Runtime.XNNPACK
    expected = not delegates or agrees(graph, reading.delegated)
    wrong = chain_mismatches + sum(result.mismatches for result in operators) + bool(reading.changed) + (not expected)
    right = "exact" if all(result.width is None for result in operators) else "within"
    nothing = not operators and not chain_count
    status = "differs" if wrong else "unsupported" if compared.unsupported or nothing else right
    return Verdict(
        status,
        operators,
        compared.unsupported,
        chain.skipped,
        chain_count,
        chain_mismatches,
        not reading.changed,
        expected,
    )


def doubt(package: str, installed: Mapping[str, str], machine: str = ARCHITECTURES[0]) -> str:
    """What to know where a runtime's package is not in a release, or runs on no machine, that was checked; or empty."""
    if package not in CHECKED:
        return ""
    if machine not in ARCHITECTURES:
        return f"the rules were checked on {', '.join(ARCHITECTURES)}; {machine} may round otherwise"
    version, checked = installed.get(package, "an unknown version"), CHECKED[package]
    if version in checked:
        return ""
    return f"the rules were checked with {package} {', '.join(checked)}; {version} is installed and may round otherwise"
