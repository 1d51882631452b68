"""Models on which ARM64 gives other integers than x86-64, one for each rule, and what the real kernels gave.

``python -m sim.arm64_cases`` in ``tests`` writes the digests anew; it takes the emulated runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from golden import Case, Dice, Maker, run_real, run_simulator, together
from sim.floats import test_products as products
from sim.ops import test_16_bits as wide
from sim.ops import test_curves as curves
from sim.ops import test_elementwise as elementwise
from sim.ops import test_float_layers as float_layers
from sim.ops import test_hybrid as hybrid
from sim.ops import test_hybrid_4_bit as hybrid_4_bit
from sim.ops import test_indices as indices
from sim.ops import test_lstm as lstm
from sim.ops import test_numbers as numbers
from sim.ops import test_second_row as second_row
from sim.ops import test_spatial as spatial
from sim.ops import test_uint8 as unsigned
from sim.ops.test_int4 import packed
from weighted_ops import dense, image

from quantdiff.quant import Array
from quantdiff.sim.runtime import Runtime

RECORDED = Path(__file__).with_name("arm64_recorded.json")
BUILTIN, REFERENCE, XNNPACK = Runtime.BUILTIN_ARM64, Runtime.REFERENCE_ARM64, Runtime.XNNPACK_ARM64


def three_by_three(dice: Dice) -> Case:
    """Of dynamic range, in a window for which ARM64 has a kernel of its own."""
    while True:
        case = hybrid.image(dice, True)
        shape = {t.name: t.shape for t in case.tensors}
        if shape["w"] == (1, 3, 3, shape["x"][3]) and shape["x"][3] % 8 == 0:
            return case


def heavy_blocks(dice: Dice, rows: int = 400) -> Case:
    """Sums of a block that take more bits, times those of its scale, than a float has: one of thousands tells."""
    case = hybrid_4_bit.blocks(dice)
    units, depth = next(t.shape for t in case.tensors if t.name == "w")
    weights = packed(dice.rng.integers(4, 8, (units, depth)), 4)
    changed: dict[str, dict[str, Any]] = {
        "w": {"raw": weights},
        "x": {"shape": (rows, depth)},
        "y": {"shape": (rows, units)},
    }
    tensors = [replace(t, **changed.get(t.name, {})) for t in case.tensors]
    low = np.where(np.arange(rows) % 2, 0.3, -0.4)[:, None]
    return replace(case, tensors=tensors, feeds={"x": dice.rng.uniform(low, 1, (rows, depth)).astype(np.float32)})


CASES: Mapping[str, tuple[Maker, Sequence[Runtime]]] = {
    "CONV_2D": (lambda dice: image(dice, False), (BUILTIN,)),
    "CONV_2D uint8": (lambda dice: image(dice, False, "uint8"), (BUILTIN, XNNPACK)),
    "CONV_2D int16×8": (wide.MAKERS["CONV_2D int16×8"], (BUILTIN,)),
    "DEPTHWISE_CONV_2D uint8": (lambda dice: image(dice, True, "uint8"), (XNNPACK,)),
    "FULLY_CONNECTED": (lambda dice: dense(dice, True), (BUILTIN,)),
    "FULLY_CONNECTED int16×8": (wide.MAKERS["FULLY_CONNECTED int16×8"], (BUILTIN,)),
    "HARD_SWISH": (second_row.hard_swish, (BUILTIN,)),
    "MEAN": (spatial.MAKERS["MEAN"], (XNNPACK,)),
    "MUL": (elementwise.MAKERS["MUL"], (XNNPACK,)),
    "SOFTMAX": (elementwise.MAKERS["SOFTMAX"], (BUILTIN, XNNPACK)),
    "DEQUANTIZE": (elementwise.MAKERS["DEQUANTIZE"], (BUILTIN,)),
    "CONCATENATION uint8": (second_row.concatenation_uint8, (REFERENCE, BUILTIN)),
    "TRANSPOSE_CONV uint8": (unsigned.MAKERS["TRANSPOSE_CONV uint8"], (XNNPACK,)),
    "EXP int16": (curves.LITERT_ONLY["EXP int16"], (REFERENCE, BUILTIN)),
    "GELU int16": (curves.LITERT_ONLY["GELU int16"], (REFERENCE,)),
    "CONV_2D float32": (lambda dice: products.image(dice, False), (REFERENCE, BUILTIN, XNNPACK)),
    "CONV_2D float32, groups": (lambda dice: products.image(dice, False, True), (XNNPACK,)),
    "DEPTHWISE_CONV_2D float32": (lambda dice: products.image(dice, True), (BUILTIN, XNNPACK)),
    "FULLY_CONNECTED float32": (products.dense, (BUILTIN, XNNPACK)),
    "FULLY_CONNECTED float32, rows": (lambda dice: products.dense(dice, dice.of(2, 5, 30)), (BUILTIN, XNNPACK)),
    "BATCH_MATMUL float32": (float_layers.MAKERS["BATCH_MATMUL float32"], (REFERENCE, BUILTIN, XNNPACK)),
    "TRANSPOSE_CONV float32": (float_layers.delegated, (REFERENCE, BUILTIN, XNNPACK)),
    "L2_NORMALIZATION float32": (indices.unit_length("float32"), (REFERENCE, BUILTIN)),
    "NEG float32": (numbers.MAKERS["NEG float32"], (XNNPACK,)),
    "RELU float32": (numbers.MAKERS["RELU float32"], (REFERENCE, XNNPACK)),
    "MUL float32": (numbers.MAKERS["MUL float32"], (BUILTIN, XNNPACK)),
    **{
        f"{op} float32": (numbers.EVERYWHERE[f"{op} float32"], runtimes)
        for op, runtimes in {
            "LOGISTIC": (BUILTIN, XNNPACK),
            "MEAN": (BUILTIN, XNNPACK),
            "SOFTMAX": (BUILTIN, XNNPACK),
            "SUM": (XNNPACK,),
            "TANH": (BUILTIN,),
        }.items()
    },
    "MEAN float32, of squares": (numbers.EVERYWHERE["MEAN float32, of squares"], (XNNPACK,)),
    "ELU float32": (curves.XNNPACK["ELU float32"], (XNNPACK,)),
    "GELU float32": (curves.XNNPACK["GELU float32"], (REFERENCE, BUILTIN)),
    "LOG_SOFTMAX float32": (float_layers.MAKERS["LOG_SOFTMAX float32"], (BUILTIN,)),
    "RESIZE_BILINEAR float32": (float_layers.MAKERS["RESIZE_BILINEAR float32"], (REFERENCE, BUILTIN, XNNPACK)),
    "ELU": (curves.ELU, (XNNPACK,)),
    "ELU float32, C library": (curves.NOT_IN_XNNPACK["ELU float32"], (BUILTIN,)),
    "TANH float32, C library": (numbers.EVERYWHERE["TANH float32"], (REFERENCE,)),
    "GELU uint8": (curves.LITERT_ONLY["GELU uint8"], (REFERENCE, BUILTIN)),
    "LSTM, projection": (lambda dice: lstm.lstm(dice, "projection"), (BUILTIN,)),
    "LSTM, norm": (lambda dice: lstm.lstm(dice, "norm"), (REFERENCE,)),
    "LSTM hybrid": (lambda dice: lstm.hybrid(dice, "major", "projection"), (BUILTIN,)),
    "TRANSPOSE_CONV hybrid": (
        lambda dice: float_layers.delegated(dice, float_layers.spread_hybrid),
        (REFERENCE, BUILTIN, XNNPACK),
    ),
    "LSTM float32": (lambda dice: lstm.floats(dice, "step"), (BUILTIN,)),
    "CONV_2D hybrid": (hybrid.MAKERS["CONV_2D hybrid, per channel"], (XNNPACK,)),
    "DEPTHWISE_CONV_2D hybrid": (three_by_three, (BUILTIN,)),
    "FULLY_CONNECTED hybrid": (hybrid.MAKERS["FULLY_CONNECTED hybrid, per channel"], (REFERENCE, BUILTIN, XNNPACK)),
    "FULLY_CONNECTED hybrid, 4 bits": (
        hybrid_4_bit.CASES["FULLY_CONNECTED hybrid, 4 bits, per channel"][0],
        (BUILTIN, XNNPACK),
    ),
    "FULLY_CONNECTED hybrid, 2 bits": (
        hybrid_4_bit.CASES["FULLY_CONNECTED hybrid, 2 bits, per channel"][0],
        (REFERENCE, BUILTIN),
    ),
    "FULLY_CONNECTED hybrid, blocks": (heavy_blocks, (BUILTIN,)),
}
MODELS, MORE = (
    24,
    {
        "DEPTHWISE_CONV_2D hybrid": 80,
        "HARD_SWISH": 200,
        "MEAN": 400,
        "SOFTMAX": 300,
        "CONCATENATION uint8": 300,
        "GELU int16": 60,
        "ELU": 150,
        "ELU float32, C library": 200,
        "TANH float32, C library": 100,
        "LSTM, projection": 16,
        "LSTM, norm": 8,
        "FULLY_CONNECTED hybrid, blocks": 1,
    },
)
"""Cases side by side in one model; more where few elements come out otherwise."""


def case_of(name: str) -> Case:
    """The same cases each time."""
    dice = Dice(np.random.default_rng(7))
    return together([CASES[name][0](dice) for _ in range(MORE.get(name, MODELS))])


def digest(outputs: Sequence[Array]) -> str:
    """Of all bits; any NaN counts as one and the same."""
    whole = [np.where(np.isnan(y), np.float32(np.nan), y) if y.dtype.kind == "f" else y for y in outputs]
    return sha256(b"".join(np.ascontiguousarray(y).tobytes() for y in whole)).hexdigest()[:16]


def simulated(case: Case, runtime: Runtime) -> str:
    """What the simulator gives."""
    graph, simulation = run_simulator(case.write(), list(case.feeds.values()), runtime)
    assert not simulation.missing, simulation.missing
    shapes = [graph.tensors[i].shape for i in graph.outputs]
    return digest([simulation.values[i].reshape(shape) for i, shape in zip(graph.outputs, shapes, strict=True)])


def real(case: Case, runtime: Runtime) -> str:
    """What the emulated runtime gives."""
    return digest(run_real(case.write(), list(case.feeds.values()), runtime)[0])


if __name__ == "__main__":
    found = {f"{name} on {r.value}": real(case_of(name), r) for name, (_, rs) in CASES.items() for r in rs}
    RECORDED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
