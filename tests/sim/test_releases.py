"""A release that nobody checked is named, not trusted."""

from __future__ import annotations

from quantdiff.compare.verification import doubt
from quantdiff.sim.runtime import CHECKED


def test_a_checked_release_is_no_doubt() -> None:
    assert doubt("ai-edge-litert", {"ai-edge-litert": CHECKED["ai-edge-litert"][0]}) == ""


def test_any_other_is_said() -> None:
    assert "9.9.9 is installed" in doubt("ai-edge-litert", {"ai-edge-litert": "9.9.9"})
    assert "tflite-micro" in doubt("tflite-micro", {})
