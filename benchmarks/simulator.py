"""The simulator against the runtimes that it models, on one thread: ratios in one run are the result.

    uv run python benchmarks/simulator.py [--rounds N] [--images N] [--file INT8.tflite] [--avx2]

MobileNetV2 (224 × 224, int8) and a DS-CNN, made by ``networks.py``. Every runtime gets the same samples in one
invocation. Times are CPU seconds of the process, medians over rounds taken in turns, so that a busy machine
disturbs both sides alike. Each simulation is first held against the runtime: not one element may differ.

``--file`` measures a file instead, such as a YOLOv8n that Ultralytics exported: it runs sample by sample, and the peak
of a simulated chain is held against the largest sum of one operator's inputs and outputs.

"Operator by operator" rounds every operator's sums, on the chain of the first runtime, by the rules of all four and
counts what differs; the whole chains share what is equal, until they part.

``--avx2`` has numba and BLAS told that the processor is a Haswell; the runtimes keep what there is. "On two threads" is
by the clock, each against one thread in turns.
"""

from __future__ import annotations

import os
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported
if "--avx2" in sys.argv:
    os.environ |= {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+f16c,+fma,+lzcnt,+mmx,+movbe,+popcnt,+sse4.2,+ssse3",
        "OPENBLAS_CORETYPE": "Haswell",
    }

import argparse
import math
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from networks import Network, ds_cnn, mobilenet_v2, quantized, smooth_images

from quantdiff.graph import Graph, Operator, Tensor
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.run.litert import RESOLVERS
from quantdiff.sim.graph.chains import compare_rounding, simulate_each
from quantdiff.sim.graph.simulator import simulate, simulate_on_threads
from quantdiff.sim.loops import packed_type
from quantdiff.sim.runtime import Runtime

SIMULATED = (Runtime.XNNPACK, Runtime.BUILTIN, Runtime.REFERENCE)
ALL = (*SIMULATED, Runtime.TFLM)
"""Not those of another processor: they have rules of their own."""
GOALS = {"MobileNetV2": {"int8": 2.2, "int16": 3.5}, "DS-CNN": {"int8": 2.0, "int16": 3.0}}
"""How many times slower than ``xnnpack`` the slowest may be where weights are multiplied as bytes, or as 16 bits."""


def main() -> None:
    """Both networks, one table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--avx2", action="store_true")
    arguments = parser.parse_args()
    if arguments.file is not None:
        measure_file(arguments.file, arguments.images, arguments.rounds)
        return
    for name, network, count in (("MobileNetV2", mobilenet_v2(), arguments.images), ("DS-CNN", ds_cnn(), 256)):
        measure(name, network, count, arguments.rounds)


def measure(name: str, network: Network, count: int, rounds: int) -> None:
    """One network: equal integers first, then the times."""
    x = quantized(network, smooth_images(count, network.images.shape[1:], seed=7))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(network.write())
        graph = load_tflite(path).main
        real = {runtime: interpreter(path, x, runtime.value) for runtime in SIMULATED}
    check(graph, x, real)
    mine: dict[str, Callable[[], object]] = {
        f"simulator:{r.value}": partial(simulate, graph, [x[:, None]], r, keep=graph.outputs) for r in ALL
    }
    mine["four, operator by operator"] = partial(compare_rounding, graph, [x[:, None]], ALL)
    mine["four whole chains"] = partial(simulate_each, graph, [x[:, None]], ALL)
    took = in_turns({**{runtime.value: call for runtime, call in real.items()}, **mine}, rounds)
    show(name, count, took)
    by_clock = partial(simulate_on_threads, graph=graph, inputs=[x[:, None]], runtime=ALL[0], keep=graph.outputs)
    one, two = (
        min(by) for by in in_turns({n: partial(by_clock, n) for n in (1, 2)}, rounds, time.perf_counter).values()
    )
    print(f"  on two threads: {one / two:.2f} times faster by the clock, least of {rounds}\n")


def measure_file(path: Path, count: int, rounds: int) -> None:
    """A file with one 8-bit image as its input, in the same way, and the memory of one chain."""
    graph = load_tflite(path).main
    image = graph.tensors[graph.inputs[0]]
    if image.dtype not in ("int8", "uint8"):
        raise SystemExit(f"{path.name}: its input is {image.dtype}, not an image of 8 bits")
    waves = smooth_images(count, image.shape[1:], seed=7)
    x = np.rint(127.5 * (np.clip(waves, -1, 1) + 1)).astype(np.uint8)
    x = (x ^ 0x80).view(np.int8) if image.dtype == "int8" else x
    alone = interpreter(path, x[:1], "xnnpack")
    mine = partial(simulate, graph, [x[:, None]], Runtime.XNNPACK, keep=graph.outputs)
    wrong = np.count_nonzero(mine().values[graph.outputs[0]][0] != alone())
    took = in_turns({"xnnpack": lambda: [alone() for _ in x], "simulator:xnnpack": mine}, rounds)
    ours, theirs = (min(took[key]) for key in ("simulator:xnnpack", "xnnpack"))
    tracemalloc.start()
    mine()
    peak = tracemalloc.get_traced_memory()[1]
    sizes = [sum(map(bytes_of, activations(graph, operator))) for operator in graph.operators]
    print(f"{path.name}, {len(graph.operators)} operators, {count} samples, {wrong} elements wrong: the simulation is")
    print(f"  {ours / theirs:.1f} times slower than xnnpack (goal: at most 3), least of {rounds}; at its peak it holds")
    print(f"  {peak / 1e6:.1f} MB, {peak / count / max(sizes):.2f} times the largest operator (goal: under 2)")


def activations(graph: Graph, operator: Operator) -> list[Tensor]:
    """What it reads and makes, without constants."""
    tensors = [graph.tensors[i] for i in {*operator.inputs, *operator.outputs} if i >= 0]
    return [tensor for tensor in tensors if not tensor.is_constant]


def bytes_of(tensor: Tensor) -> int:
    """Of one sample."""
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize


def interpreter(path: Path, x: Array, runtime: str) -> Callable[[], Array]:
    """A call that runs the model on all samples at once."""
    model = Interpreter(model_path=str(path), experimental_op_resolver_type=RESOLVERS[runtime], num_threads=1)
    (given,), (wanted,) = model.get_input_details(), model.get_output_details()
    model.resize_tensor_input(given["index"], x.shape)
    model.allocate_tensors()

    def call() -> Array:
        model.set_tensor(given["index"], x)
        model.invoke()
        result: Array = model.get_tensor(wanted["index"])
        return result

    return call


def check(graph: Graph, x: Array, real: dict[Runtime, Callable[[], Array]]) -> None:
    """Every simulated output equals the runtime's, and is neither constant nor saturated.

    Raises:
        SystemExit: it does not, so that times would say nothing.
    """
    together = simulate_each(graph, [x[:, None]], SIMULATED)
    for runtime, call in real.items():
        values = together[runtime].values
        wrong = int(np.count_nonzero(values[graph.outputs[0]][:, 0] != call()))
        made = [values[operator.outputs[0]] for operator in graph.operators[:-1]]
        dull = sum(bool(np.mean(y == 127) > 0.05 or y.std() < 1) for y in made)
        if wrong or dull:
            raise SystemExit(f"{runtime.value}: {wrong} elements differ, {dull} layers saturated or constant")
    ours, theirs = together[Runtime.XNNPACK].values, together[Runtime.REFERENCE].values
    apart = [float(np.mean(ours[op.outputs[0]] != theirs[op.outputs[0]])) for op in graph.operators]
    print(f"elements that differ between the chains of xnnpack and reference: {apart[0]:.1%} after the first operator,")
    print(f"  {statistics.median(apart):.0%} in the median of {len(apart)} operators")


def in_turns(
    calls: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """CPU seconds of each call, one round after the other, each in an order of its own.

    For what follows the two seconds of ``reference`` finds the cache cold, and pays a tenth more.
    """
    took: dict[str, list[float]] = {name: [] for name in calls}
    rng = np.random.default_rng(0)
    for _ in range(rounds + 1):
        for name in (list(calls)[i] for i in rng.permutation(len(calls))):
            start = clock()
            calls[name]()
            took[name].append(clock() - start)
    return {name: seconds[1:] for name, seconds in took.items()}  # the first round warms up


def show(name: str, count: int, took: dict[str, list[float]]) -> None:
    """Milliseconds per sample, and what they are to xnnpack and reference."""
    middle = {key: statistics.median(seconds) for key, seconds in took.items()}
    one = statistics.mean(middle[f"simulator:{runtime.value}"] for runtime in ALL)
    print(f"{name}, {count} samples, median of {len(took['xnnpack'])} (range), CPU ms per sample")
    for key, seconds in took.items():
        spread = f"({1e3 * min(seconds) / count:.2f}–{1e3 * max(seconds) / count:.2f})"
        line = (
            f"  {key:27} {1e3 * middle[key] / count:8.2f} {spread:16} {middle[key] / middle['xnnpack']:6.1f} × xnnpack"
        )
        print(f"{line}, reference / this {middle['reference'] / middle[key]:5.1f}")
    slowest = max(middle[f"simulator:{runtime.value}"] for runtime in ALL)
    way = np.dtype(packed_type(np.int8, 0)).name
    goal = f"goal: at most {GOALS[name][way]}, products of {way}"
    print(f"  slowest simulation: {middle['reference'] / slowest:.1f} times faster than reference,")
    print(f"    {slowest / middle['xnnpack']:.1f} times slower than xnnpack ({goal})")
    four = middle["four, operator by operator"]
    told = " (goal: at most 3.5)" if (name, way) == ("MobileNetV2", "int8") else ""
    print(f"  four runtimes' rounding: {four / middle['xnnpack']:.1f} times slower than xnnpack{told},")
    print(f"    {four / one:.2f} times one;")
    print(f"    four chains, each on its own results: {middle['four whole chains'] / one:.2f}")


if __name__ == "__main__":
    main()
