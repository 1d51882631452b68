"""Results that were kept, as pages: a summary of a sweep, and what moved between two results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d, FactorRange, NumeralTickFormatter
from bokeh.models.annotations.arrows import TeeHead
from bokeh.models.annotations.geometry import Whisker
from bokeh.palettes import Category10_10

from quantdiff.compare.moved import Figure, Moved, Movement
from quantdiff.compare.outcome import Failure
from quantdiff.experiment.summary import Engine, Interval, Rates, Summary
from quantdiff.report.html.document import Lead, Number, Page, Provenance, assemble, provenance_section
from quantdiff.report.html.plots import Plot, item, new_plot, tip
from quantdiff.report.html.rendering import Cell, Section, Table, render
from quantdiff.report.text.study import change, sentence, shown
from quantdiff.report.text.terminal import printable

NO_VALUE = Cell("–", float("-inf"))


def study_page(summary: Summary, command: str = "") -> Page:
    """The page of a study."""
    versions = dict(summary.versions[-1]) if summary.versions else {}
    made_by = {"trials": summary.trials, "data": ", ".join(summary.data), "versions": versions}
    failures = tuple(Failure(_words(each.engine, f"seed {each.seed}"), each.error) for each in summary.failed)
    provenance = Provenance(made_by, failures=failures, command=command)
    depths = {each.depth for each in summary.rates if each.depth is not None}
    sections = (
        rates_section(summary.rates),
        depth_section(summary.rates) if len(depths) > 1 else None,
        _section(
            "pairs", "Paired differences, seed by seed", "Error rate minus that of the other.", _differences(summary)
        ),
        _section(
            "gaps", "Outputs that differ", "Means of shares over all seeds, the largest of steps.", _gaps(summary)
        ),
        _section(
            "metrics", "The metric of your own", "Means over all seeds; candidate minus reference.", _metrics(summary)
        ),
        _section(
            "ranges", "Ranges in the files", "Of qat-tflite and copied-ptq, means over the seeds.", _ranges(summary)
        ),
        provenance_section(provenance),
    )
    return assemble(_lead(summary), [each for each in sections if each is not None], provenance)


def _lead(summary: Summary) -> Lead:
    engines = {(each.engine.condition, each.engine.engine) for each in summary.rates}
    models = {each.engine.model for each in summary.rates}
    numbers = (
        Number(f"{summary.trials:,}", "trials", ", ".join(summary.data)),
        Number(f"{len(engines):,}", "ways to quantize and run", f"of {len(models):,} model{'s' * (len(models) != 1)}"),
        Number(f"{len(summary.failed):,}", "failed", state="bad" if summary.failed else "good"),
    )
    best = min(summary.rates, key=lambda each: each.interval.mean, default=None)
    sentence = "No trial gave a result." if best is None else (
        f"Lowest mean error rate: {best.interval.mean:.2%}, {_words(best.engine)}, over {len(best.rates):,} runs."
    )  # fmt: skip
    return Lead("Study", sentence, numbers)


def rates_section(rates: Sequence[Rates]) -> Section | None:
    """A box plot per model, and the table of all; None without rates."""
    models = list(dict.fromkeys(each.engine.model for each in rates))
    entries = [{"title": model, "target": f"boxes-{i}"} for i, model in enumerate(models)]
    plots = tuple(
        item(box_plot([each for each in rates if each.engine.model == model]), f"boxes-{i}")
        for i, model in enumerate(models)
    )
    columns = ("model", "condition", "engine", "runs", "mean", "95 % interval", "min", "median", "max")
    rows = tuple(
        (
            *_engine(each.engine),
            _count(len(each.rates)),
            _share(each.interval.mean),
            _between(each.interval, "{:.2%}"),
            *map(_share, (each.box.low, each.box.median, each.box.high)),
        )
        for each in rates
    )
    table = Table("rates", "Error rate on the test set, all seeds", columns, rows)
    about = "Box: quartiles and median; whiskers: the extremes; dots: the runs."
    html = render("study.html", entries=entries, table=table, about=about)
    return Section("rates", "Error rates", html, plots) if rates else None


def depth_section(rates: Sequence[Rates]) -> Section:
    """Error against depth."""
    entries = [{"title": "", "target": "depth-plot"}]
    plot = depth_plot([each for each in rates if each.depth is not None])
    about = "Mean and 95 % interval. The legend hides and shows a line; the table above has the same figures."
    html = render("study.html", entries=entries, table=None, about=about)
    return Section("depth", "Error against depth", html, (item(plot, "depth-plot"),))


def _section(anchor: str, title: str, about: str, table: Table) -> Section | None:
    return Section(anchor, title, render("study.html", entries=[], table=table, about=about)) if table.rows else None


def _differences(summary: Summary) -> Table:
    columns = (
        "model",
        "condition",
        "engine",
        "minus",
        "runs",
        "mean",
        "95 % interval",
        "worse",
        "better",
        "sign test p",
    )
    rows = (
        (
            *_engine(each.engine),
            Cell(each.against.condition),
            _count(each.pairs),
            Cell(f"{100 * each.interval.mean:+.3f}", each.interval.mean),
            Cell(f"{100 * each.interval.low:+.3f} … {100 * each.interval.high:+.3f}"),
            *map(_count, (each.worse, each.better)),
            Cell(f"{each.p_value:.3g}", each.p_value),
        )
        for each in summary.differences
    )
    return Table("differences", "In percentage points; intervals: bootstrap of the mean", columns, tuple(rows))


def _gaps(summary: Summary) -> Table:
    columns = (
        "model",
        "condition",
        "reference",
        "candidate",
        "runs",
        "differ",
        "largest, steps",
        "not close",
        "max error",
    )
    rows = (
        (
            *map(Cell, (each.model, each.condition, each.reference, each.candidate)),
            _count(each.runs),
            NO_VALUE if each.differing is None else Cell(f"{each.differing:.3%}", each.differing),
            NO_VALUE if each.max_steps is None else _count(each.max_steps),
            Cell(f"{each.not_close:.3%}", each.not_close),
            Cell(f"{each.max_abs_error:.6g}", each.max_abs_error),
        )
        for each in summary.gaps
    )
    return Table("gaps", "Outputs of both engines on the test set", columns, tuple(rows))


def _metrics(summary: Summary) -> Table:
    whose = "model", "condition", "reference", "candidate", "metric"
    rows = tuple(
        (
            *map(Cell, (each.model, each.condition, each.reference, each.candidate, each.metric)),
            _count(each.runs),
            *(Cell(f"{mean:.6g}", mean) for mean in (*each.means, each.interval.mean)),
            _between(each.interval, "{:+.4g}"),
        )
        for each in summary.metrics
    )
    columns = (*whose, "runs", "of the reference", "of the candidate", "difference", "95 % interval")
    return Table("metric-means", "Differences: bootstrap of the mean", columns, rows)


def _ranges(summary: Summary) -> Table:
    columns = ("model", "calibration", "layer", "role", "qat-tflite", "copied-ptq", "runs", "equal in")
    rows = (
        (
            *map(Cell, (each.model, each.calibration, each.layer, each.role)),
            *(Cell(f"{low:.4f} … {high:.4f}") for low, high in (each.own, each.copied)),
            _count(each.runs),
            _count(each.equal),
        )
        for each in summary.ranges
    )
    return Table("ranges", "Min and max of each quantizer", columns, tuple(rows))


def _engine(engine: Engine) -> Iterator[Cell]:
    return map(Cell, (engine.model, engine.condition, engine.engine))


def _words(engine: Engine, *more: str) -> str:
    return " ".join(dict.fromkeys(part for part in (engine.model, engine.condition, engine.engine, *more) if part))


def _count(value: int) -> Cell:
    return Cell(f"{value:,}", value)


def _share(value: float) -> Cell:
    return Cell(f"{value:.2%}", value)


def _between(interval: Interval, form: str) -> Cell:
    return Cell(f"{form.format(interval.low)} … {form.format(interval.high)}")


def movement_page(found: Movement) -> Page:
    """One table, which sorts and filters."""
    title = f"{found.before} → {found.after}"
    columns = "figure", "of", "whose", "before", "after", "change"
    table = Table("moved-table", title, columns, tuple(map(_row, found.moved)))
    numbers = Number(f"{len(found.moved):,}", "figures moved"), Number(f"{found.same:,}", "are the same")
    about = tuple(f"{package} {before} → {after}" for package, before, after in found.versions)
    sections = [Section("moved", "What moved", render("moved.html", table=table))] if found.moved else []
    return assemble(Lead(title, sentence(found), numbers, about), sections)


def _row(each: Moved) -> tuple[Cell, ...]:
    values = each.before, each.after
    words = any(isinstance(value, str) for value in values)
    sides = (Cell(shown(value), None if words else _order(value)) for value in values)
    size = Cell(change(each.change), -1.0 if each.change is None else abs(each.change))
    return Cell(each.figure), Cell(each.section), Cell(each.whose), *sides, size


def _order(value: Figure | None) -> float:
    """Where the row stands; what is missing comes last."""
    return -math.inf if value is None or isinstance(value, str) else float(value)


ROW, AROUND, DEPTH_HEIGHT, THICK = 26, 70, 420, 0.6  # pixels, and the share of a row that a box takes
RATE = "error rate on the test set"


def box_plot(rates: Sequence[Rates]) -> Plot:
    """A box for each condition: whiskers to the extremes, the runs themselves as dots."""
    names = [name_of(each) for each in rates]
    plot = new_plot(
        AROUND + ROW * len(names),
        y_range=FactorRange(factors=names[::-1]),
        x_range=DataRange1d(),
        x_axis_label=RATE,
    )
    boxes = {name: [getattr(each.box, name) for each in rates] for name in ("low", "lower", "median", "upper", "high")}
    texts = {f"{name}_text": [f"{value:.2%}" for value in values] for name, values in boxes.items()}
    source = ColumnDataSource({"name": names, **boxes, **texts})
    dark = ["line_color:text"]
    low, high = TeeHead(size=8, tags=dark), TeeHead(size=8, tags=dark)
    whisker = Whisker(base="name", lower="low", upper="high", dimension="width", source=source, tags=dark)
    whisker.lower_head, whisker.upper_head = low, high
    plot.add_layout(whisker)
    drawn = []
    for left, right in (("lower", "median"), ("median", "upper")):
        drawn.append(plot.hbar("name", THICK, right, left, source=source))
        drawn[-1].glyph.tags = ["fill_color:same", "line_color:accent"]
    values = [value for each in rates for value in each.rates]
    where = [name for name, each in zip(names, rates, strict=True) for _ in each.rates]
    dots = plot.scatter(values, where, size=4, line_color=None)
    dots.glyph.tags = ["fill_color:accent"]
    fields = {"": "@name", "lowest": "@low_text", "median": "@median_text", "highest": "@high_text"}
    plot.add_tools(tip(*fields.items(), renderers=drawn))
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[00]%")
    plot.ygrid.visible = False
    return plot


def depth_plot(rates: Sequence[Rates]) -> Plot:
    """Mean error rates over the number of dense layers, a line for each condition, whiskers for the intervals."""
    plot = new_plot(DEPTH_HEIGHT, x_axis_label="dense layers", y_axis_label=RATE)
    drawn = []
    for colour, (name, line) in zip(Category10_10 * 9, _lines(rates), strict=False):
        columns = {
            "depth": [each.depth for each in line],
            "mean": [each.interval.mean for each in line],
            "low": [each.interval.low for each in line],
            "high": [each.interval.high for each in line],
            "text": [f"{each.interval.mean:.2%}" for each in line],
            "name": [name for _ in line],
        }
        source = ColumnDataSource(columns)
        plot.line("depth", "mean", source=source, color=colour, legend_label=name, line_width=2)
        drawn.append(plot.scatter("depth", "mean", source=source, color=colour, legend_label=name, size=7))
        plot.add_layout(Whisker(base="depth", lower="low", upper="high", source=source, line_color=colour))
    plot.add_tools(tip(("", "@name"), ("dense layers", "@depth"), ("mean", "@text"), renderers=drawn))
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[00]%")
    plot.xaxis.ticker = sorted({each.depth for each in rates if each.depth})
    plot.add_layout(plot.legend[0], "below")
    plot.legend.click_policy = "hide"
    plot.legend.ncols, plot.legend.location = 2, "bottom_left"
    return plot


def name_of(rates: Rates) -> str:
    """``ptq (train), xnnpack``; what runs in Keras is named by its condition alone."""
    runtime = rates.engine.engine.partition(":")[2]
    return printable(f"{rates.engine.condition}, {runtime}" if runtime else rates.engine.condition)


def _lines(rates: Sequence[Rates]) -> Iterator[tuple[str, list[Rates]]]:
    for name in dict.fromkeys(map(name_of, rates)):
        yield name, [each for each in rates if name_of(each) == name]
