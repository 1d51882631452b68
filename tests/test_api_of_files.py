"""``inspect``, ``lint``, ``verify`` and ``work`` from Python: values that show themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models as models

import quantdiff


@pytest.mark.golden
def test_what_a_file_and_its_arithmetic_say(tmp_path: Path) -> None:
    path, data = models.save(tmp_path, models.dense()), tmp_path / "data.npz"
    np.savez(data, allow_pickle=False, x=np.random.default_rng(1).uniform(-2, 2, (9, models.DEPTH)).astype(np.float32))
    settings = quantdiff.Settings(runtimes=("reference",))
    (graph,) = quantdiff.inspect(path, "w").graphs
    assert [each.tensor.name for each in graph.tensors] == ["w"]
    assert quantdiff.lint(path).model.path == path
    assert quantdiff.lint(path, path) == quantdiff.lint(path)  # a reference without layers
    found = quantdiff.verify(path, data, settings)
    assert {runtime: verdict.status for runtime, verdict in found.verdicts.items()} == {"reference": "exact"}
    assert found.made_by["data"] == str(data)
    working = quantdiff.work(path, data, op=0, element=(8, 2), settings=settings)
    assert (working.runtime, working.element) == ("reference", (8, 2))
    assert "the reference runtime gave" in working._repr_html_()


def test_every_public_name_has_a_home() -> None:
    assert sorted(quantdiff.HOMES) == sorted(quantdiff.__all__)
