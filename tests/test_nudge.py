"""The nudging rules: properties that each must have, and bit for bit the real thing on thousands of ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantdiff import nudge
from quantdiff.experiment.zoo import convert
from quantdiff.load.tflite import load_tflite
from quantdiff.nudge import Nudged, nudge_converter, nudge_fake_quant
from quantdiff.quant import Array, QuantParams, real_range
from quantdiff.references.keras.frameworks import frameworks, quiet

FAR = np.float32(1e30)
RULES: dict[str, Callable[[Array, Array], Nudged]] = {
    name: getattr(nudge, name)
    for name in (
        "nudge_fake_quant",
        "nudge_converter",
        "nudge_calibrated",
        "nudge_asymmetric",
        "nudge_symmetric",
        "nudge_paper",
    )
}
seeds = st.integers(0, 2**32 - 1)
ends = st.floats(2**-10, 2**20, width=32)


def random_ranges(seed: int, count: int, *, below_zero: bool = True) -> tuple[Array, Array]:
    """Ranges around 0: half of them on power-of-two scales, where zero points halfway between integers are exact."""
    dice = np.random.default_rng(seed)
    scale = np.where(
        dice.random(count) < 0.5, np.exp2(dice.integers(-10, 6, count)), np.exp2(dice.uniform(-12, 8, count))
    )
    zero_point = dice.integers(0, 256, count) + dice.choice([0, 0.5, -0.5, 0.499999, 0.25], count)
    low, high = (-zero_point * scale).astype(np.float32), ((255 - zero_point) * scale).astype(np.float32)
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    if below_zero:  # a few that do not hold 0 at all
        shift = np.where(dice.random(count) < 0.02, high + 1, 0).astype(np.float32)
        low, high = low - 2 * shift, high - 2 * shift
    return low, high


def ties(low: Array, high: Array) -> Array:
    """Where the zero point, seen from the low end in float32, is halfway between two integers."""
    exact = -low / ((high - low) / np.float32(255))
    return (exact - np.trunc(exact) == 0.5) & (exact > 0) & (exact < 255)  # type: ignore[no-any-return]


@pytest.mark.parametrize("rule", RULES)
@given(low=ends, high=ends)
def test_zero_is_exact(rule: str, low: float, high: float) -> None:
    moved = RULES[rule](np.array([-low]), np.array([high]))
    assert -128 <= moved.zero_point[0] <= 127
    first, scale = -128 + (rule == "nudge_symmetric"), moved.scale.astype(moved.low.dtype)
    assert moved.low == (first - moved.zero_point).astype(scale.dtype) * scale
    assert moved.high == (127 - moved.zero_point).astype(scale.dtype) * scale
    assert moved.low[0] <= 0 <= moved.high[0]


@pytest.mark.parametrize("rule", [name for name in RULES if name != "nudge_symmetric"])
@given(low=ends, high=ends)
def test_a_range_moves_by_half_a_step_at_most(rule: str, low: float, high: float) -> None:
    moved = RULES[rule](np.array([-low]), np.array([high]))
    step = (np.float64(high) + low) / 255
    assert abs(moved.low[0] + low) <= 0.5001 * step
    assert abs(moved.high[0] - high) <= 0.5001 * step


@given(
    scale=st.floats(2**-20, 2**20, width=32),
    zero_point=st.integers(-128, 127),
    rule=st.sampled_from(["nudge_converter", "nudge_calibrated", "nudge_asymmetric", "nudge_paper"]),
)
def test_ranges_round_trip(scale: float, zero_point: int, rule: str) -> None:
    (low,), (high,) = real_range(QuantParams((scale,), (zero_point,)), "int8")
    moved = RULES[rule](np.array([low]), np.array([high]))
    assert moved.zero_point.tolist() == [zero_point]
    assert moved.scale[0] == pytest.approx(scale, rel=0 if rule == "nudge_converter" else 1e-6)
    again = RULES[rule](moved.low, moved.high)
    assert again.zero_point.tolist() == [zero_point]


@given(scale=st.floats(2**-20, 2**20, width=32))
@example(scale=132105.0)  # 127 steps of it are no float32, so the rule sees another range than the one meant
def test_narrow_ranges_round_trip(scale: float) -> None:
    (low,), (high,) = real_range(QuantParams((scale,), (0,)), "int8", narrow=True)
    exact = nudge_converter(np.array([low]), np.array([high]), narrow=True)  # in double
    single = nudge.nudge_symmetric(np.array([low]), np.array([high]))  # in float32
    assert np.ravel(single.zero_point)[0] == 0
    assert abs(np.ravel(single.scale)[0] - np.float32(scale)) <= np.spacing(np.float32(scale))
    for moved in (exact, single) if float(np.float32(high)) == high else (exact,):
        assert (np.ravel(moved.scale)[0], np.ravel(moved.zero_point)[0]) == (scale, 0)
        assert (np.ravel(moved.low)[0], np.ravel(moved.high)[0]) == (low, high)


TIES = [  # low, high, rule, zero point: scale 1, zero point halfway
    (-2.5, 252.5, "nudge_fake_quant", 3 - 128),
    (-2.5, 252.5, "nudge_converter", 3 - 128),  # 2.5 counted from 0, away from zero
    (-2.5, 252.5, "nudge_calibrated", -126),  # -125.5 counted from -128, away from zero: down
    (-2.5, 252.5, "nudge_asymmetric", -126),
    (-2.5, 252.5, "nudge_paper", 3 - 128),
    (-200.5, 54.5, "nudge_calibrated", 73),  # 72.5: up
    (-6.0, 6.0, "nudge_fake_quant", 0),  # TFMOT's first range is a tie itself: 127.5
    (-6.0, 6.0, "nudge_calibrated", -1),
]


@pytest.mark.parametrize(("low", "high", "rule", "zero_point"), TIES)
def test_ties(low: float, high: float, rule: str, zero_point: int) -> None:
    assert RULES[rule](np.array([low]), np.array([high])).zero_point.tolist() == [zero_point]


def test_the_paper_leaves_ties_open() -> None:
    assert nudge.nudge_paper(np.array([-2.5]), np.array([252.5]), ties=np.rint).zero_point.tolist() == [2 - 128]


def test_a_range_above_zero_is_shifted() -> None:
    moved = nudge_fake_quant(np.array([1.0]), np.array([256.0]))
    assert (moved.low[0], moved.high[0], moved.zero_point[0]) == (0, 255, -128)


def test_the_converter_widens_tiny_ranges() -> None:
    moved = nudge_converter(np.array([0.0]), np.array([1e-7]))
    assert moved.scale[0] == np.float32((5e-7 + 5e-7) / 255)


@pytest.mark.keras
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@settings(max_examples=3, deadline=None)
@given(seed=seeds)
def test_fake_quant_clips_where_the_rule_says(narrow: bool, compiled: bool, seed: int) -> None:
    """4,000 ranges at once, per channel: what comes out for ∓1e30 are the ends."""
    tf = frameworks().tf
    low, high = random_ranges(seed, 4000)
    assert narrow or ties(low, high).sum() > 500
    x = np.stack([np.full_like(low, -FAR), np.full_like(low, FAR)])
    rule = nudge.nudge_fake_quant_xla if compiled else nudge_fake_quant
    first, last, _, _ = rule(low, high, narrow=narrow)
    got = per_channel(tf, narrow, compiled)(x, low, high).numpy()
    assert_same(got, np.stack([first, last]))


COMPILED: dict[tuple[bool, bool], Any] = {}


def per_channel(tf: Any, narrow: bool, compiled: bool) -> Any:
    def run(x: Any, low: Any, high: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(x, low, high, 8, narrow)

    key = narrow, compiled
    if compiled and key not in COMPILED:
        signature = [tf.TensorSpec([2, 4000]), tf.TensorSpec([4000]), tf.TensorSpec([4000])]
        COMPILED[key] = tf.function(run, signature, jit_compile=True)
    return COMPILED[key] if compiled else run


@pytest.mark.keras
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_fake_quant_of_one_tensor(narrow: bool, bits: int) -> None:
    """The op for a whole tensor, range by range: the ends, and everything in between."""
    tf = frameworks().tf
    dice = np.random.default_rng(bits + narrow)
    lows, highs = random_ranges(9, 1500, below_zero=False)
    for low, high in zip(lows, highs, strict=True):
        middle = dice.uniform(low * 1.1, high * 1.1, 20).astype(np.float32)
        x = np.array([-FAR, FAR, 0, *middle], np.float32)
        moved = nudge_fake_quant(low, high, bits=bits, narrow=narrow)
        got = tf.quantization.fake_quant_with_min_max_vars(x, low, high, bits, narrow).numpy()
        assert_same(got, nudge.fake_quant(x, moved, bits=bits, narrow=narrow))
        assert_same(got[:3], np.array([moved.low, moved.high, 0]))


def assert_same(got: Array, wanted: Array) -> None:
    wrong = np.argwhere(got != wanted)
    assert not len(wrong), f"{len(wrong)} of {got.size} differ, the first at {wrong[0]}: {got[*wrong[0]]!r}"


COUNTS = [150, pytest.param(1500, marks=pytest.mark.slow)]


@pytest.mark.keras
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("narrow", [False, True])
def test_the_converter_stores_what_the_rule_says(narrow: bool, count: int, tmp_path: Path) -> None:
    """One model with a fake-quant op per range: scale and zero point in the file."""
    tf = frameworks().tf
    low, high = random_ranges(count, count)
    low[:4], high[:4] = [0, -1e-7, -6, -2e-7], [1e-7, 3e-7, 6, 1e-6]
    assert narrow or ties(low, high).sum() > count / 10

    def ranges(x: Any) -> list[Any]:
        op = tf.quantization.fake_quant_with_min_max_vars
        x = op(x, -1.0, 1.0)
        return [op(tf.add(x, x), float(a), float(b), 8, narrow) for a, b in zip(low, high, strict=True)]

    scale, zero_point = converted(ranges, tmp_path)
    expected = nudge_converter(low, high, narrow=narrow)
    assert_same(scale, expected.scale)
    assert_same(zero_point, expected.zero_point)


@pytest.mark.keras
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("new", "rule"), [(True, nudge.nudge_calibrated), (False, nudge.nudge_asymmetric)])
def test_calibration_stores_what_the_rule_says(
    new: bool, rule: Callable[[Array, Array], Nudged], count: int, tmp_path: Path
) -> None:
    """Sums that span given ranges, calibrated: scale and zero point in the file, new quantizer and old."""
    tf = frameworks().tf
    low, high = random_ranges(count, count, below_zero=False)

    def sums(x: Any) -> list[Any]:
        return [tf.add(x, np.array([[a, b]])) for a, b in zip(low, high, strict=True)]

    def zeros() -> Iterator[list[Array]]:
        yield [np.zeros((1, 2), np.float32)]

    scale, zero_point = converted(
        sums, tmp_path, representative_dataset=zeros, experimental_new_quantizer=new, int8_only=True
    )
    expected = rule(low, high)
    assert_same(scale, expected.scale)
    assert_same(zero_point, expected.zero_point)


def converted(
    body: Callable[[Any], list[Any]], folder: Path, *, int8_only: bool = False, **options: Any
) -> tuple[Array, Array]:
    """Scale and zero point of every output of ``body``, as the converter stores them."""
    tf = frameworks().tf
    run = tf.function(lambda x: tuple(body(x)), [tf.TensorSpec([1, 2], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    for name, value in options.items():
        setattr(converter, name, value)
    if int8_only:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    path = folder / "ranges.tflite"
    with quiet():
        path.write_bytes(converter.convert())
    graph = load_tflite(path).main
    makers = {output: op for op in graph.operators for output in op.outputs}
    ops = [makers[index] for index in graph.outputs]
    assert {op.op for op in ops} == {"DEQUANTIZE"}
    params = [graph.tensors[op.inputs[0]].quant for op in ops]
    return (
        np.array([p.scale[0] for p in params if p], np.float32),
        np.array([p.zero_point[0] for p in params if p]),
    )


@pytest.mark.keras
def test_the_symmetric_rule_is_the_converters_on_thousands_of_channels(tmp_path: Path) -> None:
    keras = frameworks().keras
    rng = np.random.default_rng(11)
    kernel = rng.normal(size=(4, 3000)).astype(np.float32) * np.exp2(rng.uniform(-12, 6, 3000)).astype(np.float32)
    model = keras.Sequential([keras.layers.InputLayer(input_shape=(4,)), keras.layers.Dense(3000, use_bias=False)])
    model.layers[-1].set_weights([kernel])
    path = tmp_path / "wide.tflite"
    path.write_bytes(convert(model, rng.normal(size=(20, 4)).astype(np.float32)))
    (stored,) = [t.quant for t in load_tflite(path).main.tensors if t.is_constant and t.dtype == "int8"]
    assert stored is not None
    assert len(stored.scale) == 3000
    expected = nudge.nudge_symmetric(kernel.min(axis=0), kernel.max(axis=0))
    np.testing.assert_array_equal(np.asarray(stored.scale, np.float32), expected.scale)
    assert set(stored.zero_point) == {0}
