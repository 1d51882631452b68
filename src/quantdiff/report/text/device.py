"""What a dump of a device tells, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quantdiff.compare.device import Diagnosis, TensorFinding
from quantdiff.report.text.terminal import Column, Kind, Row, Table

COLUMNS = ("#", "op", "tensor", "nearest", "elements", "new", "in all", "kind")


def device_document(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as it stands in JSON."""
    first = found.first
    return {
        "first": None if first is None else first.tensor,
        "notes": list(found.notes),
        "tensors": [_tensor(each) for each in found.findings],
    }


def _tensor(each: TensorFinding) -> dict[str, Any]:
    told = each.meant
    return {
        "operator": each.operator,
        "op": each.op,
        "tensor": each.tensor,
        "name": each.name,
        "nearest": each.rules or None,
        "count": each.count,
        "new": each.wrong,
        "differing": each.differing,
        "by_rules": dict(each.by_rules),
        "kind": None if told is None else told.kind,
        "text": None if told is None else told.text,
        "new_so_read": None if told is None else told.wrong,
        "passed_on": each.passed_on,
        "why": each.why,
    }


def device_text(found: Diagnosis) -> Iterator[str]:
    """The finding in sentences: the first operator, what becomes of it, and how the dump was read."""
    first = found.first
    known = [each for each in found.findings if not each.why]
    if first is None:
        every = f"all {len(known)} tensors are" if len(known) > 1 else "the one tensor that can be computed is"
        yield f"{every} what the device's own inputs give" if known else "no tensor of the dump can be computed"
    else:
        yield f"first: {_first(first)}"
        behind = known[known.index(first) + 1 :]
        if behind:
            yield f"behind it, of {len(behind)} tensors: {', '.join(_behind(behind))}"
    yield from found.notes


def _behind(behind: Sequence[TensorFinding]) -> Iterator[str]:
    new = [each for each in behind if each.wrong]
    inherit = sum(1 for each in behind if not each.wrong and each.differing)
    if new:
        yield f"{len(new)} add something new ({', '.join(f'#{each.operator} {each.op}' for each in new)})"
    if inherit:
        yield f"{inherit} inherit what came before and add nothing"
    if right := len(behind) - len(new) - inherit:
        yield f"{right} as they should be"


def _first(each: TensorFinding) -> str:
    assert each.meant is not None
    text = (
        f"#{each.operator} {each.op} (tensor {each.tensor}): {each.wrong:,} of {each.count:,} elements are not what "
        f"the device's own inputs give by the rules that come nearest, {each.rules}; {_what(each)}"
    )
    if each.passed_on:
        text += "; what comes behind was computed from these values: the device had them"
    if each.passed_on is False:
        text += "; what comes behind was computed from the right values: the dump is wrong here, not the device"
    return text


def _what(each: TensorFinding) -> str:
    told = each.meant
    if told is None:
        return each.why
    if told.kind == "rounding":
        return f"rounding, {told.text}"
    if told.kind == "reading":
        return f"{told.text}: so read, {told.wrong:,} differ"
    return told.text


def device_table(found: Diagnosis) -> Table:
    """Every tensor of the dump in the order of computation."""
    kinds: dict[str, Kind] = {"op": "name", "nearest": "word", "kind": "word"}
    rows = []
    for each in found.findings:
        kind = "not simulated" if each.why else "" if each.meant is None else each.meant.kind
        counts = f"{each.count:,}", f"{each.wrong:,}", f"{each.differing:,}"
        cells = str(each.operator), each.op, str(each.tensor), each.rules, *counts, kind
        rows.append(Row(cells, style="red" if each.wrong else ""))
    return Table(tuple(Column(name, kinds.get(name, "figure")) for name in COLUMNS), tuple(rows))
