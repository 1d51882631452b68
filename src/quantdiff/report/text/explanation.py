"""Explanation → text for a person: the sentence, the frontier, the ladder, the layers, the advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from quantdiff.ladder.explanation import Explanation, Frontier, Item, LayerLadder, Signed
from quantdiff.ladder.mechanisms import KERNEL, ROUNDING
from quantdiff.ladder.prediction import Prediction
from quantdiff.report.text.account import CAUSES, sentence, warnings
from quantdiff.report.text.terminal import Column, Kind, Row, Table, Terminal, prepared_data, printable, short

BAR = 22  # characters
KINDS: Mapping[str, Kind] = {"layer": "name", "right with": "word"}
LAYER_AT_LEAST = 12
"""Characters of a layer's name beside its operator, which tells it from others."""
ROWS, LEAST = 12, 0.005
"""Of the frontier: rows at most, and the share from which an item has one."""


def print_expectation(expected: Prediction, console: Terminal, on_made: str = "") -> None:
    """Print in one line what is to be expected before the runtime runs; layers show theirs beside what is measured.

    ``on_made``: `` on random data`` where they are.
    """
    share = _expected(expected.exactly, expected.closed_form)
    console.print(_line(f"expected{on_made} before {expected.runtime} runs: {share}", "dim"), soft_wrap=True)


def print_explanation(explanation: Explanation, console: Terminal) -> None:
    """Print what must be known first, the verdict, the frontier, the ladder, where it happens, and what helps."""
    console.print(_title(explanation), soft_wrap=True)
    for warning in warnings(explanation):
        console.print(_line(warning, "yellow"), soft_wrap=True)
    console.print(Text(printable(sentence(explanation))))
    if explanation.signed:
        console.print(_signed(explanation.signed))
    if explanation.frontier is not None and explanation.frontier.items:
        console.print(_frontier(explanation.frontier))
    console.print(_waterfall(explanation))
    if explanation.layers:
        _print_layers(explanation.layers, [rung.mechanism for rung in explanation.rungs], console)
    for line in _remarks(explanation):
        console.print(line, soft_wrap=True)


def _frontier(frontier: Frontier) -> Table:
    """A row an item, the largest share first; what lies below the spread of the halves is one row."""
    shown = [item for item in frontier.items if abs(item.share) >= max(LEAST, item.spread / 2)][:ROWS]
    rest = sum(frontier.shares.values()) - sum(item.share for item in shown)
    rows = [
        (f"{i.share:.1%}", f"{i.power:.1%}", f"{i.rms_steps:.3g}", _operator(i), i.mechanism, i.layer) for i in shown
    ]
    if len(shown) < len(frontier.items):
        rows.append((f"{rest:.1%}", "", "", "", f"{len(frontier.items) - len(shown)} more", ""))
    if frontier.output_grid:
        rows.append(("", f"{frontier.output_grid:.1%}", "", "", "output_grid", "(aside)"))
    return _table(("share", "power", "rms"), rows)


def _signed(entries: Sequence[Signed]) -> Table:
    """The list that adds up to the difference of one output."""
    rows = [(f"{each.steps:+.4f}", _operator(each), each.mechanism, each.layer) for each in entries]
    rows.append((f"{sum(each.steps for each in entries):+.4f}", "", "runtime - reference", ""))
    return _table(("steps",), rows)


def _operator(each: Item | Signed) -> str:
    return "" if each.operator is None else f"{each.operator} {each.op}"


def _table(figures: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Figures first; the layer's name takes the room that is left."""
    words = Column("operator", "word"), Column("mechanism", "word"), Column("layer", "name", LAYER_AT_LEAST)
    return Table((*map(Column, figures), *words), tuple(Row((*row, short(layer))) for *row, layer in rows))


def _title(explanation: Explanation) -> Text:
    return Text.assemble(
        ("\n" + f"{explanation.reference} → {explanation.candidate}".upper(), "bold"),
        f"   {explanation.samples:,} samples{printable(prepared_data(explanation.artifacts.get('data', '')))}",
    )


def _waterfall(explanation: Explanation) -> Table:
    orders = dict(explanation.frontier.come_right) if explanation.frontier else {}
    orders |= {ROUNDING: orders.pop(KERNEL)} if KERNEL in orders else {}
    ranged = any(rung.resolved for rung in explanation.rungs if rung.mechanism in orders)
    largest = max((rung.differing_after for rung in explanation.rungs), default=0)
    rows = []
    for rung in explanation.rungs:
        right = f"{rung.resolved:,}" if rung.resolved else ""
        between = [_between(orders.get(rung.mechanism))] if ranged else []
        bar = "█" * -(-rung.differing_after * BAR // largest) if largest else ""
        rows.append(Row((rung.mechanism, f"{rung.differing_after:,}", right, *between, bar)))
    some = explanation.frontier.samples if explanation.frontier else 0
    of_these = "in any order" if some == explanation.samples else f"in any order ({some} samples)"
    headings = ("still differ", "come right", *([of_these] if ranged else []))
    return Table((Column("exchanged", "name"), *map(Column, headings), Column("", "word")), tuple(rows))


def _between(counts: tuple[int, int] | None) -> str:
    """The fewest and the most outputs that come right with an exchange, over all orders."""
    if counts is None:
        return ""
    return f"{counts[0]:,}" if counts[0] == counts[1] else f"{counts[0]:,} … {counts[1]:,}"


def _print_layers(layers: Sequence[LayerLadder], mechanisms: Sequence[str], console: Terminal) -> None:
    """Elements that differ, accumulated and made in the layer alone, and what brings the latter right."""
    different = [layer for layer in layers if any(layer.differing_after) or any(layer.local)]
    cells = {
        "layer": [short(layer.layer) for layer in different],
        "differ": [f"{layer.differing_after[0]:,}" for layer in different],
        "share": [f"{layer.measured:.3%}" for layer in different],
        "expected": [_share(layer.expected) for layer in different],
        "made here": [f"{layer.local[0]:,}" for layer in different],
        "right with": [_cure(layer, mechanisms) for layer in different],
    }
    cells = {name: column for name, column in cells.items() if any(column)}
    columns = tuple(Column(name, KINDS.get(name, "figure")) for name in cells)
    if different:
        console.print(Table(columns, tuple(map(Row, zip(*cells.values(), strict=True)))))
    if len(different) < len(layers):
        more = "more" if different else "layers"
        console.print(Text(f"{len(layers) - len(different)} {more}: equal throughout", style="dim"))


def _expected(exactly: float, closed_form: float | None) -> str:
    """Shares of the outputs that will differ."""
    return f"{exactly:.3%} by its simulator" + (
        "" if closed_form is None else f", {closed_form:.3%} by the closed form"
    )


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3%}"


def _cure(layer: LayerLadder, mechanisms: Sequence[str]) -> str:
    """The rung that takes most of the layer's own errors away."""
    drops = [before - after for before, after in zip(layer.local, layer.local[1:], strict=False)]
    return mechanisms[drops.index(max(drops)) + 1] if drops and max(drops) > 0 else ""


def _remarks(explanation: Explanation) -> Iterator[Text]:
    for name in explanation.unsupported:
        yield _line(f"the simulator lacks {name}; the rungs of the runtime's arithmetic are left out", "yellow")
    if explanation.advice:
        yield Text("\nCures, predicted on the graph:", style="bold")
        yield from (_line(f"  {each.text}") for each in explanation.advice)
    if explanation.expected_exactly is not None:
        share = _expected(explanation.expected_exactly, explanation.expected)
        yield Text(f"\nexpected before {explanation.runtime} ran: {share}; measured {explanation.measured:.3%}")
    yield from _closed(explanation)
    yield from (_line(note, "dim") for note in explanation.notes)


def _closed(explanation: Explanation) -> Iterator[Text]:
    """Both ends of the account, and how near real arithmetic comes to the reference."""
    closed = explanation.closed_reference, explanation.closed_candidate
    ends = ("all items add up to runtime minus reference", "last rung = the runtime's, bit for bit")
    yield Text(
        ", ".join(f"{end}: {'yes' if yes else 'NO'}" for end, yes in zip(ends, closed, strict=True)), style="dim"
    )
    for name, each in (("real", explanation.real), ("rewritten", explanation.rewritten)):
        if each is not None:
            yield Text(
                f"{name}: within {each.max_steps:.2g} steps of the reference, {each.flips:,} other integers",
                style="dim",
            )
    if (frontier := explanation.frontier) is not None:
        apart = frontier.order_distance
        orders = "" if apart is None else f"; within {apart:.3f} of the mean over all orders (Shapley's value)"
        counts = "; in any order: outputs of these that come right" if frontier.come_right else ""
        yield Text(f"shares of {frontier.samples} samples; {CAUSES['output_grid']} aside{orders}{counts}", style="dim")


def _line(text: str, style: str = "") -> Text:
    """A line in which names of layers stand, which may hold anything."""
    return Text(printable(text), style=style)
