"""The whole answer on small trained models: every row explained, every value traced back to its origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from quantized_models import Made, convolutions, denses

from quantdiff import api
from quantdiff.align.models import align_weights
from quantdiff.load.data import load_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.nudge import nudge_fake_quant, nudge_symmetric
from quantdiff.parameters.quantizers import Parameters, Row
from quantdiff.recording import bound, tflite_flow
from quantdiff.references.keras.frameworks import frameworks
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import load_keras
from quantdiff.references.keras.reference import open_keras

pytestmark = [pytest.mark.keras, pytest.mark.golden]


@pytest.fixture(scope="module")
def answer(made: Callable[..., Made]) -> Parameters:
    return api.params(*made(convolutions).pair)


def rows(parameters: Parameters, end: str) -> list[Row]:
    return [row for row in parameters.rows if row.name.endswith(end)]


def codes(row: Row) -> list[str]:
    return [reason.code for reason in row.reasons]


def test_every_quantizer_has_a_row_and_a_reason(answer: Parameters, made: Callable[..., Made]) -> None:
    layers = read_layers(load_keras(made(convolutions).keras))
    wanted = {f"{layer.name}/{r.name}" for layer in layers for r in layer.ranges}
    wanted |= {f"{layer.name}/bias" for layer in layers if layer.bias is not None}
    assert wanted <= {row.name for row in answer.rows}
    assert all(row.reasons and row.file is not None for row in answer.rows)
    assert (answer.only_reference, answer.only_tflite, answer.notes) == ((), (), ())
    assert answer.engines == ("qat", "tflite:xnnpack")


def test_reasons(answer: Parameters) -> None:
    first = Counter(codes(row)[0] for row in answer.rows)
    assert first["folded batch norm"] == 2
    assert first["int32 grid"] == 4
    assert set(first) == {"folded batch norm", "int32 grid", "nudge only", "equal", "no counterpart"}
    assert all("not settled" in codes(row) for row in rows(answer, "/output") if "re_lu" in row.name)


def test_the_file_holds_what_the_converters_rule_says(answer: Parameters) -> None:
    compared = 0
    for row in answer.rows:
        if row.converter is not None and row.file is not None and row.folded is None:
            assert row.converter.scale == row.file.scale
            assert row.converter.zero_point == row.file.zero_point
            compared += 1
    assert compared >= 8


def test_folded_kernels_have_a_scale_per_channel(answer: Parameters) -> None:
    for row, channels in zip(rows(answer, "kernel")[:2], (4, 8), strict=True):
        assert row.file is not None
        assert row.folded is not None
        assert len(row.file.scale) == channels == len(row.folded.low)
        assert np.array(row.folded.high) / 127 == pytest.approx(np.array(row.file.scale), rel=2e-6)


def test_observed_ends_lie_where_fake_quant_clips(answer: Parameters) -> None:
    for row in answer.rows:
        if row.role == "output" and row.keras and row.nudged and row.tflite and row.file:
            assert row.nudged.low[0] <= row.keras.low[0] <= row.keras.high[0] <= row.nudged.high[0]
            step = row.file.scale[0]
            assert row.tflite.low[0] == pytest.approx(row.keras.low[0], abs=2 * step)
            assert row.tflite.high[0] == pytest.approx(row.keras.high[0], abs=2 * step)


def test_by_hand_is_what_keras_computes_before_the_quantizer(answer: Parameters) -> None:
    """By hand, clipped and rounded as fake-quant does, gives the ends that Keras gave."""
    compared = 0
    for row in answer.rows:
        if row.by_hand and row.direct and row.keras:
            low, high, scale, _ = nudge_fake_quant(np.array(row.direct.low), np.array(row.direct.high))
            for by_hand, keras in ((row.by_hand.low, row.keras.low), (row.by_hand.high, row.keras.high)):
                assert abs(np.clip(by_hand[0], low[0], high[0]) - keras[0]) <= 0.501 * scale[0]
            compared += 1
    assert compared == 3


def test_kernels_by_hand_are_keras_own(made: Callable[..., Made]) -> None:
    """The fake-quantized kernel, bit for bit, against TensorFlow's op on the same variables."""
    from quantdiff.ops import KERNEL_RANGES
    from quantdiff.parameters.constants import quantized_kernel

    quantization = frameworks().tf.quantization
    for layer in read_layers(load_keras(made(convolutions).keras)):
        trained = layer.range_of(*KERNEL_RANGES)
        if trained is not None and layer.kernel is not None:
            ops = (quantization.fake_quant_with_min_max_vars, quantization.fake_quant_with_min_max_vars_per_channel)
            several = len(trained.low) > 1
            ends = (np.array(trained.low, np.float32), np.array(trained.high, np.float32))
            args = ends if several else (ends[0][0], ends[1][0])
            ours = (
                np.moveaxis(each, layer.channel_axis, -1) for each in (layer.kernel, quantized_kernel(layer, trained))
            )
            last, found = (each.reshape(-1, len(trained.low)) if several else each for each in ours)
            assert np.array_equal(found, ops[several](last, *args, 8, True).numpy())


def test_watching_layers_changes_nothing(made: Callable[..., Made]) -> None:
    model, batch = open_keras(made(convolutions).keras), load_batch(made(convolutions).data)
    with model.recorder() as recorder:
        recording = bound(model, recorder, batch).run(0, len(batch))
        output = recording.value(recording.flow.outputs[0])
    assert np.array_equal(output, model.trace(batch).outputs[0].array)
    assert not any("call" in vars(layer) for layer in model.model.layers)


def test_joined_tensors_share_a_scale(made: Callable[..., Made]) -> None:
    joined = api.params(*made(denses).pair)
    texts = {row.layer: row.reasons[0].text for row in rows(joined, "post_activation")}
    assert "it has the scale of its CONCATENATION" in texts["quant_left"] + texts["quant_right"]


def test_after_training_the_ranges_are_the_weights_own(made: Callable[..., Made]) -> None:
    keras, tflite, _ = made(denses, quantized=False).pair
    calibrated = api.params(keras, tflite)
    assert {codes(row)[0] for row in rows(calibrated, "/kernel")} == {"own range"}
    assert all(row.direct is None for row in rows(calibrated, "/output"))
    kernels = {layer.name: layer.kernel for layer in read_layers(load_keras(keras)) if layer.kernel is not None}
    for row in rows(calibrated, "/kernel"):
        wanted = nudge_symmetric(kernels[row.layer].min(axis=1), kernels[row.layer].max(axis=1))
        assert row.file is not None
        assert row.file.scale == tuple(wanted.scale.tolist())  # bit for bit, a scale per unit


def test_a_file_alone(made: Callable[..., Made]) -> None:
    _, tflite, data = made(convolutions).pair
    alone = api.params(None, tflite, data)
    graph = load_tflite(tflite).main
    assert {row.tensor for row in alone.rows} == {t.name for t in graph.tensors if t.quant is not None}
    assert all(row.reasons == () and row.direct is None for row in alone.rows)
    assert all(row.tflite is not None for row in alone.rows if row.role == "output")
    assert alone.engines == ("tflite:xnnpack",)


def test_other_weights_under_the_same_names(made: Callable[..., Made]) -> None:
    """A file made from other weights: found by name, and none of its kernels is called equal."""
    keras = load_keras(made(denses).keras)
    for weight in keras.model.weights:
        if "kernel:" in weight.name:
            weight.assign(-weight)
    alignment = align_weights(read_layers(keras), tflite_flow(load_tflite(made(denses).tflite), "tflite"))
    kernels = [pair for pair in alignment.pairs if pair.role == "kernel"]
    assert [(pair.found_by, pair.confirmed) for pair in kernels] == [("name", False)] * 4
