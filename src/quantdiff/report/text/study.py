"""``Summary`` as text: error rates with boxes, paired differences, outputs that differ, ranges side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from quantdiff.experiment.statistics import Interval
from quantdiff.experiment.summary import Engine, Rates, Summary
from quantdiff.report.json.outcome import SCHEMA
from quantdiff.report.plain import printable
from quantdiff.report.text.box_plot import box_line
from quantdiff.report.text.terminal import Terminal

WIDTH_IN_A_FILE = 400
NO_VALUE = "–"


def print_summary(summary: Summary) -> None:
    """Write to standard output: as wide as the terminal, or wide enough for a file."""
    console = Terminal(highlight=False, in_a_file=WIDTH_IN_A_FILE)
    for part in summary_parts(summary):
        console.print(part, soft_wrap=isinstance(part, Text) and part.style == "dim")


def summary_parts(summary: Summary) -> Iterator[Text | Table]:
    """What is printed: each table below its title, then how the numbers came about."""
    tables = (
        ("ERROR RATE, all seeds", _rates(summary.rates)),
        ("ERROR RATE AGAINST DEPTH, means", _depths(summary.rates)),
        ("PAIRED DIFFERENCES of the error rate, seed by seed", _differences(summary)),
        ("OUTPUTS THAT DIFFER", _gaps(summary)),
        ("RANGES in the files of qat-tflite and copied-ptq, means", _ranges(summary)),
    )
    for title, table in tables:
        if table.row_count:
            yield Text(f"\n{title}", style="bold")
            yield table
    yield from (Text(line, style="dim") for line in _footer(summary))


def summary_document(summary: Summary) -> dict[str, Any]:
    """Everything at full precision."""
    return {"schema": SCHEMA, "command": "report", **asdict(summary)}


def _table(*columns: str, left: int) -> Table:
    """A plain table, the first ``left`` columns to the left."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", no_wrap=True)
    return table


def _rates(rates: Sequence[Rates]) -> Table:
    table = _table("model", "condition", "engine", "runs", "mean", "95 % interval", "min", "median", "max", left=3)
    table.add_column("", no_wrap=True)
    for each in rates:
        same = [other.box for other in rates if other.engine.model == each.engine.model]
        line = box_line(each.box, min(box.low for box in same), max(box.high for box in same))
        ends = (_share(value) for value in (each.box.low, each.box.median, each.box.high))
        mean, interval = _share(each.interval.mean), _interval(each.interval, _share)
        table.add_row(*_engine(each.engine), str(len(each.rates)), mean, interval, *ends, line)
    return table


def _depths(rates: Sequence[Rates]) -> Table:
    """A column for every ``denseN``; nothing where there is only one."""
    dense = [each for each in rates if each.depth is not None]
    models = list(dict.fromkeys(each.engine.model for each in dense))
    table = _table("condition", "engine", *models, left=2)
    rows = dict.fromkeys((each.engine.condition, each.engine.engine) for each in dense) if len(models) > 1 else ()
    for condition, engine in rows:
        means = {e.engine.model: e.interval.mean for e in dense if _of(e.engine) == (condition, engine)}
        values = (_share(means[model]) if model in means else NO_VALUE for model in models)
        table.add_row(condition, printable(engine), *values)
    return table


def _of(engine: Engine) -> tuple[str, str]:
    return engine.condition, engine.engine


def _differences(summary: Summary) -> Table:
    columns = ("runs", "mean", "95 % interval", "worse", "better", "sign test p")
    table = _table("model", "condition", "engine", "minus", *columns, left=4)
    for each in summary.differences:
        counts = (str(each.worse), str(each.better), f"{each.p_value:.3g}")
        mean, interval = _points(each.interval.mean), _interval(each.interval, _points)
        table.add_row(*_engine(each.engine), each.against.condition, str(each.pairs), mean, interval, *counts)
    return table


def _gaps(summary: Summary) -> Table:
    columns = ("runs", "differ", "largest", "not close", "max error")
    table = _table("model", "condition", "reference", "candidate", *columns, left=4)
    for each in summary.gaps:
        steps = NO_VALUE if each.max_steps is None else f"{each.max_steps} step" + "s" * (each.max_steps != 1)
        differ = NO_VALUE if each.differing is None else f"{each.differing:.3%}"
        names = printable(each.model), each.condition, each.reference, each.candidate
        table.add_row(*names, str(each.runs), differ, steps, f"{each.not_close:.3%}", f"{each.max_abs_error:.6g}")
    return table


def _ranges(summary: Summary) -> Table:
    table = _table("model", "calibration", "layer", "", "qat-tflite", "copied-ptq", "runs", "equal in", left=4)
    for each in summary.ranges:
        ends = (f"{low:.4f} … {high:.4f}" for low, high in (each.own, each.copied))
        where = printable(each.model), each.calibration, printable(each.layer), each.role
        table.add_row(*where, *ends, str(each.runs), str(each.equal))
    return table


def _engine(engine: Engine) -> tuple[str, str, str]:
    return printable(engine.model), engine.condition, printable(engine.engine)


def _interval(interval: Interval, form: Any) -> str:
    return f"{form(interval.low)} … {form(interval.high)}"


def _share(value: float) -> str:
    return f"{value:.2%}"


def _points(value: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{100 * value:+.3f}"


def _footer(summary: Summary) -> Iterator[str]:
    yield ""
    yield "differences in percentage points; intervals: bootstrap of the mean, 10,000 resamples"
    yield f"{summary.trials:,} trials, data {', '.join(map(printable, summary.data))}"
    for versions in summary.versions:
        yield ", ".join(f"{name} {version}" for name, version in versions.items())
    for failed in summary.failed:
        what = " ".join(part for part in (*_engine(failed.engine), f"seed {failed.seed}") if part)
        yield f"failed: {what}: {printable(failed.error)}"
