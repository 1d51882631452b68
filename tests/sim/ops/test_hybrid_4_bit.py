"""Float activations on weights of 4 or 2 bits, a scale for all, for each channel or for each block: bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden import ELEMENTS, LITERT, Case, Dice, Maker, differences, exact_on, run_simulator
from sim.ops.test_hybrid import dense, image, reals
from sim.ops.test_int4 import narrowed, packed
from written_models import Op, T

from quantdiff.sim import hybrid_4_bit
from quantdiff.sim.runtime import Runtime

BLOCK = 32


def blocks(dice: Dice, dtype: str = "int4", least: int = 4) -> Case:
    rows, units, depth = dice.of(1, 1, 2, 5), dice.of(least, 5, 8, 17, 33), BLOCK * dice.size(1, 6)
    high = {"int8": 127, "int4": 7, "int2": 1}[dtype]
    w = dice.rng.integers(-high, high + 1, (units, depth))
    scales = np.exp(dice.rng.uniform(-6, -1, (units, depth // BLOCK))).astype(np.float16)
    details = ("BlockwiseQuantization", {"scales": 1, "zeroPoints": -1, "blockSize": BLOCK})
    stored = w.astype(np.int8).tobytes() if dtype == "int8" else packed(w, int(dtype[3:]))
    tensors = [
        T("x", (rows, depth), "float32"),
        T("s", scales.shape, "float16", data=scales),
        T("w", (units, depth), dtype, raw=stored, details=details),
        T("b", (units,), "float32", data=dice.rng.normal(size=units)),
        T("y", (rows, units), "float32"),
    ]
    names = ["x", "w", "b"] if dice.chance(0.8) else ["x", "w"]
    op = Op("FULLY_CONNECTED", names, ["y"], {"fusedActivationFunction": dice.of(0, 0, 1)}, version=13)
    return Case(tensors, [op], {"x": reals(dice, (rows, depth))})


CASES: dict[str, tuple[Maker, tuple[Runtime, ...]]] = {
    "CONV_2D hybrid, 4 bits": (narrowed(lambda dice: image(dice, False)), LITERT),
    "FULLY_CONNECTED hybrid, 2 bits, per channel": (narrowed(lambda dice: dense(dice, True), 2), LITERT),
    "FULLY_CONNECTED hybrid, 2 bits, per tensor": (narrowed(lambda dice: dense(dice, False), 2), LITERT),
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
@pytest.mark.parametrize("runtime", LITERT)
def test_golden_of_blocks(elements: int, note: Callable[..., None], runtime: Runtime) -> None:
    """One model after the other: a file names the tensor of the scales by its number."""
    dice, count, wrong = Dice(), 0, 0
    while count < (elements / 10 if elements <= ELEMENTS else elements):
        compared, differing = differences(blocks(dice), runtime, rounds=9)
        count, wrong = count + compared, wrong + differing
    note("FULLY_CONNECTED hybrid, 4 bits, blocks", runtime, count, wrong)


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [runtime for runtime in LITERT if runtime.family is not Runtime.XNNPACK])
@pytest.mark.parametrize("dtype", ["int8", "int4", "int2"])
def test_blocks_whose_scales_nobody_asks_for_give_the_bias(runtime: Runtime, dtype: str) -> None:
    dice = Dice()
    for _ in range(8):
        case = blocks(dice, dtype, least=3)
        assert differences(case, runtime, rounds=3)[1] == 0


def test_blocks_without_vnni_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    case = blocks(Dice())
    monkeypatch.setattr(hybrid_4_bit, "has_avx512_vnni", lambda: False)
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.XNNPACK)[1].missing
    assert "without AVX-512 VNNI" in missing.why


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_weights_of_minus_8(runtime: Runtime) -> None:
    """Which few converters write."""
    maker = narrowed(lambda dice: dense(dice, dice.chance()), low=-8)
    assert exact_on(maker, runtime, elements=1000)[1] == 0


def test_convolutions_on_2_bits_are_refused() -> None:
    case = narrowed(lambda dice: image(dice, False), 2)(Dice())
    (missing,) = run_simulator(case.write(), list(case.feeds.values()), Runtime.REFERENCE)[1].missing
    assert "reads as floats" in missing.why
