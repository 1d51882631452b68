"""``Summary`` as a page: error rates, paired differences, outputs that differ, ranges side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantdiff.compare.outcome import Failure
from quantdiff.experiment.summary import Engine, Interval, Rates, Summary
from quantdiff.report.html.document import Page, assemble
from quantdiff.report.html.plots import box_plot, depth_plot, item
from quantdiff.report.html.provenance import Provenance, provenance_section
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Cell, Section, Table
from quantdiff.report.html.verdict import Lead, Number

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
