"""Float matrix products and convolutions: every runtime adds in an order of its own, and the simulator follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from golden import RUNTIMES, Case, Dice, Maker
from written_models import Op, T

from quantdiff.load.tflite import read_model
from quantdiff.quant import Array
from quantdiff.sim.accumulate import axis_of
from quantdiff.sim.floats import eigen, neon
from quantdiff.sim.floats.eigen import in_one_sum, joined
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.node import NoKernel
from quantdiff.sim.runtime import Runtime


def reals(dice: Dice, shape: Sequence[int]) -> Array:
    """Floats of many sizes, zeros among them, some too small to be normal."""
    x = dice.rng.normal(size=shape) * np.exp(dice.rng.uniform(-3, 3, shape))
    planted = dice.rng.choice([0.0, -0.0, 1e-39, -1e-20, 1e-25], shape)
    return np.where(dice.rng.random(shape) < dice.of(0, 0.1, 0.9), planted, x).astype(np.float32)


def of_zeros(case: Case, dice: Dice) -> Case:
    """The same with nothing but zeros of both signs, and what is too small to stay: only the signs are left to tell."""

    def zeros(array: Array) -> Array:
        return dice.rng.choice(np.asarray([0.0, -0.0, -0.0, 1e-30, -1e-30], np.float32), array.shape)

    tensors = [t if t.data is None else replace(t, data=zeros(np.asarray(t.data))) for t in case.tensors]
    return replace(case, tensors=tensors, feeds={name: zeros(array) for name, array in case.feeds.items()})


def dense(dice: Dice, rows: int = 1, depth: int = 0) -> Case:
    depth, units = depth or dice.of(1, 2, 3, 4, 7, 8, 15, 16, 17, 33, 100), dice.of(1, 1, 2, 3, 4, 5, 9, 16, 33)
    tensors = [
        T("x", (rows, depth), "float32"),
        T("w", (units, depth), "float32", data=reals(dice, (units, depth))),
        T("b", (units,), "float32", data=reals(dice, (units,))),
        T("y", (rows, units), "float32"),
    ]
    names = ["x", "w", "b"] if dice.chance(0.8) else ["x", "w"]
    op = Op("FULLY_CONNECTED", names, ["y"], {"fusedActivationFunction": dice.of(0, 0, 1, 2, 3)})
    return Case(tensors, [op], {"x": reals(dice, (rows, depth))})


def image(dice: Dice, depthwise: bool, grouped: bool = False) -> Case:
    many, h, w = dice.of(1, 1, 2), dice.size(6, 9), dice.size(6, 9)
    taps, stride, padding = (dice.size(1, 6), dice.size(1, 6)), dice.of(1, 2), dice.of("SAME", "VALID")
    rows, columns = (axis_of(size, n, stride, 1, padding) for size, n in zip((h, w), taps, strict=True))
    groups = 2 if grouped else 1
    c = groups * dice.of(1, 3, 8, 17)
    out = c * dice.of(1, 2) if depthwise else groups * dice.of(1, 5, 8, 9)
    shape = (1, *taps, out) if depthwise else (out, *taps, c // groups)
    options = {"padding": int(padding == "VALID"), "strideH": stride, "strideW": stride}
    options |= {"fusedActivationFunction": dice.of(0, 0, 1, 3)} | ({"depthMultiplier": out // c} if depthwise else {})
    tensors = [
        T("x", (many, h, w, c), "float32"),
        T("w", shape, "float32", data=reals(dice, shape)),
        T("b", (out,), "float32", data=reals(dice, (out,))),
        T("y", (many, rows.out, columns.out, out), "float32"),
    ]
    op = Op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", ["x", "w", "b"], ["y"], options)
    return Case(tensors, [op], {"x": reals(dice, (many, h, w, c))})


CASES: list[tuple[str, Maker, Sequence[Runtime]]] = [
    ("CONV_2D float32", lambda dice: image(dice, False), RUNTIMES),
    ("CONV_2D float32, groups", lambda dice: image(dice, False, True), RUNTIMES),
    ("DEPTHWISE_CONV_2D float32", lambda dice: image(dice, True), RUNTIMES),
    ("CONV_2D float32, zeros", lambda dice: of_zeros(image(dice, False), dice), RUNTIMES),
    ("DEPTHWISE_CONV_2D float32, zeros", lambda dice: of_zeros(image(dice, True), dice), RUNTIMES),
    ("FULLY_CONNECTED float32", dense, RUNTIMES),
    ("FULLY_CONNECTED float32, zeros", lambda dice: of_zeros(dense(dice), dice), RUNTIMES),
    ("FULLY_CONNECTED float32, rows", lambda dice: dense(dice, dice.of(2, 5, 30)), RUNTIMES),
    (
        "FULLY_CONNECTED float32, deep",
        lambda dice: dense(dice, dice.of(1, 2, 7), dice.of(679, 681, 700, 1400)),
        RUNTIMES,
    ),
]


@pytest.mark.golden
@pytest.mark.parametrize(("op", "maker", "runtime"), [(op, m, r) for op, m, runtimes in CASES for r in runtimes])
def test_golden(exact: Callable[..., None], op: str, maker: Maker, runtime: Runtime) -> None:
    exact(op, maker, runtime, cases=60)


def test_partial_sums_by_hand() -> None:
    big, one = np.float32(2**25), np.float32(1)
    assert joined(np.asarray([big, one, -big, one], np.float32)) == 2  # one by one, the first 1 would be lost
    x = np.asarray([[big, 0, 0, 0, one, 0, 0, 0, -big, 0, 0, 0]], np.float32)
    assert in_one_sum(x, np.ones((1, 12), np.float32)) == 0  # the second vector joins the third, and is lost


def test_what_a_row_holds_twice_turns_a_zero_on_arm64() -> None:
    """All four sums are -0; of the last vector three places are 0 times weights that were there before."""
    t = np.float32(1e-30)
    x, w = np.asarray([[t, t, -t, -t, -t]]), np.asarray([[-t, -t, t, t, t]] * 4)
    assert np.signbit(neon.product(x[:, :4], w[:, :4])).all()
    assert not np.signbit(neon.product(x, w)).any()  # so the emulated kernel


def test_long_sums_are_cut_by_the_size_of_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eigen, "level_1_data_cache", lambda: 2**15)
    assert [eigen.block_of(depth) for depth in (680, 681, 1360, 2000)] == [680, 344, 680, 672]
    monkeypatch.setattr(eigen, "level_1_data_cache", lambda: None)
    assert eigen.block_of(680) == 680
    with pytest.raises(NoKernel, match="size of a cache"):
        eigen.block_of(681)


def test_a_row_of_each_sample_is_alone() -> None:
    case = dense(Dice())
    samples = np.stack([case.feeds["x"], case.feeds["x"][:, ::-1], case.feeds["x"]])
    graph = read_model(memoryview(case.write())).main
    y = simulate(graph, [samples], Runtime.BUILTIN).values[graph.outputs[0]]
    np.testing.assert_array_equal(y[0], y[2])
