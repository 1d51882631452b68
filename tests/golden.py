"""Hold the simulator against the real runtimes, bit for bit, on small models written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any

import emulated
import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.graph import Graph
from quantdiff.load.tflite import read_model
from quantdiff.quant import Array
from quantdiff.sim.arm64 import REASONS
from quantdiff.sim.graph.simulator import Simulation, simulate
from quantdiff.sim.node import node_of
from quantdiff.sim.runtime import Runtime
from quantdiff.sim.xnnpack.delegate import taken

RUNTIMES = tuple(Runtime)
"""Those on ARM64 are measured on request, see ``--golden-arm64`` in ``sim/conftest.py``."""
LITERT = tuple(runtime for runtime in Runtime if runtime is not Runtime.TFLM)
CASES = 30
"""Models per op and runtime, at least: one multiplier each, so that near-ties are hit from many sides."""
TOGETHER, ELEMENTS, ROUNDS = 64, 20_000, 2
"""Where many elements are asked for, so many cases go into one model, or as many as have so many elements in all, and
each of them gets so many inputs."""
GROWN = 5
"""Sizes may then be so many times larger; every other case stays small."""
ARENA, EVERY = 2**24, 256


@dataclass(frozen=True)
class Case:
    """A model of a few operators, and what to feed it: one array per input, at the shape of the file."""

    tensors: Sequence[T]
    operators: Sequence[Op]
    feeds: dict[str, Array]

    def write(self) -> bytes:
        made = [name for op in self.operators for name in op.outputs]
        return write_tflite(self.tensors, self.operators, list(self.feeds), made)

    def fitted(self) -> Case:
        """The same with the shapes of the outputs as the simulator finds them, for makers that do not say."""
        graph, simulation = run_simulator(self.write(), list(self.feeds.values()), Runtime.REFERENCE)
        shapes = {graph.tensors[i].name: simulation.values[i].shape[1:] for i in graph.outputs}
        return replace(self, tensors=[replace(t, shape=shapes.get(t.name, t.shape)) for t in self.tensors])


Maker = Callable[["Dice"], Case]


@dataclass
class Dice:
    """Seeded choices that favour trouble: powers of two, odd sizes, zero points far from 0, ends of the range.

    ``grown``: how many times larger sizes without a meaning of their own may be, see ``side``.
    """

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    grown: int = 1

    def of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def side(self, low: int, high: int) -> int:
        """A size of which only the number of elements depends."""
        return self.size(low, high * self.grown)

    def scale(self, low: float = -6.0, high: float = -1.0) -> float:
        """A float32 scale; every third is a power of two, where ties are."""
        if self.chance(1 / 3):
            return float(2.0 ** round(self.rng.uniform(low, high) / np.log(2)))
        return float(np.float32(np.exp(self.rng.uniform(low, high))))

    def near(self, scale: float, spread: float = 0.7) -> float:
        """A scale not far from ``scale``: equal, a power of two away, or anything."""
        if self.chance(0.5):
            return float(np.float32(scale * 2.0 ** self.size(-2, 2)))
        return float(np.float32(scale * np.exp(self.rng.uniform(-spread, spread))))

    def at_tie(self, unit: float, whole: float) -> float:
        """A scale in which ``unit * whole`` rounds up or down by the last bit of the multiplier.

        With one rounding that is at half a step, with two where the first rounding just reaches the half.
        """
        steps = self.size(0, 100) + 0.5
        if self.chance():
            shift = max(0, -int(np.frexp(steps / whole)[1]))
            steps -= 2.0 ** -(shift + 1)
        return float(np.float32(abs(unit * whole) / steps))

    def biases_at_ties(self, units: Array, scale: float) -> Array:
        """Integers that, times ``units``, are nearly an odd number of half steps of ``scale``. Shape as ``units``."""
        halves = self.rng.integers(-110, 110, units.shape) + 0.5
        return np.clip(np.round(halves * scale / units), -(2**29), 2**29).astype(np.int64)

    def zero_point(self, dtype: str = "int8") -> int:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return int(self.of(low, high, 0 if dtype == "int8" else 128, self.size(low, high), self.size(low, high)))

    def integers(self, shape: Sequence[int], dtype: str = "int8", low: int | None = None) -> Array:
        """Random values; a twentieth lie at the ends of the range."""
        info = np.iinfo(dtype)
        low = info.min if low is None else low
        q = self.rng.integers(low, info.max, shape, endpoint=True)
        ends = self.rng.choice(np.asarray([low, info.max]), shape)
        return np.where(self.rng.random(shape) < 0.05, ends, q).astype(dtype)

    def shape(self) -> tuple[int, ...]:
        """Ranks 1 to 4, sizes around multiples of 8 and 16, batch mostly 1."""
        last = self.of(1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100)
        middle = [self.of(self.side, self.size)(1, 9), self.size(1, 9)][: self.size(0, 2)]
        return (self.of(1, 1, 1, 2, 3), *middle, last)


def run_real(model: bytes, feeds: Sequence[Array], runtime: Runtime) -> tuple[list[Array], list[str]]:
    """Outputs of the real runtime, and the names of the ops that it ran."""
    outputs, ran = run_rounds(model, [np.asarray(array)[None] for array in feeds], runtime)
    return [array[0] for array in outputs], ran


def run_rounds(model: bytes, feeds: Sequence[Array], runtime: Runtime) -> tuple[list[Array], list[str]]:
    """The same for several rounds of input along a first axis, one after another; a state starts afresh each time."""
    if runtime is Runtime.TFLM:
        return _run_tflm(model, feeds), []
    if runtime.on_arm64:
        return emulated.run(model, feeds, runtime.family.value)
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {
        Runtime.XNNPACK: OpResolverType.AUTO,
        Runtime.BUILTIN: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        Runtime.REFERENCE: OpResolverType.BUILTIN_REF,
    }[runtime]
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver, num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = ([d["index"] for d in details()] for details in _ends(interpreter))
    made = []
    for arrays in zip(*feeds, strict=True):
        interpreter.reset_all_variables()
        for index, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        made.append([interpreter.get_tensor(index) for index in outputs])
    return [np.stack(arrays) for arrays in zip(*made, strict=True)], [op["op_name"] for op in _ops(interpreter)]


def _ends(interpreter: Any) -> tuple[Any, Any]:
    return interpreter.get_input_details, interpreter.get_output_details


def _ops(interpreter: Any) -> Any:
    return interpreter._get_ops_details()


def _run_tflm(model: bytes, feeds: Sequence[Array]) -> list[Array]:
    from tflite_micro.python.tflite_micro import runtime as tflm

    interpreter = tflm.Interpreter.from_bytes(model, arena_size=ARENA)
    graph = read_model(memoryview(model)).main
    stateful = any(tensor.is_variable for tensor in graph.tensors)
    made: list[list[Array]] = []
    for arrays in zip(*feeds, strict=True):
        if stateful and made:
            interpreter.reset()
        for index, array in enumerate(arrays):
            interpreter.set_input(array, index)
        interpreter.invoke()
        made.append([interpreter.get_output(index) for index in range(len(graph.outputs))])
    return [np.stack(arrays) for arrays in zip(*made, strict=True)]


def run_simulator(model: bytes, feeds: Sequence[Array], runtime: Runtime) -> tuple[Graph, Simulation]:
    graph = read_model(memoryview(model)).main
    return graph, simulate(graph, [np.asarray(array)[None] for array in feeds], runtime)


def differences(case: Case, runtime: Runtime, rounds: int = 1) -> tuple[int, int]:
    """Elements compared, and elements that differ; the delegate's choice must be foreseen."""
    model = case.write()
    feeds = [np.stack(arrays) for arrays in zip(*drawn_again(case, rounds), strict=True)]
    real, ran = run_rounds(model, feeds, runtime)
    graph = read_model(memoryview(model)).main
    simulation = simulate(graph, feeds, runtime)
    if runtime.on_arm64 and any(item.why in REASONS for item in simulation.missing):
        pytest.skip(f"{simulation.missing[0].op} on {runtime.value}: {simulation.missing[0].why}")
    assert not simulation.missing, simulation.missing
    if runtime.family is Runtime.XNNPACK and len(graph.operators) == 1:
        foreseen = taken(node_of(graph, graph.operators[0]))
        where = f"sim/xnnpack/delegate.py: RULES: {graph.operators[0].op}"
        assert foreseen == ("DELEGATE" in ran), f"{where}: foreseen {foreseen}, ran {ran}: {case.tensors}"
    count = wrong = 0
    for index, y in zip(graph.outputs, real, strict=True):
        mine = simulation.values[index]
        assert (mine.shape[1:], mine.dtype) == (y.shape[1:], y.dtype)
        count, wrong = count + y.size, wrong + int(np.sum(~same(np.broadcast_to(mine, y.shape), y)))
    return count, wrong


def drawn_again(case: Case, rounds: int) -> list[list[Array]]:
    """The case's feeds, then others: every second time its rows in another order, else its values, or fresh ones."""
    rng = np.random.default_rng(1)
    return [
        [array if turn == 0 else _redrawn(array, rng, whole=turn % 2 == 0) for array in map(np.asarray, feeds)]
        for turn, feeds in enumerate([list(case.feeds.values())] * rounds)
    ]


def _redrawn(array: Array, rng: np.random.Generator, whole: bool) -> Array:
    indices = array.dtype.name in ("int32", "int64")  # rows of which stay rows, and a shape a shape
    if array.ndim > 1 and (indices or not whole):
        return rng.permutation(array.reshape(-1, array.shape[-1])).reshape(array.shape)
    if indices:
        return array
    if array.dtype.name in ("int8", "uint8", "int16") and array.size and spans(array):
        return Dice(rng).integers(array.shape, array.dtype.name)
    return rng.permutation(array.reshape(-1)).reshape(array.shape)


def spans(array: Array) -> bool:
    """True when the values reach both ends of their type, so that any value may stand there."""
    info = np.iinfo(array.dtype)
    return int(array.min()) == info.min and int(array.max()) == info.max


def exhausted(case: Case) -> bool:
    """True when the only input holds every 8-bit value, or all but 0, so that drawing again shows nothing new."""
    feeds = list(case.feeds.values())
    return len(feeds) == 1 and np.asarray(feeds[0]).size == len(np.unique(feeds[0])) in (EVERY - 1, EVERY)


def same(a: Array, b: Array) -> Array:
    """Equal bits, any NaN being equal to any other; +0 and -0 differ."""
    if a.dtype.kind != "f":
        return np.asarray(a == b)
    return np.asarray(((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b)))


def exact_on(
    maker: Maker, runtime: Runtime, elements: int, least: int = CASES, rounds: int = ROUNDS
) -> tuple[int, int]:
    """Elements compared and elements that differ, over cases drawn until both are enough.

    The first ``least`` cases are models of their own. Those beyond share a model, since writing and loading it costs
    most, and run ``rounds`` times.
    """
    dice = Dice()
    count = wrong = 0
    for _ in range(least):
        more, bad = differences(maker(dice), runtime)
        count, wrong = count + more, wrong + bad
    while count < elements:
        cases = list[Case]()
        while len(cases) < TOGETHER and sum(map(size_of, cases)) < ELEMENTS:
            dice.grown = GROWN if len(cases) % 2 else 1
            cases.append(maker(dice))
        more, bad = differences(together(cases), runtime, 1 if all(map(exhausted, cases)) else rounds)
        count, wrong = count + more, wrong + bad
    return count, wrong


def together(cases: Sequence[Case]) -> Case:
    """One model of all cases, side by side."""
    tensors, operators, feeds = list[T](), list[Op](), dict[str, Array]()
    for number, case in enumerate(cases):

        def own(names: Sequence[str | None], number: int = number) -> list[Any]:
            return [name if name is None else f"{name}/{number}" for name in names]

        tensors += [replace(t, name=f"{t.name}/{number}") for t in case.tensors]
        operators += [
            replace(op, inputs=own(op.inputs), outputs=own(op.outputs), intermediates=own(op.intermediates))
            for op in case.operators
        ]
        feeds |= {f"{name}/{number}": x for name, x in case.feeds.items()}
    return Case(tensors, operators, feeds)


def size_of(case: Case) -> int:
    """Elements of all outputs."""
    made = {name for op in case.operators for name in op.outputs}
    return sum(math.prod(t.shape) for t in case.tensors if t.name in made)


@cache
def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("ai-edge-litert", "tflite-micro"))
