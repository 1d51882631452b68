"""What ``verify`` found, as JSON and as a table, and what a dump of a device tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from quantdiff.compare.device import Diagnosis, TensorFinding
from quantdiff.compare.verdict import Verdict, Verification
from quantdiff.report.text.terminal import Column, Kind, Row, Table, Terminal, on_made_up, printable

STYLE = {
    "exact": "green",
    "within": "green",
    "differs": "red",
    "unsupported": "yellow",
    "crashed": "red",
    "unavailable": "yellow",
}


def verification_document(found: Verification) -> dict[str, Any]:
    """The document that ``verify --json`` prints."""
    return {
        "schema": "quantdiff/1",
        **found.made_by,
        "runtimes": {runtime: _verdict(verdict) for runtime, verdict in found.verdicts.items()},
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "status": verdict.status,
        "count": verdict.count,
        "mismatches": verdict.mismatches,
        "chain": {"count": verdict.chain_count, "mismatches": verdict.chain_mismatches},
        "faithful": verdict.faithful,
        "delegated_as_expected": verdict.delegated_as_expected,
        "why": verdict.why,
        "doubt": verdict.doubt,
        "operators": [
            {
                "index": o.index,
                "op": o.op,
                "kernel": o.kernel,
                "count": o.count,
                "mismatches": o.mismatches,
                **({} if o.width is None else {"within": True, "width": o.width}),
            }
            for o in verdict.operators
        ],
        "unsupported": [{"index": m.index, "op": m.op, "why": m.why} for m in verdict.unsupported],
        "skipped": list(verdict.skipped),
        **({} if verdict.device is None else {"device": device_document(verdict.device)}),
    }


def print_verification(found: Verification, console: Terminal) -> None:
    """The verdicts, then a table of operators per runtime."""
    for runtime, verdict in found.verdicts.items():
        console.print(_sentence(runtime, verdict, on_made_up(str(found.made_by["data"]))), soft_wrap=True)
        for line in device_text(verdict.device) if verdict.device else ():
            console.print(f"  {printable(line)}", soft_wrap=True)
    console.print(f"{found.made_by['samples']} samples of {found.made_by['data']}", style="dim", soft_wrap=True)
    for runtime, verdict in found.verdicts.items():
        for line in unsupported(verdict):
            words = printable(line)
            console.print(Text.assemble((f"not simulated on {runtime}: ", "yellow"), words), soft_wrap=True)
    for runtime, verdict in found.verdicts.items():
        if verdict.operators:
            console.print(Text.assemble("\n", (runtime, "bold"), ", operator by operator"))
            console.print(_table(verdict) if verdict.device is None else device_table(verdict.device))


def unsupported(verdict: Verdict) -> Iterator[str]:
    """Operators without a kernel here, those of one kind and reason in one line."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for each in verdict.unsupported:
        kinds.setdefault((each.op, each.why), []).append(f"#{each.index}")
    yield from (f"{op} {', '.join(places)}: {why}" for (op, why), places in kinds.items())


def _table(verdict: Verdict) -> Table:
    rows = [
        Row((str(o.index), o.op, o.kernel, f"{o.count:,}", f"{o.mismatches:,}"), style="red" if o.mismatches else "")
        for o in verdict.operators
    ]
    words = Column("#"), Column("op", "name"), Column("kernel", "word")
    return Table((*words, Column("elements"), Column("mismatches")), tuple(rows))


def _sentence(runtime: str, verdict: Verdict, on_made: str) -> Text:
    status = verdict.status, STYLE[verdict.status]
    return Text.assemble((runtime, "bold"), ": ", status, f"{on_made}: {printable(verdict_text(verdict))}")


def _intervals(verdict: Verdict) -> str:
    """How many elements were held against intervals, and how wide those are."""
    enclosed = [o for o in verdict.operators if o.width is not None]
    if not enclosed:
        return ""
    count, widest = sum(o.count for o in enclosed), max(o.width or 0.0 for o in enclosed)
    return f"; {count:,} of them against proven intervals, at most {widest:.1f} units in the last place wide"


def verdict_text(verdict: Verdict) -> str:
    """The verdict in words: why a runtime failed, or what differs."""
    if verdict.why:
        return verdict.why
    text = f"{verdict.mismatches:,} of {verdict.count:,} elements differ, each operator on the runtime's input"
    text += _intervals(verdict)
    if verdict.chain_count:
        text += f"; {verdict.chain_mismatches:,} of {verdict.chain_count:,} outputs when the simulator runs alone"
    if not verdict.faithful:
        text += "; the final outputs changed when the tensors between were read, so the operators prove nothing"
    if not verdict.delegated_as_expected:
        text += "; XNNPACK took other operators than this version of its rules says"
    return f"{text}; {verdict.doubt}" if verdict.doubt else text


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
