"""Every command on a terminal of 80 columns, with names as MLIR makes them: nothing wider, no figure cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from float_pairs import Net, convolutional, write_pair

from quantdiff.cli import main

WIDTH, INDENT = 80, 8
NAME = "net/block_{0}/expand/BatchNorm/FusedBatchNormV3;net/block_{0}/depthwise/depthwise;net/block_{0}/project/Conv2D;"
ELSEWHERE = {"run", "sweep"}
"""They train; their tables are among those of test_table.py, and a sweep prints CSV."""
PAIR, DATA, REFERENCE = ("float.tflite", "int8.tflite"), ("--data", "data.npz"), ("--runtime", "reference")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "advise": (*PAIR, *DATA, *REFERENCE),
    "diff": (*PAIR, *DATA, *REFERENCE, "--layers", "--unmatched", "--channels"),
    "explain": (*PAIR, *DATA, *REFERENCE),
    "extract": (PAIR[1], "--ops", "1-2", *DATA, "--out", "part.tflite", "--inputs", "part.npz"),
    "identify": (PAIR[1], *DATA, *REFERENCE),
    "inspect": (PAIR[1],),
    "lint": PAIR,
    "overlay": (*PAIR, *DATA, *REFERENCE, "--out", "painted"),
    "params": (*PAIR, *DATA),
    "record": (PAIR[1], *DATA, *REFERENCE, "--out", "dump.npz"),
    "reduce": (*PAIR, *DATA, *REFERENCE, "--check", "max_steps>=1", "--out", "small"),
    "report": ("xnnpack.json", "reference.json"),
    "runtimes": (),
    "vectors": (PAIR[1], *DATA, "--out", "golden"),
    "verify": (PAIR[1], *DATA, *REFERENCE),
    "work": (PAIR[1], *DATA, *REFERENCE, "--op", "0", "--element", "0,0,0,0"),
    "worst": (*PAIR, *DATA, *REFERENCE, "--for", "1s", "--out", "worst.npz"),
}
COMMAND = re.compile(r"(^|: )(quantdiff|model-explorer) ")
CUT = re.compile(r"\d…|…[\d.,]+(?=\s|$)")


def long_names(net: Net, length: int) -> Net:
    def named(name: str) -> str:
        return (NAME.format(list(names).index(name)) * 9)[: length - 2] + f"_{list(names).index(name)}"

    names = dict.fromkeys([*net.inputs, *(node.output for node in net.nodes)])
    renamed = {name: named(name) for name in names}
    return Net(
        {renamed[name]: shape for name, shape in net.inputs.items()},
        [replace(n, inputs=[renamed[i] for i in n.inputs], output=renamed[n.output]) for n in net.nodes],
        {renamed[name]: values for name, values in net.data.items()},
    )


@pytest.fixture(scope="module", params=[100, 300])
def printed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What a command prints on a terminal."""
    folder = tmp_path_factory.mktemp("long")
    files = write_pair(folder, long_names(convolutional(samples=12), request.param))
    (x,) = files.batch.arrays.values()
    np.savez(folder / "data.npz", x=x)
    runner = CliRunner(env={"COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"})

    def run(command: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for name in [each.removesuffix(".json") for each in COMMANDS[command] if each.endswith(".json")]:
                diff = runner.invoke(main, ["diff", *PAIR, *DATA, "--runtime", name, "--json"])
                Path(f"{name}.json").write_text(diff.stdout)
            result = runner.invoke(main, [command, *COMMANDS[command]])
        assert result.exit_code in (0, 1), result.stderr
        return re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)

    return run


def test_every_command_is_here() -> None:
    assert {*COMMANDS, *ELSEWHERE} == {*main.commands}


@pytest.mark.thorough
@pytest.mark.golden
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_wider_than_the_terminal_or_cut(command: str, printed: Callable[[str], str]) -> None:
    """A name that is longer than a line stands whole where it is told in words, and so does a command to copy."""
    lines = printed(command).splitlines()
    assert lines
    wide = [line for line in lines if len(line) > WIDTH and not COMMAND.search(line)]
    assert [line for line in wide if max(map(len, line.split())) <= WIDTH - INDENT or len(line.split()) > 2] == []
    assert [line for line in lines if CUT.search(line)] == []
    slim = [0 < len(line.strip()) < 3 and not line.strip().isdecimal() for line in lines]
    assert not any(map(all, zip(slim, slim[1:], slim[2:], strict=False))), "a letter a line"
