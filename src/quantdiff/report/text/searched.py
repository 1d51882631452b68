"""What was searched for or cut out, as text: the worst inputs, a part of a model, changes that help."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.text import Text

from quantdiff.compare.comparison import Comparison
from quantdiff.files import split_part
from quantdiff.ladder.advice.advised import Advised, Tried
from quantdiff.ladder.explanation import Explanation
from quantdiff.report.text.explanation import sentence
from quantdiff.report.text.terminal import NO_VALUE, Column, Row, Table, Terminal, on_made_up, prepared_data, short
from quantdiff.run.extracts import Extract
from quantdiff.search.bound import Bound
from quantdiff.search.fault import MODEL
from quantdiff.search.reduction import Anonymous, Reduction
from quantdiff.search.worst import WorstCase

USELESS = 100.0
"""From which looseness a bound says nothing."""


def worst_text(found: WorstCase, out: Path) -> str:
    """How far it goes, from where, what makes it, and where the inputs are."""
    return "\n".join(_worst_lines(found, out))


def _worst_lines(found: WorstCase, out: Path) -> Iterator[str]:
    yield from (f"note: {warning}" for warning in found.warnings)
    where = "anywhere in the range" if found.near is None else f"within {found.near:g} of a sample"
    yield f"{found.reference} and {found.candidate}, inputs {where}: {found.tried:,} tried in {found.seconds:.0f} s"
    data = prepared_data(str(found.made_by.get("data", "")))
    known = f"in the {found.samples:,} samples{data} {_error(found, found.known)}"
    first = found.inputs[0]
    ends = f"; diff counts {first.max_steps} of these steps, since the output's grid ends there" if first.beyond else ""
    yield f"largest error   {_error(found, first.error)}; {known}{ends}"
    if found.inside is not None and found.inside.within is not None:
        known = f"in the samples {_error(found, found.known_within)}"
        place = found.inputs.index(found.inside)
        yield f"within its grid {_error(found, found.inside.within)}, input {place}; {known}"
    if found.known_margin is not None and not found.interrupted:
        yield f"other decision  {_flip(found)}"
    if found.explanation is not None:
        yield f"what makes it   {_cause(found.explanation, found.inputs[0].error)}"
    elif found.unexplained:
        yield f"what makes it   not told: {found.unexplained}"
    if found.bound is not None:
        yield from _bound(found, found.bound)
    yield f"{out}: {len(found.inputs)} inputs, the largest error first" + (
        "" if found.interrupted else f", each confirmed alone on {found.candidate}"
    )


def _cause(told: Explanation, error: float) -> str:
    """The account, which counts on the output's grid; before it what lies beyond that."""
    beyond = 0.0 if told.saturated is None else told.saturated.max_steps
    if beyond < error / 2:
        return sentence(told)
    outside = f"the output's own grid: the reference goes {beyond:,.1f} steps beyond its end"
    return outside if not told.differing else f"{outside}. Within it {sentence(told)}"


def _bound(found: WorstCase, bound: Bound) -> Iterator[str]:
    if bound.error is None or bound.unclipped is None:
        yield f"bound           none: {bound.stopped}"
        return
    loose = found.looseness
    told = "" if loose is None else f"; {loose:,.1f} times what was found"
    if loose is not None and loose > USELESS:
        told += f", which says nothing: intervals widen with each of {bound.operators} operators"
    near = "" if found.near is None else f" so near to one of the first {bound.samples} samples"
    yield f"bound           {_error(found, bound.error)} for every input{near}{told}"
    if bound.unclipped < bound.error:
        yield f"                {_error(found, bound.unclipped)} where no tensor reaches an end of its grid"
    if bound.settled is not None:
        yield f"settled         {bound.settled:.0%} of {bound.samples} samples: the file cannot decide otherwise there"


def _error(found: WorstCase, error: float) -> str:
    return f"{error * found.unit:.6g}" + (f" ({error:.1f} steps)" if found.steps else "")


def _flip(found: WorstCase) -> str:
    if found.flip is None:
        return "none found"
    place = found.inputs.index(found.flip)
    before = found.known_margin or 0.0
    known = f"; in the samples {before:.6g}" if before > 0 else "; none in the samples"
    return f"input {place}, by {found.flip.margin:.6g} on both sides{known}"


ENDED = {
    "time": "; the time was over, so it may not be the smallest",
    "interrupted": "; interrupted, the smallest so far",
}


def reduction_text(found: Reduction, out: Path) -> str:
    """What is left of what, what it says, and the command that shows it."""
    return "\n".join(_reduction_lines(found, out))


def _reduction_lines(found: Reduction, out: Path) -> Iterator[str]:
    part = found.left
    whole = f"{found.operators} operators, {found.samples:,} samples{prepared_data(found.data)}, {found.size:,} bytes"
    yield f"the whole: {found.before}, with {whole}"
    yield (
        f"{out}: {part.says}, with {few(part.operators)}, {len(part.rows)} of the samples, "
        f"{len(part.models[MODEL]):,} bytes"
    )
    yield f"{found.search.tries} parts tried{ENDED.get(found.search.ended, '')}"
    if found.anonymous is not None:
        yield _anonymous(found.anonymous)
    yield f"see it: {found.line(out)}"


def _anonymous(bare: Anonymous) -> str:
    if not bare.kept:
        return "other names, other values in all constants and inputs"
    count = bare.replaced + len(bare.kept)
    changed = f"other names, other values in {bare.replaced} of {count} constants and inputs"
    return f"{changed}: the fault needs {few(bare.kept)}"


IN_A_LINE = 8  # operators or tensors in a line


def extract_text(part: Extract, model: Path, out: Path, inputs: Path | None) -> str:
    """What was cut out of what, where it stands now, and whether it gives what it gives in the whole."""
    return "\n".join(_extract_lines(part, model, out, inputs))


def _extract_lines(part: Extract, model: Path, out: Path, inputs: Path | None) -> Iterator[str]:
    size = split_part(model)[0].stat().st_size
    yield f"{out}: {few(part.names)}; {len(part.model):,} bytes of {size:,}"
    yield f"takes {few([*map(short, part.ends[0])])}"
    yield f"gives {few([*map(short, part.ends[1])])}"
    if inputs is not None:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in part.batch.arrays.items())
        yield f"{inputs}: {shapes}, as {part.runtime} had them"
    what = f"{len(part.batch):,} samples of {part.source} on {part.runtime}"
    if part.mismatches:
        yield f"{part.mismatches:,} of {part.count:,} values come out otherwise than in the whole: {what}"
    else:
        yield f"gives what it gives in the whole, bit for bit: {part.count:,} values, {what}"


def few(names: Sequence[str]) -> str:
    """The first of many names."""
    rest = len(names) - IN_A_LINE
    return ", ".join(names[:IN_A_LINE]) + (f" and {rest} more" if rest > 0 else "")


SHOWN = 15
"""Choices in the table; JSON has them all."""


def print_advice(found: Advised, console: Terminal) -> None:
    """Print the file's own figures, the set that is enough, and the choices by what they buy."""
    for note in found.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    on_made = on_made_up(found.artifacts.get("data", ""))
    console.print(Text(f"the file on {found.now.candidate}{on_made}: {_quality(found.now)}"), soft_wrap=True)
    if data := prepared_data(found.artifacts.get("data", "")):
        console.print(Text(f"{found.made_by.get('samples', '')} samples{data}", style="dim"), soft_wrap=True)
    for line in chosen_lines(found):
        console.print(Text(line), soft_wrap=True)
    if found.alone or found.chosen is None:
        console.print()
        console.print(_table(found))
    more = [f"… and {len(found.alone) - SHOWN} more: --json lists them"] if len(found.alone) > SHOWN else []
    for line in ("", *more, *last_lines(found)):
        console.print(Text(line), soft_wrap=True)


def _table(found: Advised) -> Table:
    own = [each.name for each in found.now.own]
    rows = [Row(("none: the file as it is", *cells(found.plain, found.plain)))]
    for each in found.alone[:SHOWN]:
        (choice,) = each.choices
        rows.append(Row((f"{short(choice.where)}: {choice.change}", *cells(each.then, found.plain))))
    figures = map(Column, ("SQNR", "gain", "differ", "same top-1", *own))
    return Table((Column("one change", "name"), *figures), tuple(rows))


def cells(then: Comparison, now: Comparison) -> Iterator[str]:
    """SQNR, gain, what differs, what is decided alike, and the user's own figures."""
    figures, gain = then.figures, then.figures.sqnr_db - now.figures.sqnr_db
    yield f"{figures.sqnr_db:.2f} dB"
    yield NO_VALUE if then is now or not math.isfinite(gain) else f"{gain:+.2f}"
    yield NO_VALUE if figures.differing is None else f"{figures.differing / figures.count:.1%}"
    yield NO_VALUE if figures.top1_agreement is None else f"{figures.top1_agreement:.2%}"
    yield from (f"{own.candidate:.5g}" for own in then.own)


def last_lines(found: Advised) -> Iterator[str]:
    """What is left to say: how many changes there are, and which files were written."""
    if found.complete and not found.considered:
        yield "nothing in this file can be kept finer: it has no grids, and no weights of its own"
    if found.considered > len(found.alone) and (found.alone or not found.complete):
        why = "those that promise most where they stand" if found.complete else "broken off"
        yield f"{len(found.alone)} of {found.considered} possible changes were measured: {why}"
    for what, path in found.files.items():
        yield f"{what}: {path}"
    if not found.complete:
        yield "broken off: this is the best so far, and no file was written"


def chosen_lines(found: Advised) -> list[str]:
    """What was chosen, and what comes of it; empty where nothing was asked."""
    return [] if found.chosen is None else [*_chosen(found, found.chosen)]


def _chosen(found: Advised, chosen: Tried) -> Iterator[str]:
    asked = " and ".join(map(str, found.until))
    count = len(chosen.choices)
    changes = f"{count} change" + "s" * (count != 1)
    if asked and not count and found.met:
        yield f"{asked} holds already: {found.proven}"
        return
    if asked:
        says = "is met by" if found.met else "is not met; nearest:"
        yield f"{asked} {says} {changes}" + (f" ({found.proven})" if found.proven else "")
    elif count:
        yield f"what helps, taken together: {changes}"
    for kind, some in groupby(sorted(chosen.choices, key=lambda c: c.change), key=lambda c: c.change):
        yield f"  {kind}: {', '.join(short(choice.where) for choice in some)}"
    yield f"predicted {_quality(chosen.then)}"
    if found.measured is not None:
        yield f"measured  {_quality(found.measured)} on {found.measured.candidate}"
        yield f"before    {_quality(found.now)}"


def _quality(comparison: Comparison) -> str:
    figures = comparison.figures
    parts = [f"SQNR {figures.sqnr_db:.2f} dB"]
    parts += [] if figures.differing is None else [f"{figures.differing:,} of {figures.count:,} differ"]
    parts += [] if figures.top1_agreement is None else [f"same top-1 {figures.top1_agreement:.2%}"]
    return ", ".join([*parts, *(f"{own.name} {own.candidate:.5g}" for own in comparison.own)])
