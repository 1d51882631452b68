"""How images were prepared stands in what every command prints, and in its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from float_pairs import convolutional, write_pair
from PIL import Image

from quantdiff.cli import main

STEPS = "resize=6x6 center-crop scale=1/127.5 shift=-1 order=BGR"
PAIR, REFERENCE = ("float.tflite", "int8.tflite"), ("--runtime", "reference")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "advise": (*PAIR, *REFERENCE),
    "diff": (*PAIR, *REFERENCE),
    "explain": (*PAIR, *REFERENCE),
    "extract": (PAIR[1], "--ops", "1-2", "--out", "part.tflite"),
    "identify": (PAIR[1], *REFERENCE),
    "overlay": (*PAIR, *REFERENCE, "--out", "painted"),
    "params": PAIR,
    "record": (PAIR[1], *REFERENCE, "--out", "dump.npz"),
    "reduce": (*PAIR, *REFERENCE, "--check", "max_steps>=1", "--out", "small"),
    "vectors": (PAIR[1], "--out", "golden"),
    "verify": (PAIR[1], *REFERENCE),
    "work": (PAIR[1], *REFERENCE, "--op", "0", "--element", "0,0,0,0"),
    "worst": (*PAIR, *REFERENCE, "--for", "1s", "--out", "worst.npz"),
}


def test_every_command_that_takes_images_is_here() -> None:
    assert {*COMMANDS} == {name for name, each in main.commands.items() if "images" in {p.name for p in each.params}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_pair(folder, convolutional())
    dice = np.random.default_rng(4)
    (folder / "photos").mkdir()
    for i in range(6):
        Image.fromarray(dice.integers(0, 256, (8 + i, 9, 3)).astype(np.uint8)).save(folder / f"photos/{i}.png")
    return folder


@pytest.mark.thorough
@pytest.mark.golden
@pytest.mark.parametrize("command", COMMANDS)
def test_the_preparation_is_repeated(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    asked = [command, *COMMANDS[command], "--data", "photos", "--images", STEPS]
    text, document = (CliRunner().invoke(main, [*asked, *form]).stdout for form in ((), ("--json",)))
    assert f"photos ({STEPS})" in " ".join(text.split())
    json.loads(document)
    assert f"photos ({STEPS})" in document


@pytest.mark.golden
@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ("diff", "tolerance 0.01 on random data: "),
        ("explain", "outputs differ on random data"),
        ("advise", "the file on tflite:reference on random data: "),
        ("verify", "reference: exact on random data: "),
    ],
)
def test_random_data_are_told_first_and_in_the_verdict(
    command: str, verdict: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    text = CliRunner().invoke(main, [command, *COMMANDS[command], "--data", "random:8"]).stdout
    assert "on random data" in text.splitlines()[0]
    assert verdict in " ".join(text.split())


@pytest.mark.golden
def test_a_file_that_is_called_random_holds_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    np.save("random.npy", np.full((4, 6, 6, 3), 1e4, np.float32))
    told = CliRunner().invoke(main, ["params", *PAIR, "--data", "random.npy"]).stdout.splitlines()[0]
    assert told.endswith("100% of the values are clipped; are the data prepared as in training?")
    assert "random data" not in told
