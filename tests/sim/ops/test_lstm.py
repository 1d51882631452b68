"""UNIDIRECTIONAL_SEQUENCE_LSTM: every runtime bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from golden import LITERT, RUNTIMES, Case, Dice, run_simulator
from written_models import Op, T

from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime

GATES = ("i", "f", "c", "o")


def lstm(dice: Dice, *kinds: str) -> Case:
    """A cell with what ``kinds`` name: ``coupled`` gates, ``peephole``, ``projection``, layer ``norm``.

    With ``ties`` every other product of a peephole lies half way between two integers; with ``half`` input and output
    gate stay at a half, and the state's scale is a power of two, so that what they multiply often does.
    """
    batch, time = dice.size(1, 2) * dice.grown**3, dice.size(2, 9)
    inputs, cells = dice.of(1, 7, 16, 28), dice.of(1, 8, 20, 33)
    s_x, s_h, s_c = dice.scale(-6, -4), float(np.float32(1 / dice.of(128, 127.5, 100))), 2.0 ** dice.of(-12, -11, -10)
    s_h, still = (1 / 128, ("i", "o")) if "half" in kinds else (s_h, ())
    wild = dice.of(0, 0, 3)  # gates far outside their range
    z_x, z_h = dice.zero_point(), dice.of(0, -3, 20)
    outputs = dice.of(1, 5, 16) if "projection" in kinds else cells
    gates = GATES[1:] if "coupled" in kinds else GATES
    tensors = [T("x", (batch, time, inputs), scale=s_x, zero_point=z_x)]
    for prefix, width in (("w", inputs), ("r", outputs)):
        tensors += [
            T(prefix + g, (cells, width), scale=dice.scale(-6, -4 + wild), data=weights * (g not in still))
            for g in gates
            for weights in [dice.integers((cells, width), low=-127)]
        ]
    tensors += [
        T("b" + g, (cells,), "int32", 1e-4, data=dice.rng.integers(-3000, 3000, cells) * (g not in still))
        for g in gates
    ]
    tensors += [
        T("state", (batch, outputs), "int8", s_h, z_h, is_variable=True),
        T("cell", (batch, cells), "int16", s_c, 0, is_variable=True),
        T("y", (batch, time, outputs), "int8", s_h, z_h),
        *(
            T(f"between{k}", (0,), *(("int16", dice.scale(-9, -6)) if "norm" in kinds else ("float32",)))
            for k in range(4)
        ),
        T("hidden", (0,), "int8", s_h if "projection" not in kinds else 1 / 128, z_h),
    ]
    if "peephole" in kinds:
        tensors += [
            T("p" + g, (cells,), "int16", *peephole(dice, cells, s_c if "ties" in kinds else None))
            for g in gates
            if g != "c"
        ]
    if "norm" in kinds:
        tensors += [
            T("n" + g, (cells,), "int16", dice.scale(-11, -9), data=dice.integers((cells,), "int16", low=-32767))
            for g in gates
        ]
    if "projection" in kinds:
        s_p = dice.scale(-6, -4)
        weights = dice.integers((outputs, cells), low=-127)
        tensors.append(T("project", (outputs, cells), scale=s_p, data=weights))
        if dice.chance():
            bias = dice.rng.integers(-3000, 3000, outputs)
            tensors.append(T("project_b", (outputs,), "int32", s_p / 128, data=bias))
    there = {t.name for t in tensors}

    def named(*names: str) -> list[str | None]:
        return [name if name in there else None for name in names]

    names = named("x", *("w" + g for g in GATES), *("r" + g for g in GATES), "pi", "pf", "po")
    names += named(*("b" + g for g in GATES), "project", "project_b", "state", "cell", *("n" + g for g in GATES))
    options = {"fusedActivationFunction": 4, "cellClip": dice.of(0.0, 10.0, 1.0), "projClip": dice.of(0.0, 0.0, 0.5)}
    op = Op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        names,
        ["y"],
        options,
        "UnidirectionalSequenceLSTMOptions",
        intermediates=[*(f"between{k}" for k in range(4)), "hidden"],
    )
    return Case(tensors, [op], {"x": dice.integers((batch, time, inputs))})


def peephole(dice: Dice, cells: int, s_c: float | None) -> tuple[float, int, int, Array]:
    """Scale, zero point, axis and weights; ``s_c`` is that of a cell of which every odd value makes a tie."""
    if s_c is None:
        return dice.scale(-14, -10), 0, 0, dice.integers((cells,), "int16", low=-32767)
    return 2.0**-15, 0, 0, np.round(2.0**2 / s_c * dice.rng.choice([-1, 1], cells)).astype(np.int16)


def one_step(dice: Dice, *kinds: str) -> Case:
    """The same cell as the op that takes one step."""
    case = lstm(dice, *kinds)
    old, x = case.operators[0], case.feeds["x"][:, 0]
    options = {k: v for k, v in old.options.items() if k != "timeMajor"} | {"kernelType": 0}
    shapes = {"x": x.shape, "y": next((1, t.shape[2]) for t in case.tensors if t.name == "y")}
    tensors = [replace(t, shape=shapes.get(t.name, t.shape)) for t in case.tensors]
    op = replace(old, op="LSTM", options=options, options_type="LSTMOptions")
    return Case(tensors, [op], {"x": x})


def floats(dice: Dice, *kinds: str) -> Case:
    """A cell of floats; ``major`` puts time first, so that a step takes all rows together; ``step`` is one step."""
    batch, time, inputs, cells = dice.size(1, 3), dice.size(1, 5), dice.of(1, 3, 4, 9, 28), dice.of(1, 3, 5, 8, 20)
    outputs = dice.of(1, 4, 7) if "projection" in kinds else cells
    gates = GATES[1:] if "coupled" in kinds else GATES

    def real(name: str, *shape: int, spread: float = 1.0) -> T:
        return T(name, shape, "float32", data=dice.rng.normal(0, spread, shape).astype(np.float32))

    lead = {"major": (time, batch), "step": (batch,)}.get(kinds[0] if kinds else "", (batch, time))
    tensors = [T("x", (*lead, inputs), "float32"), T("y", (*lead, outputs), "float32")]
    tensors += [real("w" + g, cells, inputs) for g in gates] + [real("r" + g, cells, outputs) for g in gates]
    tensors += [real("b" + g, cells, spread=0.5) for g in gates]
    tensors += [T(name, (batch, n), "float32", is_variable=True) for name, n in (("state", outputs), ("cell", cells))]
    if "peephole" in kinds:
        tensors += [real("p" + g, cells) for g in gates if g != "c"]
    if "projection" in kinds:
        tensors += [real("project", outputs, cells), *([real("project_b", outputs)] if dice.chance() else [])]
    there = {t.name for t in tensors}
    order = ["x", *("w" + g for g in GATES), *("r" + g for g in GATES), "pi", "pf", "po", *("b" + g for g in GATES)]
    names = [name if name in there else None for name in (*order, "project", "project_b", "state", "cell")]
    names += [None] * 4  # no layer normalization
    options = {"fusedActivationFunction": 4, "cellClip": dice.of(0.0, 0.7), "projClip": dice.of(0.0, 0.5)}
    op, table = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTMOptions"
    if "step" in kinds:
        op, table, options = "LSTM", "LSTMOptions", options | {"kernelType": 0}
    elif "major" in kinds:
        options |= {"timeMajor": True}
    x = dice.rng.normal(0, 2, (*lead, inputs)).astype(np.float32)
    silent = dice.rng.random(len(x)) < 0.2  # a step that sees nothing adds no products
    x[silent] = 0
    return Case(tensors, [Op(op, names, ["y"], options, table)], {"x": x})


def hybrid(dice: Dice, *kinds: str) -> Case:
    """The same on int8 weights, its input and state on grids of their own at each step."""
    case = floats(dice, *kinds)
    asymmetric = {"asymmetricQuantizeInputs": dice.chance()}

    def narrowed(t: T) -> T:
        if t.data is None or t.name[0] == "b" or t.name == "project_b":
            return t
        low = -128 if dice.chance(0.1) else -127  # no converter writes -128, but a file may hold it
        return replace(t, dtype="int8", scale=float(np.float32(1 / 127)), data=dice.integers(t.shape, low=low))

    (op,) = case.operators
    return Case([narrowed(t) for t in case.tensors], [replace(op, options={**op.options, **asymmetric})], case.feeds)


KINDS = [
    ("coupled",),
    ("peephole",),
    ("peephole", "ties"),
    ("half",),
    ("projection",),
    ("norm",),
    ("coupled", "peephole", "norm"),
    ("coupled", "projection", "norm"),
]


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("kinds", KINDS)
def test_golden_of_rare_kinds(exact: Callable[..., None], runtime: Runtime, kinds: tuple[str, ...]) -> None:
    name = f"UNIDIRECTIONAL_SEQUENCE_LSTM, {', '.join(kinds)}"
    exact(name, lambda dice: lstm(dice, *kinds), runtime, times=0.05, cases=15)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("kinds", [(), ("coupled", "peephole"), ("projection", "norm")])
def test_golden_of_one_step(exact: Callable[..., None], runtime: Runtime, kinds: tuple[str, ...]) -> None:
    exact("LSTM", lambda dice: one_step(dice, *kinds), runtime, times=0.01, cases=15)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kinds", [(), ("major",)])
def test_golden_of_floats(exact: Callable[..., None], runtime: Runtime, kinds: tuple[str, ...]) -> None:
    exact("UNIDIRECTIONAL_SEQUENCE_LSTM float32", lambda dice: floats(dice, *kinds), runtime, times=0.05, cases=15)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("kinds", [("coupled", "peephole"), ("major", "projection"), ("coupled", "projection")])
def test_golden_of_rare_floats(exact: Callable[..., None], runtime: Runtime, kinds: tuple[str, ...]) -> None:
    exact("UNIDIRECTIONAL_SEQUENCE_LSTM float32", lambda dice: floats(dice, *kinds), runtime, times=0.05, cases=15)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_of_one_step_of_floats(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("LSTM float32", lambda dice: floats(dice, "step"), runtime, times=0.05, cases=15)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
@pytest.mark.parametrize("kinds", [(), ("major", "projection"), ("coupled", "peephole"), ("step",)])
def test_golden_of_dynamic_range(exact: Callable[..., None], runtime: Runtime, kinds: tuple[str, ...]) -> None:
    exact("UNIDIRECTIONAL_SEQUENCE_LSTM hybrid", lambda dice: hybrid(dice, *kinds), runtime, times=0.03, cases=12)


@pytest.mark.parametrize("kind", ["peephole", "projection", "norm"])
def test_what_tflm_does_not_have_is_refused(kind: str) -> None:
    case = lstm(Dice(), kind)
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.TFLM)[1].missing
    assert "TFLM" in missing.why


def test_a_cell_too_fine_for_the_tanh_of_litert_is_refused() -> None:
    """What such a file gives there does not depend on its input; TFLM has a tanh for it."""
    case = lstm(Dice())
    case = replace(case, tensors=[replace(t, scale=2.0**-16) if t.name == "cell" else t for t in case.tensors])
    model, feeds = case.write(), list(case.feeds.values())
    (missing,) = run_simulator(model, feeds, Runtime.REFERENCE)[1].missing
    assert "scale 2**-16" in missing.why
    assert not run_simulator(model, feeds, Runtime.TFLM)[1].missing


@pytest.mark.golden
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden(exact: Callable[..., None], runtime: Runtime) -> None:
    exact("UNIDIRECTIONAL_SEQUENCE_LSTM", lstm, runtime, times=0.1, cases=30)


@pytest.mark.golden
def test_golden_of_ties_in_tflm(exact: Callable[..., None]) -> None:
    name = "UNIDIRECTIONAL_SEQUENCE_LSTM, half"
    exact(name, lambda dice: lstm(dice, "half"), Runtime.TFLM, times=0.05, cases=15)
