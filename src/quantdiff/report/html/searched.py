"""The pages of what was searched for: changes that help, the smallest part that shows a fault, the worst inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from quantdiff.compare.evidence import Evidence, Sample, pictures_of
from quantdiff.ladder.advice.advised import Advised
from quantdiff.report.html.document import Lead, Number, Page, Provenance, assemble, provenance_section
from quantdiff.report.html.explanation import waterfall_section
from quantdiff.report.html.outcome import shown
from quantdiff.report.html.rendering import Cell, Section, Table, render
from quantdiff.report.text.searched import cells, chosen_lines, last_lines, reduction_text, worst_text
from quantdiff.search.fault import MODEL
from quantdiff.search.reduction import Reduction
from quantdiff.search.worst import WorstCase, WorstInput


def advice_page(found: Advised, command: str = "") -> Page:
    """What helps: the set that is enough, and every change that was measured."""
    now, then = found.now.figures, found.plain if found.chosen is None else found.chosen.then
    numbers = (
        Number(f"{now.sqnr_db:.2f} dB", "the file", f"on {found.now.candidate}"),
        Number(f"{then.figures.sqnr_db:.2f} dB", "predicted", "with what was chosen" if found.chosen else "as it is"),
        *([] if found.measured is None else [Number(f"{found.measured.figures.sqnr_db:.2f} dB", "the mended file")]),
    )
    first, *lines = chosen_lines(found) or ["What each change would buy, measured on these data."]
    lines += last_lines(found)
    columns = ("one change", "SQNR", "gain", "differ", "same top-1", *(own.name for own in found.now.own))
    rows = (
        (Cell(str(each.choices[0])), *(_cell(text) for text in cells(each.then, found.plain))) for each in found.alone
    )
    table = Table("changes", "What each change buys by itself", columns, tuple(rows))
    section = Section("changes", "What to change", render("searched.html", lines=lines, table=table))
    lead = Lead(f"{found.now.reference} → {found.now.candidate}", first, numbers)
    made = Provenance(found.made_by, {**found.artifacts, **found.files}, found.notes, (), command)
    return assemble(lead, [section, provenance_section(made)], made)


def _cell(text: str) -> Cell:
    """Sorted by its number, where it begins with one."""
    try:
        return Cell(text, float(text.partition(" ")[0].rstrip("%")))
    except ValueError:
        return Cell(text, -np.inf)


def worst_page(found: WorstCase, out: Path, command: str = "") -> Page:
    """How far it goes, the inputs as pictures where they are some, and what makes the first one's error."""
    first = found.inputs[0]
    numbers = [Number(f"{first.error * found.unit:.4g}", "largest error", "in real units")]
    numbers += [Number(f"{first.max_steps:,}", "steps", "as diff counts")] if first.max_steps is not None else []
    numbers += [Number(f"{found.tried:,}", "inputs tried", f"in {found.seconds:.0f} s")]
    line, *lines = worst_text(found, out).splitlines()
    sections = [Section("found", "What was found", render("searched.html", lines=_joined(lines), table=None))]
    sections.append(_pictures(found))
    if found.explanation is not None:
        sections.append(waterfall_section([found.explanation]))
    made = Provenance(found.made_by, {"inputs": str(out)}, found.warnings, (), command)
    lead = Lead(f"{found.reference} → {found.candidate}", f"{line}.", tuple(numbers))
    return assemble(lead, [*sections, provenance_section(made)], made)


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines of a page do not hang: a word, a colon, what there is to it."""
    for line in lines:
        word, gap, rest = line.partition("  ")
        yield f"{word}: {rest.strip()}" if gap and word else line.strip()


def _pictures(found: WorstCase) -> Section:
    """The inputs, of the first array that holds pictures; without pictures their errors alone."""
    count = len(found.inputs)
    images = next((p for array in found.batch.arrays.values() if (p := pictures_of(array, range(count)))), None)
    samples = [
        shown(Sample(k, each.error * found.unit, picture=images[k] if images else None), f"input {k}", [*_of(each)])
        for k, each in enumerate(found.inputs)
    ]
    entry = {"evidence": Evidence(found.reference, found.candidate, "", None, None, ()), "samples": samples}
    return Section("inputs", "The worst inputs", render("samples.html", entries=[entry]))


def _of(each: WorstInput) -> Iterator[str]:
    """Where an input comes from, and what it does."""
    if each.max_steps is not None:
        yield f"{each.max_steps:,} steps, as diff counts"
    if each.beyond and each.within is not None:
        yield f"{each.within:.1f} steps within the output's grid"
    if each.margin is not None and each.margin > 0:
        yield f"decided otherwise by {each.margin:.3g}"
    yield f"found from sample {each.begun} of the data"


def reduction_page(found: Reduction, out: Path, command: str = "") -> Page:
    """What is left of what, and the command that shows it."""
    part = found.left
    numbers = (
        Number(f"{len(part.operators):,}", "operators", f"of {found.operators:,}"),
        Number(f"{len(part.rows):,}", "samples", f"of {found.samples:,}"),
        Number(f"{len(part.models[MODEL]):,}", "bytes", f"of {found.size:,}"),
    )
    rows = tuple((Cell(name), Cell(str(len(content)), len(content))) for name, content in part.models.items())
    table = Table("files", "What is left", ("file", "bytes"), rows, sorts=False)
    lines = _joined(reduction_text(found, out).splitlines())
    section = Section("part", "The smallest part", render("searched.html", lines=lines, table=table))
    made = Provenance(artifacts={"folder": str(out)}, command=command)
    return assemble(Lead(found.check, f"{part.says}.", numbers), [section, provenance_section(made)], made)
