"""A device that was recorded: the first operator that gives something else is named, and garbage told from rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
from recorded_device import SAMPLES, SIDE, Device, recorded_device

from quantdiff import api
from quantdiff.compare.device import Diagnosis
from quantdiff.errors import BadData
from quantdiff.load.npz import MANIFEST
from quantdiff.quant import Array
from quantdiff.report.text.verification import device_text

pytestmark = pytest.mark.golden
CONV2, CONV3 = "net/conv2:0", "net/conv3:0"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return recorded_device(tmp_path_factory.mktemp("device"))


def told(device: Device, **changed: Any) -> Diagnosis:
    runtime = device.saved("spoiled.npz", **changed)
    found = api.verify(device.model, settings=api.Settings(runtimes=(runtime,))).verdicts[runtime].device
    assert found is not None
    return found


def flat(array: Array) -> Array:
    return array.reshape(len(array), -1)


def partly(array: Array, other: Array, count: int, at: int = 0) -> Array:
    """The first ``count`` elements of each sample are another tensor's, from ``at`` on."""
    spoiled = array.copy()
    flat(spoiled)[:, :count] = flat(other)[:, at : at + count]
    return spoiled


SPOILED: dict[str, tuple[Callable[[Array, Array, Array], Array], str, str, int | None]] = {
    "nchw": (lambda y, after, x: np.moveaxis(y[:, 0], -1, 1).reshape(y.shape), "reading", "NCHW, shown as NHWC", 0),
    "transposed": (lambda y, after, x: y.swapaxes(2, 3), "reading", "order W, H, C", 0),
    "moved by 128": (lambda y, after, x: y.view(np.uint8) ^ np.uint8(128), "reading", "int8 shown as uint8", 0),
    "words": (lambda y, after, x: y.reshape(-1, 4)[:, ::-1].reshape(y.shape), "reading", "each 32-bit word", 0),
    "zero point": (lambda y, after, x: (y - np.int16(9)).clip(-128, 127).astype(np.int8), "reading", "moved by -9", 0),
    "nchw and moved": (
        lambda y, after, x: np.moveaxis(y[:, 0], -1, 1).reshape(y.shape).view(np.uint8) ^ np.uint8(128),
        "reading",
        "NCHW, shown as NHWC, and int8 shown as uint8",
        0,
    ),
    "zeros": (lambda y, after, x: 0 * y, "constant", "never written: all of it is 0", None),
    "half": (lambda y, after, x: partly(y, 0 * y + 85, 99), "constant", "elements 0 to 98 of each sample is 85", None),
    "late": (lambda y, after, x: np.roll(y, 1, 0), "samples", "a sample late: each holds what the one before", None),
    "frozen": (lambda y, after, x: np.repeat(y[2:3], SAMPLES, 0), "samples", "what sample 2 gives", None),
    "reused": (lambda y, after, x: after, "overwritten", "tensor 9 (#2 CONV_2D, which runs later): its memory", None),
    "partly reused": (
        lambda y, after, x: partly(y, after, 99, 40),
        "overwritten",
        "which runs later), from byte ",
        None,
    ),
    "not yet written": (lambda y, after, x: partly(y, x, 108), "overwritten", "the input (tensor 0), from byte ", None),
    "clamped": (lambda y, after, x: np.minimum(y, 30), "arithmetic", "cut off at 30: another activation", None),
    "rounded": (lambda y, after, x: y + ((y < 127) & (y % 2 == 0)), "rounding", "by at most 1 step", None),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_tensor_that_was_read_wrongly_is_named_and_why(device: Device, kind: str) -> None:
    spoil, wanted, text, left = SPOILED[kind]
    y, after, x = (device.arrays[name] for name in (CONV2, CONV3, "image"))
    found = told(device, **{CONV2: np.ascontiguousarray(spoil(y, after, x))})
    first = found.first
    assert first is not None
    assert first.meant is not None
    assert (first.operator, first.name, first.meant.kind) == (1, CONV2, wanted)
    assert text in first.meant.text
    assert first.wrong > first.count / 5
    assert left is None or first.meant.wrong == left
    assert first.passed_on is False  # the convolution behind it was computed from the right values
    assert sum(each.wrong > 0 for each in found.findings) == 1
    assert sum(each.differing > 0 for each in found.findings) == 1


def test_an_error_of_the_device_itself_is_followed_to_what_inherits_it(device: Device) -> None:
    """Weights that the device has otherwise: the second device is a file with another bias, held against this one."""
    other = device.folder / "other"
    other.mkdir(exist_ok=True)
    content = device.model.read_bytes()
    bias = np.random.default_rng(5)
    for n in (1, 2):
        bias.integers(-127, 128, (8, 3, 3, 3 if n == 1 else 8))
        values = bias.integers(-900, 900, 8).astype("<i4")
    assert content.count(values.tobytes()) == 1
    (other / "model.tflite").write_bytes(content.replace(values.tobytes(), (values + 3000).tobytes()))
    api.record(other / "model.tflite", device.data, other / "dump.npz", "reference", every_tensor=True)
    held = np.load(other / "dump.npz")
    arrays = {
        name: held[f"t{i}"] for i, name in ((0, "image"), (3, "net/conv1:0"), (6, CONV2), (9, CONV3), (13, "logits"))
    }
    found = told(device, **arrays, flat=None)
    first = found.first
    assert first is not None
    assert (first.operator, first.passed_on) == (1, True)
    assert [each.wrong > 0 for each in found.findings] == [False, True, False, False]
    assert [each.differing > 0 for each in found.findings] == [False, True, True, True]
    assert "computed from these values" in next(iter(device_text(found)))


def test_outputs_alone_are_enough(device: Device) -> None:
    inner = dict.fromkeys(name for name in device.arrays if name not in ("image", "logits"))
    found = told(device, **inner)
    assert [(each.op, each.wrong) for each in found.findings] == [("FULLY_CONNECTED", 0)]
    logits = device.arrays["logits"].copy()
    logits[2, 0, 3] += 1
    (finding,) = told(device, **{**inner, "logits": logits}).findings
    assert (finding.wrong, finding.meant and finding.meant.kind) == (1, "rounding")


def test_one_inner_tensor_without_inputs_is_enough(device: Device) -> None:
    runtime = device.saved("inner.npz", **dict.fromkeys(name for name in device.arrays if name != CONV2))
    settings = api.Settings(runtimes=(runtime,))
    verdict = api.verify(device.model, device.data, settings).verdicts[runtime]
    assert (verdict.status, verdict.count) == ("exact", SAMPLES * SIDE * SIDE * 8)
    with pytest.raises(BadData, match="holds no inputs; give by --data"):
        api.verify(device.model, settings=settings)


def test_other_data_are_refused_at_once(device: Device, tmp_path: Path) -> None:
    settings = api.Settings(runtimes=(device.saved("whole.npz"),))
    np.save(tmp_path / "other.npy", -np.load(device.data))
    with pytest.raises(BadData, match=r"input 'image' of sample 0 is not that of the data \(1\d\d of 108"):
        api.verify(device.model, tmp_path / "other.npy", settings)
    np.save(tmp_path / "more.npy", np.repeat(-np.load(device.data), 2, axis=0))
    with pytest.raises(BadData, match="6 samples, the data have 12: other data"):
        api.diff(device.model, device.model, tmp_path / "more.npy", settings)


def test_an_input_that_is_shown_otherwise_is_that_of_the_data(device: Device) -> None:
    x = device.arrays["image"]
    shown = np.ascontiguousarray(np.moveaxis(x[:, 0], -1, 1)).reshape(x.shape)
    runtime = device.saved("turned.npz", image=shown)
    verdict = api.verify(device.model, device.data, api.Settings(runtimes=(runtime,))).verdicts[runtime]
    assert verdict.status == "exact"
    assert verdict.device is not None
    assert verdict.device.notes == ("input 'image' is that of the data, NCHW, shown as NHWC",)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_the_other_endianness_is_named(tmp_path: Path, dtype: str) -> None:
    content = small_models.float_dense() if dtype == "float32" else small_models.dense("int16")
    model = small_models.save(tmp_path, content)
    api.record(model, "random:30", tmp_path / "dump.npz", "reference")
    held = np.load(tmp_path / "dump.npz")
    x, y = (held[name] for name in held.files if name != MANIFEST)
    (tmp_path / "raw").mkdir()
    for name, array in (("x", x), ("y", y.byteswap())):
        (tmp_path / "raw" / f"{name}.bin").write_bytes(array.tobytes())
    (tmp_path / "raw" / "t.csv").write_text(f"input,{dtype},x.bin\noutput,{dtype},y.bin\n")
    runtime = f"recorded:{tmp_path / 'raw'}"
    found = api.verify(model, settings=api.Settings(runtimes=(runtime,))).verdicts[runtime].device
    assert found is not None
    assert found.first is not None
    assert found.first.meant is not None
    assert (found.first.meant.text, found.first.meant.wrong) == ("the other endianness", 0)
    told = "floats count as the same up to 0.001 of the largest value of their tensor"
    assert (told in found.notes) == (dtype == "float32")


def test_diff_and_explain_take_the_device_and_say_where_it_begins(device: Device) -> None:
    y = device.arrays["logits"].copy()
    y[0, 0, 0] += 2
    runtime = device.saved("wrong.npz", logits=y)
    settings = api.Settings(runtimes=("reference", runtime))
    outcome = api.diff(device.model, device.model, device.data, settings, layers=True)
    assert not outcome.failures
    by_name = {each.candidate: each for each in outcome.comparisons}
    assert by_name["tflite:reference"].figures.differing == 0
    assert (by_name[f"tflite:{runtime}"].figures.differing, by_name[f"tflite:{runtime}"].figures.max_steps) == (1, 2)
    assert any("#4 FULLY_CONNECTED (tensor 13): 1 of 60 elements" in line for line in outcome.warnings)
    (found,) = api.explain(device.model, device.model, device.data, settings).found
    assert (found.runtime, found.differing) == (runtime, 1)
    assert any("#4 FULLY_CONNECTED (tensor 13)" in line for line in found.of_the_data)


def test_inputs_that_are_shown_otherwise_are_read_so(device: Device) -> None:
    """Nothing but the rest of the dump tells."""
    x = device.arrays["image"]
    found = told(device, image=(x.view(np.uint8) ^ np.uint8(128)))
    assert found.first is None
    assert found.notes[-1] == "the device was fed with input 'image', int8 shown as uint8: moved by 128"


@pytest.mark.parametrize("kept", [[3, 1, 0, 5, 2, 4], [4, 1]])
def test_samples_in_another_order_and_some_of_them(device: Device, kept: list[int]) -> None:
    """The dump holds no inputs: the values tell which is which."""
    only = dict.fromkeys(name for name in device.arrays if name != "logits")
    runtime = device.saved("order.npz", **{**only, "logits": device.arrays["logits"][kept]})
    settings = api.Settings(runtimes=(runtime,))
    verification = api.verify(device.model, device.data, settings)
    verdict = verification.verdicts[runtime]
    assert (verdict.status, verdict.count) == ("exact", len(kept) * 10)
    if len(kept) < SAMPLES:
        assert f"2 of 6 samples: those in {runtime}" in verification.made_by["data"]
        with pytest.raises(BadData, match="holds samples 1, 4 of the data, 2 of 6; give those"):
            api.diff(device.model, device.model, device.data, settings)


def test_explain_takes_the_rules_that_come_nearest(device: Device) -> None:
    """No manifest says whose kernels ran; and a tensor that is shown wrongly counts for nothing."""
    shown = np.ascontiguousarray(np.moveaxis(device.arrays[CONV2][:, 0], -1, 1)).reshape(-1, 1, SIDE, SIDE, 8)
    for changed in ({}, {CONV2: shown}):
        runtime = device.saved("nearest.npz", **changed)
        settings = api.Settings(runtimes=("builtin", runtime))
        (found,) = api.explain(device.model, device.model, device.data, settings).found
        assert any("taken to obey the rules that come nearest, reference" in line for line in found.of_the_data)
        assert found.closed_reference
        assert found.closed_candidate
        assert found.unsupported == ()
        assert found.frontier is not None
        assert all(0 <= share <= 1 for share in found.frontier.shares.values())
