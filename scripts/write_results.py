"""Write the tables and plots of a page in ``docs/results/`` from the store of its study.

    uv run --group docs python scripts/write_results.py STUDY.db docs/results/mnist.md

Tables stand between ``<!-- NAME -->`` and ``<!-- end -->``; the words around them stay. Plots go beside the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from quantdiff import api
from quantdiff.experiment.summary import Difference, Gap, Rates, Summary

RUNTIME = "tflite:xnnpack"  # shown; the other is in the text
KERAS = ("float", "qat", "qat-bias")
RANGES_OF = ("dense4", "CNN")
BLOCK = re.compile(r"<!-- (\w+) -->\n.*?<!-- end -->", re.S)


def main() -> None:
    """Fill in the page."""
    store, page = Path(sys.argv[1]), Path(sys.argv[2])
    summary = api.report_study(store)
    tables: dict[str, Callable[[Summary], Iterable[str]]] = {
        "rates": rates_table,
        "differences": differences_table,
        "gaps": gaps_table,
        "ranges": ranges_table,
        "runtimes": runtimes_table,
        "made": made,
    }

    def fresh(block: re.Match[str]) -> str:
        return "\n".join([f"<!-- {block[1]} -->", *tables[block[1]](summary), "<!-- end -->"])

    page.write_text(BLOCK.sub(fresh, page.read_text()))
    mpl.rcParams["svg.hashsalt"] = "quantdiff"  # the same file every time
    mpl.rcParams["svg.fonttype"] = "none"  # text as text
    draw_boxes(summary, page.with_name(page.stem + "-boxes.svg"))
    draw_depth(summary, page.with_name(page.stem + "-depth.svg"))


def shown(summary: Summary) -> list[Rates]:
    """Rates in Keras and on one runtime."""
    return [each for each in summary.rates if each.engine.engine in (*KERAS, RUNTIME)]


def models_of(summary: Summary) -> list[str]:
    """Models in the summary's order."""
    return list(dict.fromkeys(each.engine.model for each in summary.rates))


def grid(rows: Iterable[tuple[str, dict[str, str]]], models: list[str], head: str) -> Iterator[str]:
    """A Markdown table with a column for every model."""
    yield f"| {head} | {' | '.join(models)} |"
    yield f"|---|{'---:|' * len(models)}"
    for name, cells in rows:
        yield f"| {name} | {' | '.join(cells.get(model, '–') for model in models)} |"


def rates_table(summary: Summary) -> Iterator[str]:
    """Means and intervals in per cent."""

    def cell(each: Rates) -> str:
        i = each.interval
        return f"{100 * i.mean:.2f} ({100 * i.low:.2f} … {100 * i.high:.2f})"

    rates = shown(summary)
    conditions = dict.fromkeys(each.engine.condition for each in rates)
    rows = [(f"`{c}`", {r.engine.model: cell(r) for r in rates if r.engine.condition == c}) for c in conditions]
    return grid(rows, models_of(summary), "condition")


def differences_table(summary: Summary) -> Iterator[str]:
    """Mean, interval, seeds worse and better, p."""

    def cell(each: Difference) -> str:
        i = each.interval
        ends = f"({100 * i.low:+.3f} … {100 * i.high:+.3f})"
        return f"{100 * i.mean:+.3f} {ends}<br>{each.worse} : {each.better}, p = {each.p_value:.2g}"

    chosen = [each for each in summary.differences if each.engine.engine in (*KERAS, RUNTIME)]
    pairs = dict.fromkeys((each.engine.condition, each.against.condition) for each in chosen)
    rows = [
        (
            f"`{a}` − `{b}`",
            {d.engine.model: cell(d) for d in chosen if (d.engine.condition, d.against.condition) == (a, b)},
        )
        for a, b in pairs
    ]
    return grid(rows, models_of(summary), "condition − reference")


def gaps_table(summary: Summary) -> Iterator[str]:
    """Share of outputs that are not the same integer, and the largest difference."""

    def cell(each: Gap) -> str:
        return "–" if each.differing is None else f"{100 * each.differing:.3g} %, {each.max_steps}"

    chosen = [each for each in summary.gaps if each.candidate in (*KERAS, RUNTIME)]
    pairs = dict.fromkeys((each.condition, each.reference) for each in chosen)
    rows = []
    for condition, reference in pairs:
        same = [g for g in chosen if (g.condition, g.reference) == (condition, reference)]
        name = (
            f"`{condition}`, the file against `qat-bias`"
            if reference == "qat-bias"
            else f"`{condition}` against `{reference}`"
        )
        rows.append((name, {g.model: cell(g) for g in same}))
    return grid(rows, models_of(summary), "candidate and reference")


def ranges_table(summary: Summary) -> Iterator[str]:
    """Both files' ranges, quantizer by quantizer."""
    yield "| model | layer | | `qat-tflite` | `copied-ptq (train)` | `copied-ptq (test)` | equal in |"
    yield "|---|---|---|---:|---:|---:|---:|"
    chosen = [each for each in summary.ranges if each.model in RANGES_OF]
    for train in (each for each in chosen if each.calibration == "train"):
        place = train.model, train.layer, train.role
        test = next(e for e in chosen if e.calibration == "test" and (e.model, e.layer, e.role) == place)
        ends = (f"{low:.3f} … {high:.3f}" for low, high in (train.own, train.copied, test.copied))
        yield f"| {' | '.join((*place, *ends))} | {train.equal + test.equal} of {train.runs + test.runs} |"


def runtimes_table(summary: Summary) -> Iterator[str]:
    """How far the runtimes' error rates lie apart, seed by seed."""
    by_place: dict[tuple[str, str], dict[str, Rates]] = {}
    for each in summary.rates:
        if each.engine.engine not in KERAS:
            by_place.setdefault((each.engine.model, each.engine.condition), {})[each.engine.engine] = each
    pairs = [list(engines.values()) for engines in by_place.values() if len(engines) > 1]
    differences = [a - b for first, second, *_ in pairs for a, b in zip(first.rates, second.rates, strict=True)]
    other = sum(d != 0 for d in differences)
    largest = 100 * max(map(abs, differences), default=0.0)
    yield (
        f"Between `xnnpack` and `reference` the error rate differs in {other:,} of {len(differences):,} pairs of runs, "
        f"by {largest:.2f} percentage points at most."
    )


def made(summary: Summary) -> Iterator[str]:
    """How many trials, and with which versions."""
    versions = "; ".join(", ".join(f"{name} {v}" for name, v in each.items()) for each in summary.versions)
    yield f"{summary.trials:,} trials, {len(summary.failed)} failed; data {', '.join(summary.data)}. {versions}."


def draw_boxes(summary: Summary, path: Path) -> None:
    """A box plot per model, side by side."""
    rates = shown(summary)
    models = models_of(summary)
    figure, axes = plt.subplots(1, len(models), figsize=(2.6 * len(models) + 1.4, 3.6), sharey=True)
    for axis, model in zip(axes, models, strict=True):
        mine = [each for each in rates if each.engine.model == model][::-1]
        values = [[100 * rate for rate in each.rates] for each in mine]
        axis.boxplot(values, orientation="horizontal", whis=(0, 100), manage_ticks=False)
        axis.set_title(model)
        axis.set_xlabel("error rate, %")
        axis.grid(axis="x", alpha=0.3)
        axes[0].set_yticks(range(1, len(mine) + 1), [each.engine.condition for each in mine])
    save(figure, path)


def draw_depth(summary: Summary, path: Path) -> None:
    """Mean error rate over the number of dense layers, with intervals."""
    dense = [each for each in shown(summary) if each.depth is not None]
    figure, axis = plt.subplots(figsize=(7, 4))
    conditions = list(dict.fromkeys(each.engine.condition for each in dense))
    for place, condition in enumerate(conditions):
        line = [each for each in dense if each.engine.condition == condition]
        shift = 0.03 * (place - len(conditions) / 2)  # so that bars do not hide each other
        mean = [100 * each.interval.mean for each in line]
        below = [100 * (each.interval.mean - each.interval.low) for each in line]
        above = [100 * (each.interval.high - each.interval.mean) for each in line]
        x = [(each.depth or 0) + shift for each in line]
        axis.errorbar(x, mean, yerr=[below, above], marker="o", markersize=3, linewidth=1, label=condition)
    axis.set_xticks(sorted({each.depth for each in dense if each.depth}))
    axis.set_xlabel("dense layers")
    axis.set_ylabel("error rate, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """As SVG, without the date."""
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
