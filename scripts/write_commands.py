"""Write ``docs/reference/commands.md``: every command and option, from the commands themselves.

uv run python scripts/write_commands.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from quantdiff.cli import main
from quantdiff.references.formats import known_files

TARGET = Path(__file__).parents[1] / "docs/reference/commands.md"
HEAD = f"""\
# Commands

Written by `uv run python scripts/write_commands.py` from what `quantdiff COMMAND --help` prints; a test holds the two
together.

**Models.** `REFERENCE` is {known_files()}.
`CANDIDATE` is one too for `diff`, and a `.tflite` for all other commands. A `.tflite` candidate runs on every
`--runtime` given (`--runtime all`: every one installed), a `.tflite` reference on the first of them that runs it. No
code of a model runs unless you say so: `--allow-lambda` lets Lambda layers, `--custom-objects FILE.py` brings the
classes that a model names.

**Data.** An `.npz` or an `.npy`, in the reference's float units, nothing is ever unpickled; a `.csv`, a
function, a folder of images or sounds, or made-up data ([bring your data](../how-to/bring-your-data.md)).
Samples are `x`, labels `y`. A model with several inputs takes the arrays of their names, or `0`, `1`, … or
`arr_0`, `arr_1`, … in its order, or those of which only one fits each shape; whatever leaves a choice is
refused with the names that both models want. To `diff`, `explain`, `overlay`, `params` and `verify` a data set may
come in parts: `--data` several times, or a folder. `--jobs N` shares the data, one file too, among N processes,
`--dask tcp://host:8786` among the workers of a cluster; the figures are the same to the last bit
([big data](../how-to/bring-your-data.md#more-data-than-one-machine-bears)). A
compressed `.npz` may take 2 GiB when it is unpacked; for more set `QUANTDIFF_UNPACKED_AT_MOST` to a number of
bytes, or save it by `np.savez`, which leaves large arrays on disk.

**Files.** What is read is a regular file: a FIFO, a socket or a device is refused. What is written is there as a whole
or not at all; `--html` follows a link, nothing else that is no regular file is written over. No
command writes over what it reads.

**Status** is that of Unix `diff`: 0 same or done, 1 different, 2 trouble, which is one line on standard error;
`--debug` shows the whole story. Output that cannot be written (a full disk, a closed stream) is trouble, too; where
the reader of a pipe is gone, as `head` is when it has seen enough, the status is 141, as shells have it.
`--fail-on EXPR` says what counts as different: `max_steps>1`, `not_close>0.02`, `top1_agreement<0.999`, any metric of
the JSON.

**Completion.** The shell completes commands and options: `eval "$(_QUANTDIFF_COMPLETE=bash_source quantdiff)"` in
`~/.bashrc`, the same with `zsh_source` in `~/.zshrc`, or
`_QUANTDIFF_COMPLETE=fish_source quantdiff > ~/.config/fish/completions/quantdiff.fish`.

**`--json`** prints one document on standard output, without rounding any number: [its keys](json.md).
"""
SHARED = ("--json", "--debug", "--help")


def text() -> str:
    """The whole page."""
    return HEAD + "".join(section(name, command) for name, command in sorted(main.commands.items()))


def section(name: str, command: click.Command) -> str:
    """One command: how it is called, what it does, its own options."""
    context = click.Context(command, info_name=name, parent=click.Context(main, info_name="quantdiff"))
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"\n## quantdiff {name}\n", f"```text\nquantdiff {name} {usage}\n```\n", f"{prose(command.help or '')}\n"]
    example = " ".join(line.strip().removesuffix("\\").strip() for line in (command.epilog or "").splitlines()[2:])
    parts.append(f"For example:\n\n```text\n{example}\n```\n")
    rows = list(options(command, context))
    if rows:
        parts.append("| option | what it does |\n|---|---|\n" + "".join(rows))
    return "\n".join(parts)


def prose(help_text: str) -> str:
    """The command's docstring as Markdown: paragraphs, without marks that steer a terminal."""
    return "\n\n".join(as_code(" ".join(block.split())) for block in help_text.replace("\b", "").strip().split("\n\n"))


def as_code(words: str) -> str:
    """Options as code, or two hyphens become a dash."""
    return re.sub(r"(?<![\w`-])--[a-z][a-z-]*", r"`\g<0>`", words)


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """A row per option, as ``--help`` words it; those that every command has are left to the page's head."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and not record[0].endswith(SHARED):
            name, what = (cell.replace("|", "\\|") for cell in record)
            yield f"| `{name}` | {as_code(what)} |\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"{TARGET.name}: {len(main.commands)} commands")
