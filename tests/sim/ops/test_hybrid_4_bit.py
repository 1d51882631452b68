"""Float activations on weights of 4 bits, with a scale for all, for each channel or for each block: bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from golden import LITERT, Case, Dice, Maker, differences, run_simulator
from sim.ops.test_hybrid import dense, image, reals
from sim.ops.test_int4 import packed
from written_models import Op, T

from quantdiff.sim import hybrid_4_bit
from quantdiff.sim.runtime import Runtime

BLOCK = 32


def narrowed(maker: Maker) -> Maker:
    """The same case with its weights cut to -7 … 7."""

    def make(dice: Dice) -> Case:
        case = maker(dice)

        def other(t: T) -> T:
            if t.name != "w":
                return t
            values = np.clip(np.asarray(t.data, np.int64) // 16, -7, 7)
            return replace(t, dtype="int4", data=None, raw=packed(values))

        return replace(case, tensors=[other(t) for t in case.tensors])

    return make


def blocks(dice: Dice) -> Case:
    rows, units, depth = dice.of(1, 1, 2, 5), dice.of(4, 5, 8, 17, 33), BLOCK * dice.size(1, 6)
    w = dice.rng.integers(-7, 8, (units, depth))
    scales = np.exp(dice.rng.uniform(-6, -1, (units, depth // BLOCK))).astype(np.float16)
    details = ("BlockwiseQuantization", {"scales": 1, "zeroPoints": -1, "blockSize": BLOCK})
    tensors = [
        T("x", (rows, depth), "float32"),
        T("s", scales.shape, "float16", data=scales),
        T("w", (units, depth), "int4", raw=packed(w), details=details),
        T("b", (units,), "float32", data=dice.rng.normal(size=units)),
        T("y", (rows, units), "float32"),
    ]
    names = ["x", "w", "b"] if dice.chance(0.8) else ["x", "w"]
    op = Op("FULLY_CONNECTED", names, ["y"], {"fusedActivationFunction": dice.of(0, 0, 1)}, version=13)
    return Case(tensors, [op], {"x": reals(dice, (rows, depth))})


CASES: dict[str, tuple[Maker, tuple[Runtime, ...]]] = {
    "CONV_2D hybrid, 4 bits": (narrowed(lambda dice: image(dice, False)), LITERT),
    "FULLY_CONNECTED hybrid, 4 bits, per channel": (narrowed(lambda dice: dense(dice, True)), LITERT),
    "FULLY_CONNECTED hybrid, 4 bits, per tensor": (narrowed(lambda dice: dense(dice, False)), LITERT),
}


@pytest.mark.golden
@pytest.mark.parametrize(
    ("op", "runtime"), [(op, runtime) for op, (_, runtimes) in CASES.items() for runtime in runtimes]
)
def test_golden(exact: Callable[..., None], runtime: Runtime, op: str) -> None:
    exact(op, CASES[op][0], runtime)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [Runtime.XNNPACK, Runtime.BUILTIN])
def test_golden_of_blocks(elements: int, note: Callable[..., None], runtime: Runtime) -> None:
    """One model after the other: a file names the tensor of the scales by its number."""
    dice, count, wrong = Dice(), 0, 0
    while count < elements / 10:
        compared, differing = differences(blocks(dice), runtime, rounds=9)
        count, wrong = count + compared, wrong + differing
    note("FULLY_CONNECTED hybrid, 4 bits, blocks", runtime, count, wrong)


def test_blocks_that_a_runtime_cannot_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    case = blocks(Dice())
    monkeypatch.setattr(hybrid_4_bit, "has_avx512_vnni", lambda: False)
    for runtime, why in ((Runtime.REFERENCE, "something else"), (Runtime.XNNPACK, "without AVX-512 VNNI")):
        (missing,) = run_simulator(case.write(), list(case.feeds.values()), runtime)[1].missing
        assert why in missing.why
