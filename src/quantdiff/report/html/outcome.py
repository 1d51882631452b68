"""What two engines differ by at the outputs: figures, errors in steps, decisions that moved, the worst samples."""

from __future__ import annotations

import math
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource, DataRange1d, NumeralTickFormatter, Range1d

from quantdiff.compare.comparison import Comparison, Figures, Output
from quantdiff.compare.evidence import Confusion, Evidence, Picture, Sample
from quantdiff.compare.layers.figures import YARDSTICK, StepHistogram
from quantdiff.report.html.plots import Plot, item, line, new_plot, quads, tip
from quantdiff.report.html.rendering import Cell, Section, Table, render
from quantdiff.report.text.outcome import channel_rows, in_steps, in_units, losses_text
from quantdiff.report.text.terminal import NO_VALUE


def comparisons_section(comparisons: Sequence[Comparison], accuracy: Mapping[str, float]) -> Section:
    """A column a comparison, a row a figure; of several outputs each has a column too."""
    columns = [(f"{c.reference} → {c.candidate}", c.figures, _own(c)) for c in comparisons]
    columns += [
        (f"{c.reference} → {c.candidate}, output {output.candidate}", output.figures, {})
        for c in comparisons
        for output in c.outputs
        if len(c.outputs) > 1
    ]
    named = [{**dict(_rows(figures)), **own} for _, figures, own in columns]
    rows = tuple(
        (Cell(name), *(Cell(each.get(name, NO_VALUE)) for each in named)) for name in (named[0] if named else ())
    )
    table = Table(
        "figures-table", "Figures of every comparison", ("", *(name for name, *_ in columns)), rows, sorts=False
    )
    tolerance = comparisons[0].tolerance if comparisons else None
    lost = [(f"{c.reference} → {c.candidate}", line) for c in comparisons for line in losses_text(c)]
    channels = [
        channels_table(c, output, f"channels-{i}-{j}")
        for i, c in enumerate(comparisons)
        for j, output in enumerate(c.outputs)
        if output.channels and output.losses
    ]
    values = {"table": table, "accuracy": accuracy, "tolerance": tolerance, "lost": lost, "channels": channels}
    html = render("comparisons.html", **values)
    return Section("figures", "Figures", html)


def channels_table(comparison: Comparison, output: Output, anchor: str) -> Table:
    """A row a channel of an output, the lowest SQNR first."""
    names, rows = channel_rows(output)
    cells = tuple(tuple(Cell(text, float(order)) for text, order in row) for row in rows)
    axis = f"along axis {output.losses.axis}" if output.losses else ""
    title = f"{comparison.reference} → {comparison.candidate}: channels of {output.candidate}, {axis}"
    return Table(anchor, title, names, cells)


def _own(comparison: Comparison) -> dict[str, str]:
    """The user's own numbers: both sides and their difference."""
    return {own.name: f"{own.reference:.6g} → {own.candidate:.6g} ({own.difference:+.4g})" for own in comparison.own}


def _rows(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "within the tolerance", "yes" if figures.passed else "no"
    yield from in_steps(figures)
    yield from in_units(figures)


HEIGHT, FLOOR = 300, 0.5  # pixels; a logarithm has no 0: a bar begins at half an output


def histogram_section(evidence: Sequence[Evidence]) -> Section | None:
    """How large the errors are; None where no output lies on a grid."""
    found = [(each, each.histogram) for each in evidence if each.histogram is not None]
    if not found:
        return None
    entries = [
        {
            "evidence": each,
            "histogram": histogram,
            "target": f"histogram-{i}",
            "table": histogram_table(histogram, f"bars-{i}"),
        }
        for i, (each, histogram) in enumerate(found)
    ]
    html = render("histogram.html", entries=entries, yardstick=YARDSTICK)
    plots = tuple(item(histogram_plot(each), f"histogram-{i}") for i, (_, each) in enumerate(found))
    return Section("errors", "How large: errors in steps", html, plots)


def histogram_table(histogram: StepHistogram, anchor: str) -> Table:
    """The same figures for who cannot see or point."""
    rows = tuple((Cell(f"{c:.4g}"), Cell(f"{n:,}", n)) for c, n in _bars(histogram))
    return Table(anchor, "Errors by size", ("middle of the bar, steps", "outputs"), rows, sorts=False)


def _bars(histogram: StepHistogram) -> list[tuple[float, int]]:
    """Where there is something: the middle of each bin and its count."""
    return [(centre, count) for centre, count in zip(histogram.centres, histogram.counts, strict=True) if count]


def histogram_plot(histogram: StepHistogram) -> Plot:
    """A bar a bin on a logarithmic axis, with lines at ±1/√12 and at the measured root mean square."""
    bars = _bars(histogram)
    half = histogram.width / 2
    columns = {
        "centre": [centre for centre, _ in bars],
        "left": [centre - half for centre, _ in bars],
        "right": [centre + half for centre, _ in bars],
        "count": [count for _, count in bars],
        "text": [f"{count:,}" for _, count in bars],
    }
    reach = max(1.0, *(abs(centre) for centre, _ in bars)) + histogram.width
    plot = new_plot(
        HEIGHT,
        y_axis_type="log",
        x_range=Range1d(start=-reach, end=reach),
        y_range=DataRange1d(start=FLOOR),
        x_axis_label="candidate − reference, in steps",
        y_axis_label="outputs",
    )
    drawn = quads(plot, ColumnDataSource(columns), "accent", ("left", "right", "count", FLOOR))
    plot.add_tools(tip(("steps", "@centre{0.[0000]}"), ("outputs", "@text"), renderers=[drawn]))
    for place, dash, colour in ((YARDSTICK, "dashed", "text"), (histogram.rmse, "solid", "second")):
        for end in (-place, place):
            line(plot, end, "height", colour, dash)
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.yaxis.ticker = [10**power for power in range(len(str(max(count for _, count in bars))))]
    plot.xgrid.visible = False
    return plot


SHADES = 5


def confusion_section(evidence: Sequence[Evidence]) -> Section | None:
    """Decisions of the reference against those of the candidate; None where no output decides."""
    entries = [
        {"evidence": each, "confusion": each.confusion, "rows": list(_decision_rows(each.confusion))}
        for each in evidence
        if each.confusion is not None
    ]
    return (
        Section("decisions", "Which decisions changed", render("confusion.html", entries=entries)) if entries else None
    )


def _decision_rows(confusion: Confusion) -> Any:
    """Name and cells of each row; a cell is its count, and how dark: on the diagonal nothing has changed."""
    most = max((n for i, row in enumerate(confusion.counts) for j, n in enumerate(row) if i != j), default=0)
    for i, (name, row) in enumerate(zip(confusion.names, confusion.counts, strict=True)):
        yield name, [(count, "same" if i == j else f"shade-{_shade(count, most)}") for j, count in enumerate(row)]


def _shade(count: int, most: int) -> int:
    """0 for none, ``SHADES`` for the most, by the logarithm."""
    return math.ceil(SHADES * math.log(1 + count) / math.log(1 + most)) if count else 0


def samples_section(evidence: Sequence[Evidence]) -> Section | None:
    """The worst samples of each output; None where nothing differs."""
    entries = [{"evidence": each, "samples": list(map(_shown, each.worst))} for each in evidence if each.worst]
    return Section("samples", "The worst samples", render("samples.html", entries=entries)) if entries else None


def _shown(sample: Sample) -> dict[str, object]:
    return shown(sample, f"sample {sample.number}")


def shown(sample: Sample, title: str, lines: Sequence[str] = ()) -> dict[str, object]:
    """A picture, if there is one, and what stands below it."""
    uri = None if sample.picture is None else data_uri(sample.picture)
    return {"sample": sample, "uri": uri, "title": title, "lines": lines}


SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 3: 2}  # channels → greyscale, truecolour


def data_uri(picture: Picture) -> str:
    """``data:image/png;base64,…``."""
    return "data:image/png;base64," + b64encode(png(picture)).decode()


def png(picture: Picture) -> bytes:
    """The file: a header, all rows without a filter, the end."""
    row = picture.width * picture.channels
    rows = (picture.pixels[i : i + row] for i in range(0, len(picture.pixels), row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, COLOUR_TYPES[picture.channels], 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + each for each in rows), 9)
    return SIGNATURE + b"".join(_chunk(*each) for each in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
