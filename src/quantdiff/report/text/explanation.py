"""Explanation → text for a person: the ladder as a waterfall of bars, the layers, the advice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from quantdiff.ladder.expectation import Expectation
from quantdiff.ladder.explanation import Explanation, LayerLadder
from quantdiff.report.plain import printable
from quantdiff.report.text.names import cropped, short

BAR, NAME, GAP = 22, 24, 2  # characters: of a bar, of a layer's name at least, between columns
EXPECTED = 24  # characters of two shares and the gaps beside them
WORDS = {
    "reference": "as trained",
    "input_quantized": "input rounded to its grid",
    "activation_ranges": "activation ranges of the file",
    "weights": "weights of the file",
    "bias_to_int32": "biases of the file, int32",
    "exact_sum": "exact sums instead of float32",
    "op_approximation": "curves as the runtime has them",
    "rounding": "the runtime's rounding",
    "runtime": "the runtime itself",
}


def print_expectation(expected: Expectation, console: Console) -> None:
    """Print what is to be expected before the runtime runs."""
    title = f"\n{expected.reference} → {expected.runtime}, expected to differ".upper()
    console.print(Text.assemble((title, "bold"), f"   before {expected.runtime} runs"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for name in ("simulator", "closed form"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in expected.layers:
        if layer.exactly or layer.closed_form:
            name = escape(cropped(short(layer.layer), console.width - EXPECTED))
            table.add_row(name, f"{layer.exactly:.3%}", _share(layer.closed_form))
    table.add_row(Text("outputs", style="bold"), f"{expected.exactly:.3%}", _share(expected.closed_form))
    console.print(table)


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print the verdict, the ladder, where it happens, and what helps."""
    console.print(_title(explanation))
    console.print(Text(sentence(explanation)))
    console.print(_waterfall(explanation))
    if explanation.layers:
        _print_layers(explanation.layers, [rung.mechanism for rung in explanation.rungs], console)
    for line in _remarks(explanation):
        console.print(line, soft_wrap=True)


def sentence(explanation: Explanation) -> str:
    """The verdict in one sentence."""
    total = f"{explanation.differing:,} of {explanation.count:,} outputs differ"
    lead = explanation.leading
    if lead is None:
        return f"{explanation.differing:,} of {explanation.count:,} outputs differ: nothing to explain."
    share = lead.resolved / explanation.differing
    rest = f"{explanation.unexplained:,} unexplained" if explanation.unexplained else "none is left unexplained"
    return f"{total}; {lead.resolved:,} of them ({share:.1%}) come right with {WORDS[lead.mechanism]}; {rest}."


def _title(explanation: Explanation) -> Text:
    return Text.assemble(
        ("\n" + f"{explanation.reference} → {explanation.candidate}".upper(), "bold"),
        f"   {explanation.samples:,} samples",
    )


def _waterfall(explanation: Explanation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("exchanged", no_wrap=True)
    told = any(rung.alone is not None for rung in explanation.rungs)
    for name in ("still differ", "come right", *(["alone"] if told else [])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    largest = max((rung.differing_after for rung in explanation.rungs), default=0)
    for rung in explanation.rungs:
        alone = ["" if rung.alone is None else f"{rung.alone:,}"] if told else []
        right = f"{rung.resolved:,}" if rung.resolved else ""
        bar = "█" * -(-rung.differing_after * BAR // largest) if largest else ""
        table.add_row(rung.mechanism, f"{rung.differing_after:,}", right, *alone, bar)
    return table


def _print_layers(layers: Sequence[LayerLadder], mechanisms: Sequence[str], console: Console) -> None:
    """Elements that differ, accumulated and made in the layer alone, and what brings the latter right."""
    different = [layer for layer in layers if any(layer.differing_after) or any(layer.local)]
    columns = {
        "differ": [f"{layer.differing_after[0]:,}" for layer in different],
        "share": [f"{layer.measured:.3%}" for layer in different],
        "expected": [_share(layer.expected) for layer in different],
        "made here": [f"{layer.local[0]:,}" for layer in different],
        "right with": [_cure(layer, mechanisms) for layer in different],
    }
    columns = {name: column for name, column in columns.items() if any(column)}
    room = console.width - sum(GAP + max(map(len, (name, *column))) for name, column in columns.items())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="left" if name == "right with" else "right", no_wrap=True)
    for layer, *row in zip(different, *columns.values(), strict=True):
        table.add_row(escape(cropped(short(layer.layer), max(room, NAME))), *row)
    if different:
        console.print(table)
    if len(different) < len(layers):
        more = "more" if different else "layers"
        console.print(Text(f"{len(layers) - len(different)} {more}: equal throughout", style="dim"))


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3%}"


def _cure(layer: LayerLadder, mechanisms: Sequence[str]) -> str:
    """The rung that takes most of the layer's own errors away."""
    drops = [before - after for before, after in zip(layer.local, layer.local[1:], strict=False)]
    return mechanisms[drops.index(max(drops)) + 1] if drops and max(drops) > 0 else ""


def _remarks(explanation: Explanation) -> Iterator[Text]:
    for each in explanation.wrong_weights:
        verdict = "wrong weights, not rounding" if each.planted else "the reference was trained further, or is another"
        yield _line(
            f"{each.layer}: {each.count:,} of {each.size:,} stored weights are not the reference's rounded, "
            f"off by up to {each.max_steps:.4g} steps at {list(each.worst)}: {verdict}",
            "red",
        )
    for name in explanation.unsupported:
        yield _line(f"the simulator lacks {name}; the rungs below the biases are left out", "yellow")
    if explanation.advice:
        yield Text("\nTried on a copy:", style="bold")
        yield from (_line(f"  {each.text}") for each in explanation.advice)
    exactly, expected = explanation.expected_exactly, explanation.expected
    if exactly is not None:
        closed_form = "" if expected is None else f", {expected:.3%} by the closed form"
        yield Text(
            f"\nexpected before {explanation.runtime} ran: {exactly:.3%} by its simulator{closed_form}; "
            f"measured {explanation.measured:.3%}"
        )
    closed = explanation.closed_reference, explanation.closed_candidate
    ends = ("first rung = the reference's own output", "last = the runtime's, bit for bit")
    yield Text(
        ", ".join(f"{end}: {'yes' if yes else 'NO'}" for end, yes in zip(ends, closed, strict=True)), style="dim"
    )
    yield from (_line(note, "dim") for note in explanation.notes)


def _line(text: str, style: str = "") -> Text:
    """A line in which names of layers stand, which may hold anything."""
    return Text(printable(text), style=style)
