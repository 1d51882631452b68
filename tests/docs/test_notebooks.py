"""The notebooks run from top to bottom in the project's own kernel, and what they show came from running."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 300  # that a cell may take on a machine that does other things too

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["original-experiment", "your-own-model"]


@every
def test_what_is_stored_was_run_in_order(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"execute_result"}
    assert sum("text/html" in output.data for output in outputs) >= 4
    assert "/tmp" not in path.read_text(encoding="utf-8")


@every
@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.golden
@pytest.mark.filterwarnings("ignore")  # of the machinery that runs notebooks
def test_every_cell_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, "KERAS_HOME": str(tmp_path)})
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert any("application/vnd.jupyter.widget-view+json" in output.data for output in shown)
