"""Commands that search: the worst inputs, the smallest part that shows a fault, changes that help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import (
    INTERRUPTED,
    Number,
    RuntimeName,
    command,
    given_data,
    given_parts,
    output_file,
    settings_of,
    spare_what_is_read,
    spread,
    typed,
)
from quantdiff.cli.options import (
    data_option,
    html_option,
    layout_option,
    metric_option,
    reference_options,
    runtime_option,
    spread_options,
    timeout_option,
    tolerance_option,
)
from quantdiff.cli.telling import complain, say
from quantdiff.run.runtimes import SILENCE_AT_MOST


class Seconds(click.ParamType[float]):
    """``30``, ``30s`` or ``2m``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, or a complaint."""
        if isinstance(value, float):
            return value
        number, unit = (value[:-1], value[-1]) if value[-1:] in ("s", "m") else (value, "s")
        try:
            seconds = float(number) * (60 if unit == "m" else 1)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= SILENCE_AT_MOST:
            self.fail(f"{value!r}: give a time such as 30s or 2m.", param, ctx)
        return seconds


@command("quantdiff worst float.tflite int8.tflite --data data.npz --out worst.npz")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(required=False)
@click.option("--out", required=True, callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="The inputs, as .npz.")  # fmt: skip
@click.option("--for", "limit", type=Seconds(), default="30s", show_default=True, help="How long to search.")
@click.option(
    "--near", metavar="EPS", type=Number(min=0, min_open=True), help="Stay so near to a sample, in units of the data."
)
@html_option
@reference_options
@layout_option
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@timeout_option
def worst(as_json: bool, reference: Path, candidate: Path, out: Path, html: Path | None, **options: Any) -> int:
    """Search for the input on which two models differ most.

    And for one that they decide otherwise. The search begins with the samples of --data and stays between their least
    and their most; without data it begins with random ones.
    """
    from quantdiff.api import worsts
    from quantdiff.report.folder import save_batch, written
    from quantdiff.report.json.searched import worst_document
    from quantdiff.report.json.text import json_text
    from quantdiff.report.text.searched import worst_text
    from quantdiff.report.text.terminal import progress_bar

    data, limit, near = given_data(options, candidate), options.pop("limit"), options.pop("near")
    settings = settings_of({**options, "runtimes": (options.pop("runtime"),)})
    with written(out) as file:
        with progress_bar() as progress:
            found = worsts.worst(reference, candidate, data, settings, progress, limit=limit, near=near)
        save_batch(file, found.batch)
    if html is not None:
        from quantdiff.report.html.searched import worst_page

        worst_page(found, out, typed()).save(html)
    if as_json:
        click.echo(json_text(worst_document(found, out)))
    else:
        say(worst_text(found, out))
    if found.interrupted:
        complain(f"interrupted; the worst so far is in {out}")
        return INTERRUPTED
    return 0


@command("quantdiff reduce float.tflite int8.tflite --data data.npz --check 'max_steps>1' --out small")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", required=False, type=click.Path(path_type=Path))
@data_option()
@click.option(
    "--check", required=True, metavar="EXPR", help="What shows: 'max_steps>1', or of one model: crash, differs."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for what is left.")
@click.option("--anonymous", is_flag=True, help="Other names and other weights, as far as the fault stays.")
@click.option(
    "--for", "limit", type=Seconds(), default="120s", show_default=True, help="Then the smallest so far is it.",
)  # fmt: skip
@html_option
@reference_options
@layout_option
@runtime_option
@tolerance_option
@timeout_option
def reduce(as_json: bool, reference: Path, candidate: Path | None, check: str, out: Path, **options: Any) -> int:
    """Find the smallest model and the fewest samples that show a fault.

    CANDIDATE is the .tflite made from REFERENCE, which becomes a float .tflite. One .tflite alone is held against
    itself on two runtimes, crashes, or differs from the simulator.
    """
    from quantdiff.api import reductions
    from quantdiff.report.folder import write_reduction
    from quantdiff.report.json.searched import reduction_document
    from quantdiff.report.json.text import json_text
    from quantdiff.report.text.searched import reduction_text
    from quantdiff.report.text.terminal import progress_bar
    from quantdiff.search.fault import INPUTS, MODEL, REFERENCE

    read = {"models": (reference, candidate), **options}
    spare_what_is_read({f"--out, {name}": out / name for name in (MODEL, REFERENCE, INPUTS)}, read)
    models = [path for path in (reference, candidate) if path is not None]
    data = given_data(options, models[-1])
    html: Path | None = options.pop("html")
    limit, bare = options.pop("limit"), options.pop("anonymous")
    settings = settings_of(options)
    with progress_bar() as progress:
        found = reductions.reduce(models, data, check, settings, progress, limit=limit, bare=bare)
    write_reduction(found, out)
    if html is not None:
        from quantdiff.report.html.searched import reduction_page

        reduction_page(found, out, typed()).save(html)
    if as_json:
        click.echo(json_text(reduction_document(found, out)))
    else:
        say(reduction_text(found, out))
    if found.search.ended == "interrupted":
        complain(f"interrupted; the smallest so far is in {out}")
        return INTERRUPTED
    return 0


file_type = click.Path(path_type=Path, dir_okay=False, writable=True)


@command("quantdiff advise float.tflite int8.tflite --data data.npz --until 'top1_agreement>=0.999'")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@data_option(parts=True)
@spread_options
@click.option("--until", multiple=True, metavar="EXPR", help="What must hold, such as 'top1_agreement>=0.999'.")
@metric_option
@click.option("--recipe", callback=output_file, type=file_type, help="Write the set as a recipe for litert-quantizer.")
@click.option("--denylist", callback=output_file, type=file_type, help="Or as TensorFlow's denylist.")
@click.option(
    "--out",
    callback=output_file,
    type=file_type,
    help="Write the file with mended biases and ranges; as FILE.h5 the trained model, as the file has it.",
)
@html_option
@reference_options
@layout_option
@runtime_option
@tolerance_option
@timeout_option
def advise(
    as_json: bool, reference: Path, candidate: Path, until: tuple[str, ...], html: Path | None, **options: Any
) -> int:
    """Rank what to keep finer by what it buys; find what is enough.

    The status is 0 where it is enough, or holds already; 1 where it cannot be, or no mended file is better.

    REFERENCE is the model that was trained, or a float .tflite; CANDIDATE the .tflite made from it.
    """
    from quantdiff.compare.conditions import parse

    conditions = tuple(parse(text, "--until", own=options["metric"] is not None) for text in until)
    files = {name: options.pop(name) for name in ("recipe", "denylist", "out")}
    if not conditions and (files["recipe"] or files["denylist"]):
        raise click.UsageError("--recipe and --denylist want --until: what is the set to be enough for?")
    from quantdiff.api import advice
    from quantdiff.report.text.terminal import progress_bar

    settings = settings_of(options)
    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, candidate, on)
        found = advice.advise(reference, candidate, data, advice.Wanted(conditions, **files), settings, progress)
    if html is not None:
        from quantdiff.report.html.searched import advice_page

        advice_page(found, typed()).save(html)
    _show_advice(found, as_json)
    return INTERRUPTED if not found.complete else 0 if _enough(found, files["out"]) else 1


def _enough(found: Any, out: Path | None) -> bool:
    """Whether what was asked holds, as it is or in a mended file that was worth writing."""
    if found.until and (not found.met or not found.chosen.choices):
        return bool(found.met)
    return out is None or "out" in found.files


def _show_advice(found: Any, as_json: bool) -> None:
    if as_json:
        from quantdiff.report.json.searched import advice_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(advice_document(found)))
        return
    from quantdiff.report.text.searched import print_advice
    from quantdiff.report.text.terminal import Terminal

    print_advice(found, Terminal())
