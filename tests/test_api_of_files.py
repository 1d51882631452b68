"""``inspect``, ``lint``, ``verify`` and ``work`` from Python: values that show themselves."""

from __future__ import annotations

import pydoc
import re
from pathlib import Path

import numpy as np
import pytest
import small_models as models

import quantdiff
from quantdiff import api
from quantdiff.compare.outcome import Outcome


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


@pytest.mark.keras
def test_every_name_that_type_checkers_see_is_there() -> None:
    for module in (quantdiff, api):
        assert module.__file__
        names = re.findall(r"import (\w+)", Path(module.__file__).read_text().partition("TYPE_CHECKING:")[2])
        assert module.__all__ == sorted(names)
        assert all(callable(getattr(module, name)) or name == "DEFAULTS" for name in names)
    assert quantdiff.diff is api.diff


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'quantdiff' has no attribute 'dif'"):
        quantdiff.dif  # type: ignore[attr-defined]  # noqa: B018 (a type checker knows it, too)


def test_help_shows_a_function_as_it_is_written() -> None:
    assert "reference: " in pydoc.render_doc(quantdiff.diff)
    assert "['Batch', 'ParityCallback'" in pydoc.plain(pydoc.render_doc(quantdiff))


def typed() -> Outcome:
    """Fails as a whole under ``mypy --strict`` where a public name is of type Any."""
    return quantdiff.diff("a.tflite", "b.tflite", "x.npy")
