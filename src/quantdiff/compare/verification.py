"""Hold the simulator against a real runtime: every operator fed with the runtime's own input, and the chain."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.graph import Graph, Model, Operator
from quantdiff.load.data import load_batch
from quantdiff.load.rewrite import with_outputs
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.run.child import TIMEOUT, RuntimeProcess
from quantdiff.run.operators import run_operator
from quantdiff.run.random_input import SAMPLES, SEED, random_inputs, samples_for
from quantdiff.run.resources import STATE, keeps_resources
from quantdiff.run.simulator import Missing, Simulation, missing_inputs, replay, simulate
from quantdiff.run.tflite import check_installed, inputs_of
from quantdiff.run.versions import versions
from quantdiff.sim.delegate import kernel_of
from quantdiff.sim.node import NoKernel, node_of
from quantdiff.sim.partition import agrees
from quantdiff.sim.registry import kernels
from quantdiff.sim.releases import doubt
from quantdiff.sim.runtime import Runtime

Parts = list[tuple[list[int], list[int]]]

READABLE = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
"""Types that every runtime's Python interface can give back."""


@dataclass(frozen=True, slots=True)
class OperatorResult:
    """One operator, fed with the runtime's own input: elements compared, and how many differ.

    ``kernel`` names the runtime whose kernel ran: ``builtin`` where XNNPACK declines the operator.
    """

    index: int
    op: str
    kernel: str
    count: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one runtime gave: ``exact``, ``differs``, ``unsupported``, ``crashed`` or ``unavailable``.

    ``count`` and ``mismatches`` add up the operators; ``chain_…`` are those of the final outputs when the
    simulator runs on its own results; ``delegated_as_expected`` says that XNNPACK took the operators that the
    rules say, by the interpreter's own report; ``faithful`` that reading the tensors between did not change the
    final outputs. ``why`` is the runtime's own word where it failed, ``doubt`` says where its release is not one
    that the rules were checked with.
    """

    status: str
    operators: tuple[OperatorResult, ...] = ()
    unsupported: tuple[Missing, ...] = ()
    skipped: tuple[int, ...] = ()
    chain_count: int = 0
    chain_mismatches: int = 0
    faithful: bool = True
    delegated_as_expected: bool = True
    why: str = ""
    doubt: str = ""

    @property
    def count(self) -> int:
        """Elements compared, over all operators."""
        return sum(result.count for result in self.operators)

    @property
    def mismatches(self) -> int:
        """Elements that differ, over all operators."""
        return sum(result.mismatches for result in self.operators)


def load_and_verify(
    path: Path,
    runtimes: Sequence[str],
    timeout: float = TIMEOUT,
    data: Path | None = None,
    samples: int | None = None,
    seed: int = SEED,
) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """A verdict per runtime (``all`` stands for each), and what they were made from.

    Raises:
        BadModel, BadData: the model or the data cannot be read, or do not fit each other.
    """
    model = load_tflite(path)
    if data is None:
        inputs = random_inputs(model.main, samples_for(model.main, samples or SAMPLES), seed)
        source = f"seeded random input (seed {seed})"
    else:
        inputs, source = inputs_of(model, load_batch(data)), str(data)
        inputs = [array[: samples_for(model.main, samples or len(array))] for array in inputs]
    names = [runtime.value for runtime in Runtime] if "all" in runtimes else list(dict.fromkeys(runtimes))
    installed = versions()
    verdicts = {
        name: replace(verify(model, inputs, Runtime(name), timeout), doubt=doubt(Runtime(name), installed))
        for name in names
    }
    made_by = {
        "command": "verify",
        "model": str(path),
        "data": source,
        "samples": len(inputs[0]) if inputs else 0,
        "versions": installed,
    }
    return verdicts, made_by


def verify(model: Model, inputs: Sequence[Array], runtime: Runtime, timeout: float = TIMEOUT) -> Verdict:
    """Compare every tensor of every operator with what ``runtime`` gives for ``inputs``.

    Shapes: each input (samples, *shape of the model's input).
    """
    try:
        check_installed([runtime.value])
        values, faithful, delegated = run_runtime(model, inputs, runtime, timeout)
    except (RuntimeCrashed, RuntimeHung) as error:
        return Verdict("crashed", why=str(error))
    except RuntimeFailed as error:
        return Verdict("unavailable", why=str(error))
    operators, unsupported = compare_operators(model.main, values, runtime, model.subgraphs)
    simulation = simulate(model.main, inputs, runtime, model.subgraphs)
    pairs = [(simulation.values[i], values[i]) for i in model.main.outputs if i in simulation.values and i in values]
    chain_count, chain_mismatches = _tally(pairs)
    expected = runtime is not Runtime.XNNPACK or agrees(model.main, delegated)
    wrong = chain_mismatches + sum(result.mismatches for result in operators) + (not faithful) + (not expected)
    status = "differs" if wrong else "unsupported" if unsupported or not operators else "exact"
    return Verdict(
        status, operators, unsupported, simulation.skipped, chain_count, chain_mismatches, faithful, expected
    )


def compare_operators(
    graph: Graph, values: Mapping[int, Array], runtime: Runtime, subgraphs: Sequence[Graph] = ()
) -> tuple[tuple[OperatorResult, ...], tuple[Missing, ...]]:
    """Every operator on the runtime's own inputs, and those that have no kernel."""
    results, missing = [], []
    state = replay(graph, values, runtime, subgraphs) if keeps_resources(graph) else None
    for operator in graph.operators:
        try:
            absent = [] if operator.op in STATE else missing_inputs(graph, operator, values)
            if absent and operator.op in kernels():
                raise NoKernel(f"tensor {graph.tensors[absent[0]].name!r} cannot be read from the runtime")
            outputs = _outputs(graph, operator, values, runtime, state)
            kernel = kernel_of(node_of(graph, operator), runtime)
        except NoKernel as error:
            missing.append(Missing(operator.index, operator.op, str(error)))
            continue
        pairs = [(y, values[i]) for i, y in zip(operator.outputs, outputs, strict=True) if i in values]
        results.append(OperatorResult(operator.index, operator.op, kernel.value, *_tally(pairs)))
    return tuple(results), tuple(missing)


def _outputs(
    graph: Graph, operator: Operator, values: Mapping[int, Array], runtime: Runtime, state: Simulation | None
) -> tuple[Array, ...]:
    """What the operator gives for ``values``; operators on the state were replayed."""
    if state is None or operator.op not in STATE:
        return run_operator(graph, operator, values, runtime)
    for item in state.missing:
        if item.index == operator.index:
            raise NoKernel(item.why)
    if operator.index in state.skipped:
        raise NoKernel("it waits for a variable that cannot be simulated")
    return tuple(state.values[i] for i in operator.outputs)


def _tally(pairs: Sequence[tuple[Array, Array]]) -> tuple[int, int]:
    """Elements, and elements that differ; what depends on no input is there once for all samples."""
    spread = [(np.repeat(m, len(t), axis=0) if len(m) == 1 else m, t) for m, t in pairs]
    return sum(theirs.size for _, theirs in spread), sum(differing(mine, theirs) for mine, theirs in spread)


def differing(mine: Array, theirs: Array) -> int:
    """How many elements are not the same bits; any NaN equals any other. All of them when shapes differ."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return max(mine.size, theirs.size, 1)
    if mine.dtype.kind != "f":
        return int(np.count_nonzero(mine != theirs))
    same = (mine == theirs) & (np.signbit(mine) == np.signbit(theirs))
    return int(np.count_nonzero(~(same | (np.isnan(mine) & np.isnan(theirs)))))


def run_runtime(
    model: Model, inputs: Sequence[Array], runtime: Runtime, timeout: float
) -> tuple[dict[int, Array], bool, Parts]:
    """Every readable tensor, whether reading them left the final outputs alone, and what a delegate runs.

    Raises:
        RuntimeFailed: the runtime refuses the model, crashes or hangs.
    """
    assert model.path is not None
    graph = model.main
    hidden = "DENSIFY" if runtime is Runtime.XNNPACK else ""  # unpacked inside the delegate, never into the tensor
    made = [i for operator in graph.operators if operator.op != hidden for i in operator.outputs]
    readable = [i for i in dict.fromkeys((*graph.outputs, *made)) if graph.tensors[i].dtype in READABLE]
    with RuntimeProcess(runtime.value, timeout=timeout) as process, tempfile.TemporaryDirectory() as folder:
        process.load(model.path, batch=False)
        delegated = process.delegated
        final, _ = process.run(inputs, len(graph.outputs), lambda done: None)
        rewritten = Path(folder) / model.path.name
        rewritten.write_bytes(with_outputs(model.path.read_bytes(), readable))
        process.load(rewritten, batch=False)
        arrays, _ = process.run(inputs, len(readable), lambda done: None)
    values = dict(zip(graph.inputs, inputs, strict=True))
    values |= {i: _by_sample(a, len(graph.tensors[i].shape)) for i, a in zip(readable, arrays, strict=True)}
    outputs = (_by_sample(a, len(graph.tensors[i].shape)) for i, a in zip(graph.outputs, final, strict=True))
    faithful = all(differing(values[i], y) == 0 for i, y in zip(graph.outputs, outputs, strict=True) if i in values)
    return values, faithful, delegated


def _by_sample(array: Array, rank: int) -> Array:
    """The runs along an axis of their own: a child joins runs along an axis of size 1 where there is one."""
    return array[:, None] if array.ndim == rank else array
