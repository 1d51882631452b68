"""A data set in parts: one process, a cluster and one whole file give the same figures, to the last bit."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result

from quantdiff import api
from quantdiff.cli import main
from quantdiff.experiment.workers import Workers, cluster
from quantdiff.quant import Array
from quantdiff.run.runner import Progress, silent

pytestmark = pytest.mark.golden

CUTS = (0, 1, 40, 333, 500)


def invoke(*arguments: object, command: str = "diff") -> Result:
    return CliRunner().invoke(main, [command, *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, their data as one file, and the same in four parts and in two, of unequal size."""
    path = tmp_path_factory.mktemp("shards")
    models.save(path, models.two_dense(), "int8.tflite")
    models.save(path, models.two_dense(None), "float.tflite")
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (CUTS[-1], models.DEPTH)).astype(np.float32)
    y = rng.integers(0, models.UNITS, CUTS[-1])
    write(path / "whole.npz", x, y)
    for name, cuts in (("parts", CUTS), ("halves", (0, 40, 500))):
        (path / name).mkdir()
        for i, (start, stop) in enumerate(itertools.pairwise(cuts)):
            write(path / name / f"part{i}.npz", x[start:stop], y[start:stop])
    return path


def write(path: Path, x: Array, y: Array) -> None:
    np.savez(path, x=x, y=y)


def figures(result: Result) -> dict[str, object]:
    """The document without what says how it was made."""
    assert result.exit_code == 1, result.output
    document = json.loads(result.stdout)
    return {key: document[key] for key in ("accuracy", "comparisons", "samples", "failures", "notes")}


RUNTIMES = ("--runtime", "reference", "--runtime", "builtin", "--json")


def test_parts_give_what_the_whole_gives(folder: Path) -> None:
    pair = folder / "float.tflite", folder / "int8.tflite"
    whole = figures(invoke(*pair, "--data", folder / "whole.npz", *RUNTIMES))
    assert whole["samples"] == CUTS[-1]
    assert figures(invoke(*pair, "--data", folder / "parts", *RUNTIMES)) == whole
    named = [word for i in (2, 0, 3, 1) for word in ("--data", folder / "parts" / f"part{i}.npz")]
    assert figures(invoke(*pair, *named, *RUNTIMES)) == whole


ASKED = {
    "diff": ("float.tflite", "int8.tflite", "--layers", "--runtime", "reference", "--json"),
    "verify": ("int8.tflite", *RUNTIMES),
    "params": ("float.tflite", "int8.tflite", "--json"),
    "explain": ("float.tflite", "int8.tflite", "--runtime", "reference", "--json"),
    "advise": ("float.tflite", "int8.tflite", "--runtime", "reference", "--json"),
}
"""What takes data in parts, beside plain ``diff``."""
HOW_MADE = ("artifacts", "shards", "data")


def asked(folder: Path, command: str, *data: object) -> dict[str, object]:
    """The whole document of a command, but for where the data were."""
    words = [folder / word if word.endswith(".tflite") else word for word in ASKED[command]]
    result = invoke(*words, *data, command=command)
    assert result.exit_code in (0, 1), result.output

    def plain(node: object) -> object:
        if isinstance(node, dict):
            return {key: plain(value) for key, value in node.items() if key not in HOW_MADE}
        return [plain(each) for each in node] if isinstance(node, list) else node

    document = plain(json.loads(result.stdout))
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("command", ASKED)
def test_every_command_gives_the_same_of_one_file_and_of_parts_on_a_cluster(
    folder: Path, scheduler: str, command: str
) -> None:
    whole = asked(folder, command, "--data", folder / "whole.npz")
    assert whole["samples"] == CUTS[-1]
    page = folder / "page.html"
    more = ("--html", page) if command == "explain" else ()
    assert asked(folder, command, "--data", folder / "halves", "--dask", scheduler, *more) == whole
    if more:
        shown = page.read_text()
        assert all(f'id="{part}"' in shown for part in ("why", "where", "parameters"))


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["params", "advise"])
def test_two_processes_here_give_the_same(folder: Path, command: str) -> None:
    whole = asked(folder, command, "--data", folder / "whole.npz")
    assert asked(folder, command, "--data", folder / "halves", "--jobs", "2") == whole


def test_one_file_goes_out_in_parts(folder: Path) -> None:
    x = np.random.default_rng(1).uniform(-2, 2, (9000, models.DEPTH)).astype(np.float32)
    np.save(folder / "many.npy", x)
    settings, data = api.Settings(("reference",)), folder / "many.npy"
    pair = folder / "float.tflite", folder / "int8.tflite"
    here = api.diff(*pair, data, settings, layers=True)
    seen = list[tuple[str, int, int]]()
    with Workers(1) as on:
        there = api.diff(*pair, api.InParts([data], on), settings, lambda *said: seen.append(said), layers=True)
    assert (there.comparisons, there.layers) == (here.comparisons, here.layers)
    assert seen == [("samples", 8000, 9000), ("samples", 9000, 9000)]


SETTINGS = api.Settings(("reference",))


def answer(command: str, folder: Path, data: api.InParts | Path, progress: Progress = silent) -> object:
    """What a command finds, but for where the data were."""
    pair = folder / "float.tflite", folder / "int8.tflite"
    if command == "diff":
        found = api.diff(*pair, data, SETTINGS, progress, layers=True)
        return found.comparisons, found.layers
    if command == "explain":
        return [replace(e, made_by={}, artifacts={}) for e in api.explain(*pair, data, SETTINGS, progress).found]
    if command == "params":
        return replace(api.params(*pair, data, SETTINGS, progress), artifacts={})
    if command == "verify":
        return api.verify(pair[1], data, SETTINGS, progress=progress).verdicts
    if command == "overlay":
        written = api.overlay(*pair, data, folder / "painted", SETTINGS, progress).written
        assert {each.file for each in written} <= {path.name for path in (folder / "painted").iterdir()}
        return written
    advice = api.advise(*pair, data, settings=SETTINGS, progress=progress)
    return advice.now, advice.plain, advice.alone, advice.considered


@pytest.mark.thorough
@pytest.mark.parametrize("command", [*ASKED, "overlay"])
def test_a_worker_killed_in_mid_run_costs_nothing(folder: Path, scheduler: str, command: str) -> None:
    whole, parts, count = folder / "whole.npz", folder / "halves", CUTS[-1]
    if command == "explain":  # which looks at the first 4,096 before it sends any
        whole, parts, count = folder / "more.npy", folder / "more.npy", 20_000
        np.save(whole, np.random.default_rng(2).uniform(-2, 2, (count, models.DEPTH)).astype(np.float32))
    here, killed = answer(command, folder, whole), list[int]()
    with cluster(scheduler) as on:
        victim = on.submit(os.getpid).result()

        def kill(stage: str, done: int, total: int) -> None:
            if not killed and stage == "samples":
                killed.append(done)
                os.kill(victim, signal.SIGKILL)

        there = answer(command, folder, api.InParts([parts], on), kill)
    assert killed[0] < count
    assert there == here


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    distributed, dask = map(pytest.importorskip, ("distributed", "dask"))
    # A busy machine takes longer than the 15 s after which a worker that restarts is given up for good.
    patience = dask.config.set({"distributed.deploy.lost-worker-timeout": "10m"})
    with patience, distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as local:
        yield local.scheduler_address


def test_a_cluster_gives_what_one_process_gives(folder: Path, scheduler: str) -> None:
    pair = folder / "float.tflite", folder / "int8.tflite"
    alone = figures(invoke(*pair, "--data", folder / "parts", *RUNTIMES))
    spread = figures(invoke(*pair, "--data", folder / "parts", "--dask", scheduler, *RUNTIMES))
    assert spread == alone
    result = invoke(*pair, "--data", folder / "none.npz", "--dask", scheduler)
    assert result.exit_code == 2
    assert "none.npz: no such data file" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data", "empty"), "empty: a folder without .npz, .npy, picture or sound files"),
        (("--data", "parts", "--jobs", "2", "--dask", "tcp://h:1"), "give one of them"),
        (("--data", "parts", "--data", "bare.npz"), "some parts of the data have labels and others have none"),
    ],
)
def test_parts_that_make_no_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(folder)
    Path("empty").mkdir(exist_ok=True)
    np.savez("bare.npz", x=np.ones((3, models.DEPTH), np.float32))
    result = invoke("float.tflite", "int8.tflite", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
