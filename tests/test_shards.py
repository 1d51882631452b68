"""A data set in parts: one process, a cluster and one whole file give the same figures, to the last bit."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result

from quantdiff.cli import main
from quantdiff.quant import Array

pytestmark = pytest.mark.golden

CUTS = (0, 1, 40, 333, 500)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["diff", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, their data as one file, and the same in four parts of unequal size."""
    path = tmp_path_factory.mktemp("shards")
    models.save(path, models.dense(), "int8.tflite")
    models.save(path, models.float_dense(), "float.tflite")
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (CUTS[-1], models.DEPTH)).astype(np.float32)
    y = rng.integers(0, models.UNITS, CUTS[-1])
    write(path / "whole.npz", x, y)
    (path / "parts").mkdir()
    for i, (start, stop) in enumerate(itertools.pairwise(CUTS)):
        write(path / "parts" / f"part{i}.npz", x[start:stop], y[start:stop])
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


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as local:
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
        (("--data", "empty"), "empty: a folder without .npz or .npy files"),
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
