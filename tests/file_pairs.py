"""What has to be found between the networks of ``tests/pair_files`` and the files that converters made of them."""

from __future__ import annotations

import re
from pathlib import Path

from quantdiff import api
from quantdiff.compare.layers.report import LayerReport

FILES = Path(__file__).parent / "pair_files"
HOW = api.Settings(runtimes=("reference",))
TRANSPOSED, PADDED = ("added by the converter: 1 TRANSPOSE",), ("added by the converter: 2 PAD",)
FILLED = ("added by the converter: 3 CONCATENATION, 6 FILL, 3 PAD, 3 SLICE",)
MATCHED = {
    ("cnn", "cnn_float.tflite"): (8, TRANSPOSED),
    ("cnn", "cnn_onnx2tf.tflite"): (9, TRANSPOSED),
    ("mobile", "mobile_static.tflite"): (23, PADDED),
    ("mobile", "mobile_qat.tflite"): (23, PADDED),
    ("mobile", "mobile_onnx2tf.tflite"): (24, FILLED),
}
"""Rows, the input among them, and what is said of the rest: nothing is left without a partner."""


def matched(reference: str, candidate: str) -> LayerReport:
    """Layer by layer; whatever has no partner is an error."""
    (report,) = api.diff(FILES / reference, FILES / candidate, FILES / "data.npz", HOW, layers=True).layers
    assert report.only_reference == report.only_candidate == ()
    assert not report.unrelated
    return report


def wrong_modules(report: LayerReport) -> list[tuple[str, str]]:
    """Pairs of which the file's name, where it holds the path of the module, speaks of another one."""
    found = []
    for row in report.layers:
        known = re.match(r"/?blocks[./](?:blocks\.)?(\d)[./](exp|dw|proj)", row.reference)
        own = row.candidate.rpartition(";;")[2]
        if known and "Inverted_" in own and not re.search(rf"Inverted_{known[1]}/.*Sequential_{known[2]}/", own):
            found.append((row.reference, own))
    return found


def closes(reference: str, candidate: str) -> None:
    """Both ends, nothing unexplained, and the file's graph gives the reference's outputs with its constants."""
    (explanation,) = api.explain(FILES / reference, FILES / candidate, FILES / "data.npz", HOW).found
    assert (explanation.closed_reference, explanation.closed_candidate, explanation.unexplained) == (True, True, 0)
    assert explanation.differing > 0
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3
