"""What crosses between processes comes back as it went, and nothing else crosses."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models

from quantdiff.load.tflite import read_model
from quantdiff.ops import BatchNorm, Layer, TrainedRange
from quantdiff.quant import Grid, QuantParams, Value
from quantdiff.recording import Flow, FlowValue, tflite_flow
from quantdiff.references.hosted import VALUES, Encoder, decode

pytestmark = pytest.mark.hosted

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
LAYER = Layer(
    "early/dense", "Dense", ("x",), "relu", (TrainedRange("kernel", (-1.0,), (1.0,), "LastValueQuantizer"),), KERNEL,
    options={"strides": (1, 2), "padding": "same", "alpha": np.float32(0.5), "nothing": None},
    norm=BatchNorm(KERNEL[0], KERNEL[0], KERNEL[1], KERNEL[1], 1e-3), op="FULLY_CONNECTED",
)  # fmt: skip


def there_and_back(value: Any) -> Any:
    encoder = Encoder()
    return decode(json.loads(json.dumps(encoder.encode(value))), [array.copy() for array in encoder.arrays])


def same(a: Any, b: Any) -> bool:
    """Equal in every field, those too that do not count for ``==``."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if type(a).__name__ in VALUES:
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return [*a] == [*b] and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 2**63, 0.1, float("inf"), "näme\n", (1, (2.5, "x"), ()), Path("a/b"), frozenset({1, 2})),
        {1: Value("x", KERNEL, QuantParams((0.5,), (3,)), Grid(QuantParams((0.5,), (3,)), "int8", "x"))},
        LAYER,
        Flow("float", (FlowValue(0, "x", "input"), FlowValue(1, "y", "Dense", (0,), layers=(LAYER,))), (0,), (1,)),
    ],
    ids=str,
)
def test_a_value_comes_back(value: Any) -> None:
    assert same(there_and_back(value), value)


def test_a_file_comes_back_with_its_constants_and_its_flow() -> None:
    model = read_model(memoryview(small_models.two_dense()))
    back = there_and_back(model)
    assert same(back, model)
    assert back.main.producer(back.main.outputs[0]) == model.main.producer(model.main.outputs[0])
    assert same(there_and_back(tflite_flow(model, "tflite")), tflite_flow(model, "tflite"))


def test_an_array_that_is_named_twice_travels_once() -> None:
    encoder = Encoder()
    one, other = decode(encoder.encode((LAYER, LAYER)), encoder.arrays)
    assert len(encoder.arrays) == 1 + 4
    assert one.kernel is other.kernel


@dataclass(frozen=True)
class Layer2(Layer):
    """Not a value that we know."""


@pytest.mark.parametrize(
    "value", [object(), Layer2("a", "b", ()), {"a": lambda: None}, b"bytes"], ids=["any", "class", "code", "bytes"]
)
def test_nothing_else_travels(value: Any) -> None:
    with pytest.raises(TypeError, match="does not travel between processes"):
        there_and_back(value)


@pytest.mark.parametrize("sent", [{"object": []}, {"Layer": []}, {"array": 7}, {}, {"map": [[1]]}], ids=str)
def test_an_answer_that_is_none_is_an_error(sent: Any) -> None:
    with pytest.raises((TypeError, ValueError, LookupError)):
        decode(sent, [])
