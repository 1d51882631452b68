"""Explanation → text for a person: the sentence, the frontier, the ladder, the layers, the advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from quantdiff.ladder.explanation import (
    KERNEL,
    ROUNDING,
    Explanation,
    Frontier,
    Item,
    LayerLadder,
    Signed,
    WrongWeights,
)
from quantdiff.ladder.prediction import Prediction
from quantdiff.report.text.account import CAUSES, PLANTED, TRAINED, WORDS
from quantdiff.report.text.terminal import (
    Column,
    Kind,
    Row,
    Table,
    Terminal,
    on_made_up,
    prepared_data,
    printable,
    short,
)

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


MOST_PLACES, BEYOND = 10, 0.01
TOLD, NAMED, MOST_NAMED = 0.005, 0.1, 3
"""Shares: from which a mechanism is told, and an item named; how many items."""


OUTSIDE, CLIPPED, MANY, MATTERS, UNSETTLED, ORDER = 0.001, 3, 0.25, 0.05, 0.25, 0.1
"""Shares of outputs and tensors, a number of tensors, a share of the error, and distances of the shares of the two
halves of the samples, and of the network's order from all orders, from which a warning is due."""


def sentence(explanation: Explanation) -> str:
    """The verdict: how much differs, and what the error is made of."""
    on_made = on_made_up(explanation.artifacts.get("data", ""))
    total = f"{explanation.differing:,} of {explanation.count:,} outputs differ{on_made}"
    frontier, on_grid = explanation.frontier, explanation.rungs[0].max_steps is not None
    nothing = not explanation.unaccounted if frontier is None else not frontier.rms_steps
    if not explanation.differing and (on_grid or nothing):
        return f"{total}: nothing to explain."
    if explanation.unaccounted:
        return f"{total}; not accounted for: {explanation.unaccounted}."
    if frontier is None or not any(frontier.shares.values()):
        return f"{total}; {_by_rungs(explanation)}"
    return f"{total}. {_shares(frontier)}; {_closing(explanation)}."


def leading_items(frontier: Frontier) -> list[Item]:
    """The items that matter, the largest share first."""
    return [item for item in frontier.items if item.share >= NAMED and item.tensor][:MOST_NAMED]


def item_name(item: Item) -> str:
    """``MEAN #2 (`pool`)``: the operator by its index, and the layer's name in the reference."""
    where = f"{item.op} #{item.operator}" if item.operator is not None else "the input"
    name = short(item.layer)
    return f"{where} (`{name}`)" if name else where


def _shares(frontier: Frontier) -> str:
    named = leading_items(frontier)
    parts = []
    for mechanism, share in sorted(frontier.shares.items(), key=lambda entry: -entry[1]):
        own = [item for item in named if item.mechanism == mechanism]
        if abs(share) < TOLD and not own:
            continue
        parts.append(f"{share:.0%} is {CAUSES[mechanism]}" + _inside(own, share))
    return "Of the error, " + ", ".join(parts or ["nothing stands out"])


def _inside(items: list[Item], share: float) -> str:
    if not items:
        return ""
    if len(items) == 1 and abs(items[0].share - share) < TOLD:
        return f" at {item_name(items[0])}{_range(items[0])}"
    return " (" + ", ".join(f"{item.share:.0%} at {item_name(item)}{_range(item)}" for item in items) + ")"


def _range(item: Item) -> str:
    """``: the file holds 0 … 0.55, the data reach 0.61`` where values are cut off."""
    if item.mechanism not in ("activation_clipping", "activation_ranges", "input_quantized"):
        return ""
    if item.held is None or item.met is None:
        return ""
    (low, high), (least, most) = item.held, item.met
    room = 0.0 if item.mechanism == "activation_clipping" else (high - low) * BEYOND
    beyond = [f"{end:.4g}" for end, out in ((least, least < low - room), (most, most > high + room)) if out]
    if not beyond:
        return ""
    return f": the file holds {low:.4g} … {high:.4g}, the data reach {' and '.join(beyond)}"


def _closing(explanation: Explanation) -> str:
    if explanation.closed_reference and explanation.closed_candidate:
        return f"all of it accounted for, to the bit on {explanation.runtime}"
    if explanation.closed_reference:
        return f"all of it accounted for on {explanation.candidate}"
    return "the account does not close"


def _by_rungs(explanation: Explanation) -> str:
    lead = explanation.find(explanation.leading or "")
    if lead is None:
        return "not accounted for."
    left = explanation.unexplained
    share = lead.resolved / explanation.differing
    rest = f"{left:,} unexplained" if left else "none is left unexplained"
    return f"{lead.resolved:,} of them ({share:.1%}) come right with {WORDS[lead.mechanism]}; {rest}."


def warnings(explanation: Explanation) -> Iterator[str]:
    """What a reader must know before the sentence."""
    yield from explanation.of_the_data
    outside = explanation.saturated
    if outside is not None and outside.share > OUTSIDE:
        yield (
            f"{outside.share:.1%} of the reference's outputs lie outside what the file can say, "
            f"by up to {outside.max_steps:,.4g} steps"
        )
    if explanation.departs:
        yield f"the two graphs are not the same: {explanation.departs}"
    yield from _lost(explanation)
    yield from _unsettled(explanation)
    yield from _by_order(explanation)
    clipped, tensors = _clipped(explanation), {layer.tensor for layer in explanation.layers}
    if len(clipped) >= max(CLIPPED, len(tensors) * MANY) and _percent(explanation, "activation_clipping") >= MATTERS:
        names = ", ".join(item_name(item) for item in clipped[:CLIPPED])
        yield (
            f"{len(clipped)} tensors are clipped on this data ({names}, …): the data that the file was calibrated on "
            "were too few or of another kind, or ranges were averaged over them (litert-quantizer's default) "
            "instead of their ends kept"
        )
    yield from _other_weights(explanation.wrong_weights)
    lost = [match.tensor for match in explanation.matching if match.how == "none"]
    if lost:
        names = ", ".join(map(short, lost[:3]))
        yield f"no constant of the reference stands behind {names}: the stored values are taken"


def _other_weights(wrong: Sequence[WrongWeights]) -> Iterator[str]:
    """Kernels that are not the reference's, the farthest first; many of one kind are counted."""
    for planted in (True, False):
        verdict = PLANTED if planted else TRAINED
        some = sorted((each for each in wrong if each.planted == planted), key=lambda each: -each.max_steps)
        for each in some[: None if len(some) <= CLIPPED else 1]:
            yield (
                f"{each.layer}: {each.count:,} of {each.size:,} stored weights are not the reference's rounded, "
                f"off by up to {each.max_steps:.4g} steps at {list(each.worst)}: {verdict}"
            )
        if len(some) > CLIPPED:
            names = ", ".join(each.layer for each in some[1:CLIPPED])
            yield f"likewise {len(some) - 1} more kernels, the farthest of them {names}"


def _lost(explanation: Explanation) -> Iterator[str]:
    """Features that one grid for all of an input rounds away."""
    for item in explanation.frontier.items if explanation.frontier is not None else ():
        if item.lost and item.held is not None:
            places = ", ".join(map(str, item.lost[:MOST_PLACES])) + (", …" if len(item.lost) > MOST_PLACES else "")
            yield (
                f"{len(item.lost)} features of {item_name(item)} vary by less than one of its steps and are lost "
                f"({places}): one grid holds {item.held[0]:.4g} … {item.held[1]:.4g} for all; scale them before"
            )


def _unsettled(explanation: Explanation) -> Iterator[str]:
    """Shares that the next samples may change: a few of them make most of the error."""
    frontier = explanation.frontier
    worst = max(leading_items(frontier), key=lambda item: item.spread, default=None) if frontier is not None else None
    if frontier is not None and worst is not None and worst.spread > UNSETTLED and explanation.differing:
        yield (
            f"the shares are those of the first {frontier.samples:,} samples and may be others for the rest: "
            f"between their two halves the share of {item_name(worst)} differs by {worst.spread:.0%}"
        )


def _by_order(explanation: Explanation) -> Iterator[str]:
    """Mechanisms that meet each other's errors: which one is exchanged first decides how much it gets."""
    frontier = explanation.frontier
    if frontier is not None and explanation.differing and (frontier.order_distance or 0.0) > ORDER:
        mean = sorted(frontier.shapley.items(), key=lambda entry: -entry[1])
        parts = ", ".join(f"{CAUSES[m]} {share:.0%}" for m, share in mean if abs(share) >= TOLD)
        yield f"the order matters: in the mean over all orders of the mechanisms the shares are {parts}"


def _percent(explanation: Explanation, mechanism: str) -> float:
    return 0.0 if explanation.frontier is None else explanation.frontier.shares.get(mechanism, 0.0)


def _clipped(explanation: Explanation) -> list[Item]:
    """Tensors that the data leave by more than a few steps."""
    items = explanation.frontier.items if explanation.frontier is not None else ()
    return [
        item
        for item in items
        if item.mechanism == "activation_clipping" and item.held and item.met and _leaves(item.held, item.met)
    ]


def _leaves(held: tuple[float, float], met: tuple[float, float]) -> bool:
    room = (held[1] - held[0]) * 0.05
    return met[0] < held[0] - room or met[1] > held[1] + room
