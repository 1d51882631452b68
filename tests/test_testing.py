"""assert_parity: what it takes, what it refuses, what it says; an assertion of nothing does not pass."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models as models
from quantized_models import Made, denses

from quantdiff import load_batch, load_tflite
from quantdiff.compare.outcome import Outcome
from quantdiff.errors import BadData, BadExpression, BadModel, RuntimeFailed
from quantdiff.quant import Array
from quantdiff.references.keras.model import load_keras
from quantdiff.testing import REPORT, assert_parity

INT8, SHIFTED = models.dense(), models.dense(zero_point=5)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REPORT, raising=False)


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(0).uniform(-2, 2, (50, models.DEPTH)).astype(np.float32)


@pytest.mark.golden
def test_models_and_data_come_in_any_form(x: Array, tmp_path: Path) -> None:
    path = models.save(tmp_path, INT8)
    np.savez(tmp_path / "data.npz", allow_pickle=False, x=x)
    for data in (x, {"x": x}, str(tmp_path / "data.npz"), load_batch(tmp_path / "data.npz"), x.tolist()):
        assert isinstance(assert_parity(path, INT8, data, max_steps=0), Outcome)
    assert_parity(load_tflite(path), str(path), x, sqnr_db=inf, top1_agreement=1)


@pytest.mark.golden
def test_without_a_limit_outputs_must_be_close_as_in_diff(x: Array) -> None:
    assert_parity(INT8, INT8, x)
    with pytest.raises(AssertionError, match=r"not_close is 0.\d+ at tolerance 0.01, at most 0 allowed"):
        assert_parity(INT8, SHIFTED, x)
    assert_parity(INT8, SHIFTED, x, tolerance=100)
    assert_parity(INT8, SHIFTED, x, max_steps=100)
    with pytest.raises(AssertionError, match=r"at tolerance 0\.001"):  # not in silence because another limit is named
        assert_parity(INT8, SHIFTED, x, max_steps=100, tolerance=0.001)
    assert_parity(INT8, SHIFTED, x, not_close=0.99, tolerance=0.001)


@pytest.mark.golden
def test_every_runtime_asked_for_has_to_keep_the_limit(x: Array) -> None:
    runtimes = ["xnnpack", "reference"]
    with pytest.raises(AssertionError) as failed:
        assert_parity(INT8, SHIFTED, x, runtime=runtimes, differing=0, max_abs_error=1e-9)
    text = str(failed.value)
    for runtime in runtimes:
        assert f"\ntflite:{runtime}:\n" in text
    assert text.count("differing is") == text.count("max_abs_error is") == 2
    assert text.count("first layer that differs") == 2
    assert "mechanism: not told" not in text
    assert REPORT in text  # where models from memory would be kept


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"max_step": 1}, TypeError, "no metric 'max_step'.*max_steps, not_close"),
        ({"count": 1}, TypeError, "no metric 'count'"),
        ({"max_steps": nan}, ValueError, "max_steps=nan: nothing can break"),
        ({"max_steps": inf}, ValueError, "nothing can break"),
        ({"not_close": 1}, ValueError, "scale ends at 1"),
        ({"top1_agreement": 0}, ValueError, "scale ends at 0"),
        ({"tolerance": nan}, ValueError, "tolerance"),
        ({"tolerance": -1}, ValueError, "tolerance"),
        ({"runtime": "gpu"}, ValueError, "there are xnnpack, builtin"),
        ({"runtime": ()}, ValueError, "there are xnnpack, builtin"),
    ],
)
def test_what_asserts_nothing_is_refused(x: Array, asked: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        assert_parity(INT8, INT8, x, **asked)


@pytest.mark.golden
def test_what_cannot_be_compared_is_an_error(x: Array) -> None:
    with pytest.raises(BadData, match="empty"):
        assert_parity(INT8, INT8, x[:0])
    with pytest.raises(BadModel, match="no such model"):
        assert_parity("none.tflite", INT8, x)
    with pytest.raises(TypeError, match="a dict is no model"):
        assert_parity({}, INT8, x)
    with pytest.raises(BadExpression, match="max_steps has no value"):
        assert_parity(models.float_dense(), models.float_dense(), x, max_steps=1)
    pair = {"a": x[:, :4], "b": x[:, 4:]}
    with pytest.raises(RuntimeFailed, match="SIGABRT"):
        assert_parity(models.add(), models.ABORTS, pair, max_steps=1)


@pytest.mark.golden
@pytest.mark.keras
def test_a_model_in_memory_is_explained_and_kept(
    made: Callable[..., Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = made(denses)
    monkeypatch.setenv(REPORT, str(tmp_path))
    qat, x = load_keras(files.keras).model, load_batch(files.data).arrays["x"]
    with pytest.raises(AssertionError) as failed:
        assert_parity(qat, files.tflite.read_bytes(), x, differing=0, runtime="builtin")
    lines = str(failed.value).splitlines()
    assert lines[0] == f"no parity: {qat.name} and candidate.tflite on data in memory"
    assert lines[3].startswith("  first layer that differs: ")
    assert lines[4].startswith("  leading mechanism: ")
    command = shlex.split(lines[5].removeprefix("more: quantdiff "))
    assert command[0] == "explain"
    _, reference, candidate, _, data, runtime = command
    assert runtime == "--runtime=builtin"
    assert Path(candidate).read_bytes() == files.tflite.read_bytes()
    assert np.array_equal(load_batch(Path(data)).arrays["x"], x)
    kept = load_keras(Path(reference)).model
    assert all(np.array_equal(a, b) for a, b in zip(kept.get_weights(), qat.get_weights(), strict=True))
