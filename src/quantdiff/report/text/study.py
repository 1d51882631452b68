"""Results that were kept, as text: a study's rates with boxes, differences and ranges; what moved between two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from quantdiff.compare.moved import Figure, Movement
from quantdiff.experiment.summary import Box, Engine, Interval, Rates, Summary
from quantdiff.report.json.outcome import SCHEMA
from quantdiff.report.text.terminal import NO_VALUE, Column, Row, Table, Terminal, printable


def print_summary(summary: Summary, console: Terminal) -> None:
    """Print every table below its title, then how the numbers came about."""
    for part in summary_parts(summary):
        console.print(part, soft_wrap=isinstance(part, Text) and part.style == "dim")


def summary_parts(summary: Summary) -> Iterator[Text | Table]:
    """What is printed: each table below its title, then how the numbers came about."""
    tables = (
        ("ERROR RATE, all seeds", _rates(summary.rates)),
        ("ERROR RATE AGAINST DEPTH, means", _depths(summary.rates)),
        ("PAIRED DIFFERENCES of the error rate, seed by seed", _differences(summary)),
        ("OUTPUTS THAT DIFFER", _gaps(summary)),
        ("METRIC OF YOUR OWN, means over all seeds", _metrics(summary)),
        ("RANGES in the files of qat-tflite and copied-ptq, means", _ranges(summary)),
    )
    for title, table in tables:
        if table.rows:
            yield Text(f"\n{title}", style="bold")
            yield table
    yield from (Text(line, style="dim") for line in _footer(summary))


def summary_document(summary: Summary) -> dict[str, Any]:
    """Everything at full precision."""
    return {"schema": SCHEMA, "command": "report", **asdict(summary)}


def _table(rows: Iterable[Sequence[str]], *headings: str, names: int) -> Table:
    """The first ``names`` columns say what a row is about."""
    columns = (Column(heading, "name" if place < names else "figure") for place, heading in enumerate(headings))
    return Table(tuple(columns), tuple(Row(tuple(row)) for row in rows))


def _rates(rates: Sequence[Rates]) -> Table:
    rows = []
    for each in rates:
        same = [other.box for other in rates if other.engine.model == each.engine.model]
        line = box_line(each.box, min(box.low for box in same), max(box.high for box in same))
        ends = (_share(value) for value in (each.box.low, each.box.median, each.box.high))
        mean, interval = _share(each.interval.mean), _interval(each.interval, _share)
        rows.append((*_engine(each.engine), str(len(each.rates)), mean, interval, *ends, line))
    columns = "model", "condition", "engine", "runs", "mean", "95 % interval", "min", "median", "max", ""
    return _table(rows, *columns, names=3)


def _depths(rates: Sequence[Rates]) -> Table:
    """A column for every ``denseN``; nothing where there is only one."""
    dense = [each for each in rates if each.depth is not None]
    models = list(dict.fromkeys(each.engine.model for each in dense))
    rows = []
    for where in dict.fromkeys(map(_of, dense)) if len(models) > 1 else ():
        means = {e.engine.model: e.interval.mean for e in dense if _of(e) == where}
        rows.append((*where, *(_share(means[model]) if model in means else NO_VALUE for model in models)))
    return _table(rows, "condition", "engine", *models, names=2)


def _of(rates: Rates) -> tuple[str, str]:
    return rates.engine.condition, rates.engine.engine


def _differences(summary: Summary) -> Table:
    rows = []
    for each in summary.differences:
        counts = (str(each.worse), str(each.better), f"{each.p_value:.3g}")
        mean, interval = _points(each.interval.mean), _interval(each.interval, _points)
        rows.append((*_engine(each.engine), each.against.condition, str(each.pairs), mean, interval, *counts))
    columns = "runs", "mean", "95 % interval", "worse", "better", "sign test p"
    return _table(rows, "model", "condition", "engine", "minus", *columns, names=4)


def _gaps(summary: Summary) -> Table:
    rows = []
    for each in summary.gaps:
        steps = NO_VALUE if each.max_steps is None else f"{each.max_steps} step" + "s" * (each.max_steps != 1)
        differ = NO_VALUE if each.differing is None else f"{each.differing:.3%}"
        names = each.model, each.condition, each.reference, each.candidate
        rows.append((*names, str(each.runs), differ, steps, f"{each.not_close:.3%}", f"{each.max_abs_error:.6g}"))
    columns = "runs", "differ", "largest", "not close", "max error"
    return _table(rows, "model", "condition", "reference", "candidate", *columns, names=4)


def _metrics(summary: Summary) -> Table:
    rows = []
    for each in summary.metrics:
        names = each.model, each.condition, each.reference, each.candidate, each.metric
        figures = (*map(_number, each.means), _signed(each.interval.mean), _interval(each.interval, _signed))
        rows.append((*names, str(each.runs), *figures))
    columns = "runs", "of the reference", "of the candidate", "difference", "95 % interval"
    return _table(rows, "model", "condition", "reference", "candidate", "metric", *columns, names=5)


def _ranges(summary: Summary) -> Table:
    rows = []
    for each in summary.ranges:
        ends = (f"{low:.4f} … {high:.4f}" for low, high in (each.own, each.copied))
        rows.append((each.model, each.calibration, each.layer, each.role, *ends, str(each.runs), str(each.equal)))
    columns = "qat-tflite", "copied-ptq", "runs", "equal in"
    return _table(rows, "model", "calibration", "layer", "", *columns, names=4)


def _engine(engine: Engine) -> tuple[str, str, str]:
    return engine.model, engine.condition, engine.engine


def _interval(interval: Interval, form: Any) -> str:
    return f"{form(interval.low)} … {form(interval.high)}"


def _share(value: float) -> str:
    return f"{value:.2%}"


def _points(value: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{100 * value:+.3f}"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _signed(value: float) -> str:
    return f"{value:+.4g}"


def _footer(summary: Summary) -> Iterator[str]:
    yield ""
    yield "differences in percentage points; intervals: bootstrap of the mean, 10,000 resamples"
    yield f"{summary.trials:,} trials, data {', '.join(map(printable, summary.data))}"
    for versions in summary.versions:
        yield ", ".join(f"{name} {version}" for name, version in versions.items())
    for failed in summary.failed:
        what = " ".join(part for part in (*_engine(failed.engine), f"seed {failed.seed}") if part)
        yield f"failed: {what}: {printable(failed.error)}"


WIDTH = 40


def box_line(box: Box, low: float, high: float, width: int = WIDTH) -> str:
    """``├──▒▒┃▒───┤`` between ``low`` and ``high``: extremes, quartiles, median."""

    def column(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1)) if high > low else 0

    left, first, middle, last, right = map(column, (box.low, box.lower, box.median, box.upper, box.high))
    line = [" "] * width
    line[left : right + 1] = "─" * (right + 1 - left)
    line[first : last + 1] = "▒" * (last + 1 - first)
    line[left], line[right] = ("├", "┤") if right > left else ("│", "│")
    line[middle] = "┃"
    return "".join(line)


def print_movement(found: Movement, console: Terminal) -> None:
    """A sentence, then a row for each figure that is otherwise."""
    console.print(printable(sentence(found)), soft_wrap=True)
    for package, before, after in found.versions:
        console.print(f"{printable(package)}: {printable(before)} → {printable(after)}", soft_wrap=True)
    if found.moved:
        columns = (Column(heading, "name") for heading in ("section", "whose", "figure"))
        rows = tuple(
            Row((each.section, each.whose, each.figure, shown(each.before), shown(each.after), change(each.change)))
            for each in found.moved
        )
        console.print(Table((*columns, Column("before"), Column("after"), Column("change")), rows))


def sentence(found: Movement) -> str:
    """How many figures moved."""
    if not found.moved:
        return f"{found.before} → {found.after}: nothing moved, {found.same:,} figures are the same"
    return f"{found.before} → {found.after}: {len(found.moved):,} figures moved, {found.same:,} are the same"


def shown(figure: Figure | None) -> str:
    """A figure with as many digits as tell it from another; a dash where there is none."""
    if figure is None:
        return "–"
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    return figure if isinstance(figure, str) else f"{figure:,}" if isinstance(figure, int) else f"{figure:.6g}"


def change(difference: float | None) -> str:
    """With its sign; of counts every digit."""
    if difference is None:
        return ""
    return f"{difference:+,}" if isinstance(difference, int) else f"{difference:+,.4g}"
