"""The rules of ARM64: against what its real kernels gave, and which operators have them."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from golden import Case, Dice, run_real, run_simulator
from sim.arm64_cases import CASES, RECORDED, case_of, real, simulated
from sim.ops import test_hybrid_4_bit as hybrid_4_bit
from written_models import Op, Sub, T, write_model, write_tflite

from quantdiff.load.tflite import read_model
from quantdiff.run import emulation
from quantdiff.sim import arm64
from quantdiff.sim.graph.operators import kernel_of
from quantdiff.sim.node import node_of
from quantdiff.sim.ops import fully_connected
from quantdiff.sim.rounding.fixed_point import Rounding, multiply_by_quantized_multiplier, wrap_int32
from quantdiff.sim.runtime import ARM64, Runtime

GAVE = json.loads(RECORDED.read_text(encoding="utf-8"))
PAIRS = [(name, runtime) for name, (_, runtimes) in CASES.items() for runtime in runtimes]
SHARE, SEED = 6, int(os.environ["QUANTDIFF_ARM64_SEED"])
EMULATED = [PAIRS[k] for k in np.random.default_rng(SEED).choice(len(PAIRS), SHARE, replace=False)]
"""Others with another seed."""


@pytest.mark.parametrize(("name", "runtime"), PAIRS)
def test_the_simulator_gives_what_the_kernels_gave(name: str, runtime: Runtime) -> None:
    case = case_of(name)
    assert simulated(case, runtime) == GAVE[f"{name} on {runtime.value}"]
    assert simulated(case, runtime.family) != GAVE[f"{name} on {runtime.value}"], "the case tells nothing"


@pytest.mark.parametrize("rounding", [Rounding.DOUBLE, Rounding.RUY, Rounding.GEMMLOWP])
def test_no_other_rule_gives_it(monkeypatch: pytest.MonkeyPatch, rounding: Rounding) -> None:
    monkeypatch.setitem(fully_connected.ROUNDING, Runtime.BUILTIN_ARM64, rounding)
    found = simulated(case_of("FULLY_CONNECTED"), Runtime.BUILTIN_ARM64)
    assert found != GAVE["FULLY_CONNECTED on builtin@arm64"]


@pytest.mark.golden
@pytest.mark.skipif(emulation.root() is None, reason=f"nothing emulates ARM64 here: {emulation.BRINGS}")
@pytest.mark.parametrize("drawn", range(SHARE))
def test_the_kernels_still_give_it(drawn: int) -> None:
    name, runtime = EMULATED[drawn]
    assert real(case_of(name), runtime) == GAVE[f"{name} on {runtime.value}"], (name, runtime, SEED)


def test_one_rounding_in_32_bits() -> None:
    """Ties, a shift to the left, and what has no room there; the truth by fractions."""
    rng = np.random.default_rng(3)
    acc = np.concatenate([rng.integers(-(2**31), 2**31, 500), np.arange(-40, 40) * 2 + 1, [2**30, -(2**30), 2**29]])
    for mantissa, shift in ((2**30, -1), (2**30, 0), (2**30 + 1, 1), (1500000000, 2), (1234567891, -9), (2**30, -7)):
        found = multiply_by_quantized_multiplier(acc, mantissa, shift, Rounding.NEON)
        moved = [int(x) for x in wrap_int32(acc << max(shift + 1, 0))]
        scale = Fraction(mantissa, 2**31) * (Fraction(1, 2) if shift >= 0 else Fraction(2) ** shift)
        assert found.tolist() == [floor(x * scale + Fraction(1, 2)) for x in moved]


def dense(rows: int, units: int, depth: int, dtype: str = "int8") -> bytes:
    point = 0 if dtype == "int8" else 128
    tensors = [
        T("x", (rows, depth), dtype, 0.5, point),
        T("w", (units, depth), dtype, 0.5, point, data=np.full((units, depth), point + 1)),
        T("y", (rows, units), dtype, 0.5, point),
    ]
    return write_tflite(tensors, [Op("FULLY_CONNECTED", ["x", "w", None], ["y"])], ["x"], ["y"])


def convolution(size: int, units: int, depth: int) -> bytes:
    tensors = [
        T("x", (1, size, size, depth), scale=0.5),
        T("w", (units, 1, 1, depth), scale=0.5, axis=0, data=np.ones((units, 1, 1, depth))),
        T("b", (units,), "int32", 0.25, data=np.zeros(units)),
        T("y", (1, size, size, units), scale=0.5),
    ]
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    return write_tflite(tensors, [Op("CONV_2D", ["x", "w", "b"], ["y"], options)], ["x"], ["y"])


@pytest.mark.parametrize(
    ("model", "own"),
    [
        (dense(1, 4, 8), False),
        (dense(2, 4, 8), True),
        (dense(1, 3, 8), True),
        (dense(1, 4, 7), True),
        (convolution(1, 4, 8), False),
        (convolution(2, 4, 8), True),
        (convolution(1, 3, 8), True),
        (convolution(1, 4, 7), True),
    ],
)
def test_a_single_row_has_a_kernel_that_rounds_as_on_x86(model: bytes, own: bool) -> None:
    graph = read_model(memoryview(model)).main
    node = node_of(graph, graph.operators[0])
    kernel = kernel_of(node, Runtime.BUILTIN_ARM64)
    assert kernel is (Runtime.BUILTIN_ARM64 if own else Runtime.BUILTIN)
    assert kernel_of(node, Runtime.XNNPACK_ARM64) is Runtime.XNNPACK
    assert kernel_of(node, Runtime.REFERENCE_ARM64) is Runtime.REFERENCE


def test_what_xnnpack_takes_unsigned_is_its_own_there() -> None:
    graph = read_model(memoryview(dense(1, 4, 8, "uint8"))).main
    node = node_of(graph, graph.operators[0])
    assert kernel_of(node, Runtime.XNNPACK_ARM64) is Runtime.XNNPACK_ARM64


@pytest.mark.parametrize(
    ("made", "runtime", "words"),
    [
        (hybrid_4_bit.blocks(Dice()), Runtime.XNNPACK_ARM64, "where its kernel is another one, are not known"),
    ],
)
def test_what_nobody_knows_is_refused_with_words(made: Case, runtime: Runtime, words: str) -> None:
    model, feeds = made.write(), list(made.feeds.values())
    assert words in run_simulator(model, feeds, runtime)[1].missing[0].why


def permitting(said: bytes) -> bytes:
    """A convolution of floats whose file says in which precision it may be computed."""
    rng = np.random.default_rng(0)
    tensors = [
        T("x", (1, 6, 6, 8), "float32"),
        T("w", (16, 3, 3, 8), "float32", data=rng.normal(size=(16, 3, 3, 8)).astype(np.float32)),
        T("b", (16,), "float32", data=rng.normal(size=16).astype(np.float32)),
        T("y", (1, 6, 6, 16), "float32"),
    ]
    operator = Op("CONV_2D", ["x", "w", "b"], ["y"], {"strideH": 1, "strideW": 1})
    return write_model([Sub(tensors, [operator], ["x"], ["y"])], metadata={"reduced_precision_support": said})


IMAGE = np.random.default_rng(1).normal(size=(1, 6, 6, 8)).astype(np.float32)


@pytest.mark.parametrize("said", [b"fp16accfp16", b"bf16fp16bf16accfp16"])
def test_16_bit_arithmetic_that_a_file_permits_is_refused_where_it_is_taken(said: bytes) -> None:
    found = {r: run_simulator(permitting(said), [IMAGE], r)[1].missing for r in Runtime if r is not Runtime.TFLM}
    assert {r: [item.why for item in missing] for r, missing in found.items() if missing} == {
        Runtime.XNNPACK_ARM64: [arm64.HALF]
    }


@pytest.mark.parametrize("said", [b"fp16accfp32", b"bf16accfp16", b"fp16accfp16 ", b"accfp16", b"", b"fp16" * 300])
def test_what_permits_no_such_arithmetic_is_known(said: bytes) -> None:
    assert not run_simulator(permitting(said), [IMAGE], Runtime.XNNPACK_ARM64)[1].missing


@pytest.mark.golden
@pytest.mark.skipif(emulation.root() is None, reason=f"nothing emulates ARM64 here: {emulation.BRINGS}")
def test_the_kernel_takes_16_bits_where_a_file_permits_it() -> None:
    wide, half = (run_real(permitting(said), [IMAGE], Runtime.XNNPACK_ARM64)[0][0] for said in (b"", b"fp16accfp16"))
    assert np.abs(half - wide).max() > 2.0**-12 * np.abs(wide).max()
    np.testing.assert_array_equal(half, half.astype(np.float16))


def test_each_runtime_there_has_one_here() -> None:
    assert {runtime.family: runtime for runtime in Runtime if runtime.on_arm64} == ARM64
    assert Runtime.TFLM not in ARM64
    assert Runtime.BUILTIN_ARM64.neighbours == tuple(ARM64.values())
