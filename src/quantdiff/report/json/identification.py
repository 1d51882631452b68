"""What ``identify`` found, as a document."""

from __future__ import annotations

from typing import Any

from quantdiff.identifying.fits import Example
from quantdiff.identifying.identification import Group, Identification, Refuted
from quantdiff.identifying.probe import Probe


def identification_document(found: Identification, probe: Probe | None) -> dict[str, Any]:
    """The document that ``identify --json`` prints."""
    return {
        "schema": "quantdiff/1",
        **found.made_by,
        "runtime": found.runtime,
        "faithful": found.faithful,
        "kinds": [_group(group) for group in found.groups],
        "missing": [{"index": m.index, "op": m.op, "why": m.why} for m in found.missing],
        **({} if probe is None else {"probe": _probe(probe)}),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "operators": list(group.operators),
        "usual": group.usual,
        "status": group.status,
        "count": group.count,
        "unjudged": group.unjudged,
        "rules": [list(each) for each in group.rules],
        "refuted": [_refuted(each) for each in group.refuted],
    }


def _refuted(each: Refuted) -> dict[str, Any]:
    fit = each.fit
    example = None if fit.example is None else {"operator": each.operator, **_example(fit.example)}
    return {"rule": fit.rule, "mismatches": fit.mismatches, "example": example}


def _example(example: Example) -> dict[str, Any]:
    return {
        "element": list(example.element),
        "sum": example.total,
        "device": example.device,
        "rule": example.rule,
    }


def _probe(probe: Probe) -> dict[str, Any]:
    return {
        "samples": len(probe),
        "known": probe.known,
        "searched": probe.searched,
        "told": [{"kind": kind, "rules": [a, b], "elements": n} for (kind, a, b), n in probe.told.items()],
        "left": [{"kind": kind, "rules": [a, b]} for kind, a, b in probe.left],
    }
