"""What moved between two results, as the values of the JSON document of ``report``."""

from __future__ import annotations

from typing import Any

from quantdiff.compare.moved import Movement
from quantdiff.report.json.outcome import SCHEMA


def movement_document(found: Movement) -> dict[str, Any]:
    """Every figure that is otherwise, and what else changed."""
    moved = [
        {
            "section": each.section,
            "whose": each.whose,
            "figure": each.figure,
            "before": each.before,
            "after": each.after,
            "change": each.change,
        }
        for each in found.moved
    ]
    versions = [{"package": name, "before": before, "after": after} for name, before, after in found.versions]
    return {
        "schema": SCHEMA,
        "command": "report",
        "before": found.before,
        "after": found.after,
        "moved": moved,
        "same": found.same,
        "packages": versions,
    }
