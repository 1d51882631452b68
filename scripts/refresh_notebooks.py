"""Run the notebooks in ``docs/notebooks`` and store what they show.

    uv run python scripts/refresh_notebooks.py [FILE.ipynb …]

Each runs in a scratch folder, with the data that a fresh machine has. What native code says on standard error is not
stored. Of a widget the page without a kernel is, which is what a reader of the docs can use.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
SECONDS = 300  # that a cell may take


def main() -> None:
    """Refresh the notebooks named, or all."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        notebook = executed(path)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of day
            if "outputs" in cell:
                cell.outputs = [kept(output) for output in cell.outputs if output.get("name") != "stderr"]
        notebook.metadata.pop("widgets", None)
        nbformat.write(notebook, path)
        print(f"refreshed {path}")


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs; raises ``CellExecutionError`` where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources)
        return client.execute(env={**os.environ, "KERAS_HOME": folder})


def kept(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output without the widget, whose kernel is gone, and without the text that nobody sees beside a page."""
    if "text/html" in output.get("data", {}):
        output.data = {"text/html": output.data["text/html"]}
    return output


if __name__ == "__main__":
    main()
