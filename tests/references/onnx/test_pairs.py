"""A CNN and a MobileNet-like network beside what three converters made of them: every value has its partner."""

from __future__ import annotations

import pytest
from file_pairs import MATCHED, closes, matched, wrong_modules

pytestmark = pytest.mark.golden


@pytest.mark.parametrize(("name", "candidate"), MATCHED)
def test_every_value_has_its_partner_and_helpers_are_told(name: str, candidate: str) -> None:
    report = matched(f"{name}.onnx", candidate)
    assert (len(report.layers), report.notes) == MATCHED[name, candidate]
    assert wrong_modules(report) == []


@pytest.mark.parametrize(
    ("reference", "candidate"), [("cnn.onnx", "cnn_onnx2tf.tflite"), ("mobile_norms.onnx", "mobile_static.tflite")]
)
def test_the_account_closes(reference: str, candidate: str) -> None:
    closes(reference, candidate)
