"""Results that were kept: how they are read again, and what moved between two of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantdiff.api.experiments import RESULTS
from quantdiff.compare.comparison import is_tolerance
from quantdiff.compare.moved import Movement, movement
from quantdiff.errors import BadData
from quantdiff.files import read_file
from quantdiff.report.json.outcome import SCHEMA

RESULTS_AT_MOST = 100_000_000  # bytes


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


def read_run(folder: str | Path) -> Mapping[str, Any]:
    """What a run wrote as its results.

    Args:
        folder: what ``quantdiff run --out`` made.

    Returns:
        The document of ``quantdiff run --json``; ``docs/reference/json.md`` explains the keys.

    Raises:
        BadData: not the folder of a run.
    """
    path = Path(folder) / RESULTS
    document = read_document(path, "give the folder that `quantdiff run` made")
    if not _are_results(document):
        raise BadData(f"{path}: not the results of a `quantdiff run`; give the folder that it made")
    return dict(document)


def read_document(path: Path, advice: str) -> Any:
    """What a JSON file holds.

    Raises:
        BadData: it cannot be read, or is no JSON; the ``advice`` says what to give.
    """
    try:
        return json.loads(read_file(path, RESULTS_AT_MOST))
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}; {advice}") from error
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: not a JSON document; make it again") from error


def _are_results(document: Any) -> bool:
    """Whether a page can be made again from these: who was compared, at which tolerance, what failed."""
    match document:
        case {"comparisons": [_, *_] as comparisons}:
            failures = document.get("failures", [])
            return isinstance(failures, list) and all(map(_is_comparison, comparisons)) and all(map(_failed, failures))
    return False


def _is_comparison(each: Any) -> bool:
    match each:
        case {"candidate": str(), "tolerance": float() | int() as tolerance}:
            return is_tolerance(tolerance)
    return False


def _failed(each: Any) -> bool:
    match each:
        case {"runtime": str()}:
            return True
    return False
