"""Commands on a file by itself: inspect what it holds, lint it, extract a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantdiff.cli.command import RuntimeName, command, given_data, output_file, whole
from quantdiff.cli.options import data_option, formats, reference_options, timeout_option
from quantdiff.cli.telling import FOR_CI, say, show_for_ci
from quantdiff.files import is_tflite

if TYPE_CHECKING:
    from quantdiff.linting.lint import LintReport
    from quantdiff.load.containers import Section


@command("quantdiff inspect model.tflite --tensor 'conv2d*'")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--tensor", "pattern", metavar="PATTERN", help="Part of a name, a shell pattern, or an index.")
def inspect(as_json: bool, model: Path, pattern: str | None) -> int:
    """Show what a .tflite file holds: tensors, quantization, operators.

    Quantization reads as Netron shows it; names stand whole. Of a .litertlm its sections; MODEL.litertlm#NAME is one.
    """
    from quantdiff.load.tflite import container_sections, load_tflite
    from quantdiff.parameters.inspection import inspect_model

    if sections := container_sections(model):
        return _show_sections(model, sections, as_json)
    inspection = inspect_model(load_tflite(model), pattern)
    if as_json:
        from quantdiff.report.json.files import inspection_json
        from quantdiff.report.json.text import json_text

        click.echo(json_text(inspection_json(inspection)))
    else:
        from quantdiff.report.text.files import inspection_text
        from quantdiff.report.text.terminal import Terminal, laid_out

        click.echo(laid_out(inspection_text(inspection), Terminal().width))
    return 0


def _show_sections(container: Path, sections: tuple[Section, ...], as_json: bool) -> int:
    if as_json:
        from quantdiff.report.json.files import sections_json
        from quantdiff.report.json.text import json_text

        click.echo(json_text(sections_json(container, sections)))
    else:
        from quantdiff.report.text.files import print_sections
        from quantdiff.report.text.terminal import Terminal

        print_sections(container, sections, Terminal())
    return 0


def with_reference(
    _: click.Context, __: click.Parameter, paths: tuple[Path, ...]
) -> tuple[Path | None, tuple[Path, ...]]:
    """``[REFERENCE] MODEL.tflite`` or several models: a reference or None, and the models."""
    if all(is_tflite(path) for path in paths) or len(paths) == 1:
        return None, paths
    if len(paths) > 2 or is_tflite(paths[0]):  # noqa: PLR2004 (reference and model)
        raise click.BadParameter("give .tflite files, or the Keras model that was trained and one .tflite file")
    return paths[0], paths[1:]


@command("quantdiff lint qat.h5 model.tflite --format github")
@click.argument(
    "models", nargs=-1, required=True, metavar="[REFERENCE] MODEL.tflite…", callback=with_reference,
    type=click.Path(path_type=Path),
)  # fmt: skip
@reference_options
@timeout_option
@formats
def lint(form: str, models: tuple[Path | None, tuple[Path, ...]], **options: Any) -> int:
    """Look for known trouble in .tflite files, without data.

    The status is 0 where there is none, 1 for warnings or errors, 2 where there was trouble.
    """
    from quantdiff.linting.lint import lint_model
    from quantdiff.load.tflite import load_tflite
    from quantdiff.references.formats import Options, open_references

    path, files = models
    loaded = [load_tflite(file) for file in files]
    reference = open_references(path, Options(**options))[0] if path else None
    reports = [lint_model(model, reference) for model in loaded]
    _show_findings(reports, form)
    return 0 if all(report.is_clean for report in reports) else 1


def _show_findings(reports: list[LintReport], form: str) -> None:
    if form in FOR_CI:
        from quantdiff.report.ci.case import lint_checked

        show_for_ci(lint_checked(reports), form)
    elif form == "json":
        from quantdiff.report.json.files import lint_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(lint_document(reports)))
    else:
        from quantdiff.report.text.files import print_lint
        from quantdiff.report.text.terminal import Terminal

        for report in reports:
            print_lint(report, Terminal())


def numbers(_: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """``3-7,9`` as integers."""
    found = list[int]()
    for part in text.split(","):
        first, _dash, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or len(first + last) > 12:  # noqa: PLR2004
            raise click.BadParameter(f"{text!r}: give numbers of operators, such as 3-7 or 3,5,9", param=option)
        found += range(int(first), min(int(last or first), int(first) + 10**6) + 1)
    return tuple(dict.fromkeys(found))


@command("quantdiff extract model.tflite --ops 3-7 --data data.npz --out part.tflite --inputs part.npz")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--ops", required=True, callback=numbers, metavar="3-7", help="Numbers of operators, as inspect lists them."
)
@data_option(required=False)
@click.option(
    "--out",
    required=True,
    callback=output_file,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The .tflite to write.",
)
@click.option("--inputs", callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="Also write what goes in there, as .npz.")  # fmt: skip
@click.option("--samples", type=whole(1), default=64, show_default=True, help="The first of the data.")
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@timeout_option
def extract(as_json: bool, model: Path, ops: tuple[int, ...], out: Path, inputs: Path | None, **options: Any) -> int:
    """Cut operators out of a model into a .tflite of its own.

    With --inputs also what it is given in the whole. The status is 1 where it gives else than there.
    """
    from quantdiff.report.folder import save_batch, written
    from quantdiff.report.json.searched import extract_document
    from quantdiff.report.json.text import json_text
    from quantdiff.report.text.searched import extract_text
    from quantdiff.run.extracts import load_and_extract

    data = given_data(options, model)
    part = load_and_extract(model, ops, data, options["runtime"], options["samples"], options["timeout"])
    with written(out) as file:
        file.write_bytes(part.model)
    if inputs is not None:
        with written(inputs) as file:
            save_batch(file, part.batch)
    told = part, model, out, inputs
    if as_json:
        click.echo(json_text(extract_document(*told)))
    else:
        say(extract_text(*told))
    return int(bool(part.mismatches))
