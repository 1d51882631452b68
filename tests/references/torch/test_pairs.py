"""The same as PyTorch has them: found by data, and where a program rounds, by position."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from file_pairs import MATCHED, PADDED, closes, matched, wrong_modules

pytestmark = [
    pytest.mark.golden,
    pytest.mark.skipif(find_spec("torch") is None, reason="needs the extra [torch], which is not in `dev`"),
]


@pytest.mark.parametrize(("name", "candidate"), MATCHED)
def test_every_value_has_its_partner_and_helpers_are_told(name: str, candidate: str) -> None:
    report = matched(f"{name}.pt2", candidate)
    assert (len(report.layers), report.notes) == MATCHED[name, candidate]
    assert wrong_modules(report) == []


def test_what_stands_before_and_behind_q_and_dq_is_told_apart_by_position() -> None:
    report = matched("mobile_qat.pt2", "mobile_qat.tflite")
    assert (len(report.layers), report.notes) == (23, PADDED)
    assert wrong_modules(report) == []


@pytest.mark.parametrize(
    ("reference", "candidate"), [("cnn.pt2", "cnn_onnx2tf.tflite"), ("mobile.pt2", "mobile_static.tflite")]
)
def test_the_account_closes(reference: str, candidate: str) -> None:
    closes(reference, candidate)
