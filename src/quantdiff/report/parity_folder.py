"""The report of one assertion: a folder of its own, complete or not there."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from quantdiff.compare.outcome import Failure
from quantdiff.ladder.explanation import Parity
from quantdiff.load.data import MEMORY, Batch
from quantdiff.references.formats import save_reference
from quantdiff.report.folder import save_batch, staged
from quantdiff.report.html.document import Page
from quantdiff.report.json.text import json_text
from quantdiff.report.text.parity import parity_document, parity_markdown

NAME_AT_MOST = 100  # characters; file systems take 255 bytes


def folder_name(test: str) -> str:
    """A folder for the test of this name: readable, and another one for every other name."""
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", test).strip("-.")[-NAME_AT_MOST:]
    return f"{readable}-{hashlib.sha256(test.encode(errors='surrogatepass')).hexdigest()[:8]}"


def write_parity(folder: Path, parity: Parity, title: str, more: str) -> None:
    """``report.json`` and ``report.md`` in ``folder``; where a limit is broken, the page too.

    Raises:
        CannotWrite: the system refuses.
    """
    with staged(folder) as unfinished:
        (unfinished / "report.json").write_text(json_text(parity_document(parity)) + "\n", encoding="utf-8")
        (unfinished / "report.md").write_text(parity_markdown(parity, title, more), encoding="utf-8")
        if parity.broken:
            _page(parity).save(unfinished / "report.html")


def _page(parity: Parity) -> Page:
    """What ``explain --html`` shows, of what the assertion found."""
    from quantdiff.report.html.document import Provenance, page_of  # noqa: PLC0415 (Bokeh takes a second)

    outcome = parity.outcome
    missing = tuple(Failure("assert_parity", line) for line in parity.left_out)
    provenance = Provenance(outcome.made_by, outcome.artifacts, outcome.notes, missing)
    return page_of(outcome, parity.explanations, provenance=provenance)


def keep(folder: Path, pair: tuple[Any, Any], batch: Batch) -> tuple[str, str, str]:
    """Put into ``folder`` what is in memory only, so that commands can be used on it; gives all three paths.

    Raises:
        CannotWrite: the system refuses.
    """
    kept: list[str] = []
    with staged(folder) as unfinished:
        for model, side in zip(pair, ("reference", "candidate"), strict=True):
            in_file = isinstance(model, str | Path)
            kept.append(str(model if in_file else folder / save_reference(model, unfinished / side).name))
        if batch.source == MEMORY:
            save_batch(unfinished / "data.npz", batch)
    reference, candidate = kept
    return reference, candidate, str(folder / "data.npz") if batch.source == MEMORY else batch.source
