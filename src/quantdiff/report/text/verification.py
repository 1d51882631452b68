"""What ``verify`` found, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from quantdiff.compare.verdict import Verdict, Verification
from quantdiff.report.text.device import device_document, device_table, device_text
from quantdiff.report.text.terminal import Column, Row, Table, Terminal, on_made_up, printable

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
