"""What moved between two results that were kept."""

from __future__ import annotations

from pathlib import Path

from quantdiff.api.pages import read_document, read_run
from quantdiff.compare.moved import Movement, movement
from quantdiff.errors import BadData
from quantdiff.report.json.outcome import SCHEMA


def what_moved(before: str | Path, after: str | Path) -> Movement:
    """What is otherwise in the second of two results of the same command.

    Args:
        before: the folder of a run, or a file that ``--json`` printed.
        after: the same.

    Returns:
        Every figure that is not the same, and the versions of packages that are not.

    Raises:
        BadData: one of them is no result of quantdiff.
        NotComparable: they are of two commands, or have no figure in common.
    """
    documents = []
    for path in map(Path, (before, after)):
        found = read_run(path) if path.is_dir() else read_document(path, "give what --json printed")
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise BadData(f"{path}: not a JSON document of quantdiff; give what --json printed")
        documents.append(found)
    return movement(documents[0], documents[1], (str(before), str(after)))
