"""Commands on runtimes and their arithmetic: verify, runtimes, record, identify, work, vectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from quantdiff.cli.command import RuntimeName, command, given_data, given_parts, output_file, spread, whole
from quantdiff.cli.options import data_option, formats, runtime_option, spread_options, timeout_option
from quantdiff.cli.telling import FOR_CI, TROUBLE, complain, say, show_for_ci, tell_what_is_simulated


@command("quantdiff verify model.tflite --runtime all")
@click.argument("model", type=click.Path(path_type=Path))
@data_option(parts=True, required=False)
@spread_options
@click.option(
    "--samples",
    type=whole(1),
    help="Default: all of several files, else as many as fit into memory at once, 64 of random ones.",
)
@click.option("--seed", type=whole(0), default=0, show_default=True, help="Of the random input.")
@runtime_option
@timeout_option
@formats
def verify(form: str, model: Path, runtimes: tuple[str, ...], timeout: float, **options: Any) -> int:
    """Hold the simulator against real runtimes, operator by operator.

    The status is 0 where all is exact or within proven intervals, 1 where something differs or is missing, 2 where a
    runtime crashes or cannot run the model.
    """
    from quantdiff.api import engines, verifications
    from quantdiff.report.text.terminal import progress_bar
    from quantdiff.report.text.verification import print_verification, verification_document

    drawn = verifications.Drawn(options.pop("samples"), options.pop("seed"))
    settings = engines.Settings(runtimes or ("xnnpack",), timeout=timeout)
    with progress_bar() as progress, spread(options) as on:
        data = given_parts(options, model, on, always=drawn.samples is not None)
        found = verifications.verify(model, data, settings, drawn, progress)
    if form in FOR_CI:
        from quantdiff.report.ci.case import verify_checked

        show_for_ci(verify_checked(found.verdicts, found.made_by), form)
    elif form == "json":
        from quantdiff.report.json.text import json_text

        click.echo(json_text(verification_document(found)))
    else:
        from quantdiff.report.text.terminal import Terminal

        print_verification(found, Terminal())
    status = {verdict.status for verdict in found.verdicts.values()}
    failed = [verdict for verdict in found.verdicts.values() if verdict.status in ("crashed", "unavailable")]
    for verdict in failed:
        complain(verdict.why)
    return TROUBLE if failed else int(not status <= {"exact", "within"})


@command("quantdiff runtimes")
@click.option("--fetch", type=click.Choice(["arm64"]), help="Bring that architecture here, to be emulated.")
@click.option("--into", type=click.Path(path_type=Path), help="The folder for it; default in your cache.")
def runtimes(fetch: str | None, into: Path | None, as_json: bool) -> int:
    """Show what can run models here, and how to install what is missing.

    Of each its version, how it is reached, and how it is confined. --fetch makes a folder of 230 MB with Python and
    LiteRT for ARM64, from the package servers of this machine's apt and pip. No root rights are needed.
    """
    from quantdiff.references.survey import survey

    if fetch is not None:
        from quantdiff.run.emulation_root import make_root

        made = make_root(into, lambda what: click.echo(f"fetching: {what}", err=True))
        click.echo(f"ARM64 is in {made}", err=True)
    elif into is not None:
        raise click.UsageError("--into wants --fetch.")
    engines = survey()
    if as_json:
        from quantdiff.report.json.runtimes import runtimes_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(runtimes_document(engines)))
    else:
        from quantdiff.report.text.runtimes import print_engines
        from quantdiff.report.text.terminal import Terminal

        print_engines(engines, Terminal())
    return 0


@command("quantdiff record model.tflite --data data.npz --runtime tflm --out device.npz")
@click.argument("model", type=click.Path(path_type=Path))
@data_option()
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@click.option(
    "--out",
    required=True,
    callback=output_file,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The .npz to write.",
)
@click.option("--every-tensor", is_flag=True, help="Inner tensors too, not inputs and outputs alone.")
@timeout_option
def record(as_json: bool, model: Path, out: Path, runtime: str, timeout: float, **options: Any) -> int:
    """Record what a runtime gives, for another machine.

    There --runtime recorded:OUT takes it again.
    """
    from quantdiff.api import files
    from quantdiff.report.text.terminal import prepared_data

    tell_what_is_simulated(runtime)
    data = given_data(options, model)
    found = files.record(model, data, out, runtime, timeout, every_tensor=options["every_tensor"])
    if as_json:
        from quantdiff.report.json.text import json_text

        asked = {"command": "record", "out": str(out), "data": data.source}
        click.echo(json_text({"schema": "quantdiff/1", **asked, **asdict(found)}))
    else:
        of = prepared_data(data.source)
        where = f" on {found.machine}" if found.machine else ""
        say(f"{out}: {len(found.tensors)} tensors of {found.samples:,} samples{of}, {found.runtime}{where}")
    return 0


@command("quantdiff identify model.tflite --runtime tflm --out device.toml")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True, help="The device.")
@data_option(required=False)
@click.option("--samples", type=whole(1), help="Of the data; random ones: up to 1,024, fewer for a large model.")
@click.option("--seed", type=whole(0), default=0, show_default=True, help="Of the random input.")
@click.option("--probe", metavar="OUT.npz", callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="Search inputs that tell apart what is undecided, and write them.")  # fmt: skip
@click.option("--out", metavar="PROFILE.toml", callback=output_file, type=click.Path(path_type=Path, dir_okay=False),
              help="Write the rules as a profile, for --runtime profile:PROFILE.toml.")  # fmt: skip
@timeout_option
def identify(as_json: bool, model: Path, probe: Path | None, out: Path | None, **options: Any) -> int:
    """Name the rule by which a device rounds, for each kind of operator.

    It goes by the device's own inputs and outputs. Every rule that fits all elements is named; the others come with
    the elements that contradict them.
    """
    from quantdiff.identifying.probe import load_and_identify, load_and_probe
    from quantdiff.report.json.runtimes import save_probe, save_profile

    tell_what_is_simulated(options["runtime"])
    data = given_data(options, model)
    found = load_and_identify(model, data=data, **options)
    made = None if probe is None else load_and_probe(model, found, options["seed"])
    if out is not None:
        save_profile(found, out)
    if probe is not None and made is not None:
        save_probe(made, probe)
    if as_json:
        from quantdiff.report.json.runtimes import identification_document
        from quantdiff.report.json.text import json_text

        click.echo(json_text(identification_document(found, made)))
    else:
        from quantdiff.report.text.runtimes import print_identification
        from quantdiff.report.text.terminal import Terminal

        print_identification(found, Terminal(), made, out, probe)
    return 0


def indices(_: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """``0,4,4,7`` as integers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r}: give integers with commas between, such as 0,4,4,7", param=option
        ) from error


@command("quantdiff work model.tflite --data data.npz --op 3 --element 0,4,4,7")
@click.argument("model", type=click.Path(path_type=Path))
@data_option()
@click.option("--op", required=True, type=int, help="Index of the operator, as inspect lists it.")
@click.option(
    "--element", required=True, callback=indices, metavar="I,J,…", help="Sample, then the place in the output."
)
@click.option("--runtime", type=RuntimeName(), default="xnnpack", show_default=True)
@timeout_option
def work(as_json: bool, model: Path, op: int, element: tuple[int, ...], **options: Any) -> int:
    """Write out the arithmetic of one output element.

    Its products, their sum, every rounding, and what each runtime gives.
    """
    from quantdiff.paper.work import Question, load_and_work

    tell_what_is_simulated(options["runtime"])
    asked = Question(op, element, options["runtime"])
    working = load_and_work(model, given_data(options, model), asked, options["timeout"])
    if as_json:
        from quantdiff.report.json.text import json_text
        from quantdiff.report.text.working import working_document

        click.echo(json_text(working_document(working)))
    else:
        from quantdiff.report.text.terminal import Terminal, laid_out
        from quantdiff.report.text.working import working_text

        width = Terminal().width
        click.echo(laid_out(working_text(working, width), width))
    return 0


@command("quantdiff vectors model.tflite --data data.npz --out golden --format c")
@click.argument("model", type=click.Path(path_type=Path))
@data_option()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the vectors.")
@click.option("--format", "form", type=click.Choice(["npz", "c", "hex"]), default="npz", show_default=True)
@click.option("--runtime", type=RuntimeName(), help="Default tflm for c and hex, xnnpack for npz.")
@click.option("--samples", type=whole(1), default=4, show_default=True, help="The first of the data.")
@timeout_option
def vectors(as_json: bool, model: Path, out: Path, form: str, **options: Any) -> int:
    """Write golden vectors per operator, for whoever implements kernels.

    Each holds inputs, weights, accumulators and outputs.
    """
    from quantdiff.paper.vectors import load_and_record
    from quantdiff.report.json.text import json_text
    from quantdiff.report.vectors.write import summary, write_vectors

    name = options["runtime"] or ("xnnpack" if form == "npz" else "tflm")
    tell_what_is_simulated(name)
    golden = load_and_record(model, given_data(options, model), name, options["samples"], options["timeout"])
    document = write_vectors(golden, model, out, form)
    if as_json:
        click.echo(json_text(document))
    else:
        say(summary(golden, out, form))
    return 0
