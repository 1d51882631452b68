"""``quantdiff runtimes`` names all that can run models, and how to install what cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from quantdiff.cli import main
from quantdiff.references.formats import formats
from quantdiff.run.runtimes import RUNTIMES, RuntimeEntry
from quantdiff.run.serving import MEASURES
from quantdiff.sim.runtime import Runtime

pytestmark = pytest.mark.hosted


def test_a_row_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "nowhere", RuntimeEntry("nowhere", "nowhere", "no-such-package", "tflm"))
    keras = formats()["keras"]
    assert keras.framework is not None
    missing = replace(keras, framework=replace(keras.framework, package="no-such-framework"))
    monkeypatch.setitem(formats(), "keras", missing)
    result = CliRunner().invoke(main, ["runtimes", "--json"])
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads(result.stdout)["engines"]}
    arm64 = [each.value for each in Runtime if each.on_arm64]
    assert [*rows] == [*RUNTIMES, *arm64, *(name for name, each in formats().items() if each.framework)]
    assert rows["xnnpack"]["version"] == version("ai-edge-litert")
    assert {*rows["xnnpack"]["confinement"]} == {*MEASURES}
    assert rows["xnnpack"]["confinement"]["scratch_folder"] is True
    for name in ("nowhere", "keras"):
        assert (rows[name]["version"], rows[name]["confinement"]) == (None, {})
    assert rows["nowhere"]["install"] == "pip install 'quantdiff[tflm]'"
    assert rows["keras"]["install"] == "pip install 'quantdiff[keras]'"
    text = CliRunner().invoke(main, ["runtimes"]).stdout
    assert "pip install 'quantdiff[keras]'" in text
    assert "scratch folder" in text
