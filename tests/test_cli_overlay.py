"""``quantdiff overlay`` as people meet it, and what the real Model Explorer makes of its files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result
from quantized_models import Made, denses

from quantdiff.cli import main
from quantdiff.ladder.explanation import MECHANISMS
from quantdiff.report.overlay import METRICS

READ = """
import json, sys
from model_explorer.builtin_tflite_flatbuffer_adapter import BuiltinTfliteFlatbufferAdapter
from model_explorer import node_data_builder as ndb

(collection,) = BuiltinTfliteFlatbufferAdapter().convert(sys.argv[1], {})["graphCollections"]
outputs = [out for node in collection.graphs[0]["nodes"] for out in node["outputsMetadata"]]
names = [attr["value"] for out in outputs for attr in out["attrs"] if attr["key"] == "tensor_name"]
built = {}
for file in sys.argv[2:]:
    data = json.load(open(file))
    results = {name: ndb.NodeDataResult(**result) for name, result in data["results"].items()}
    graph = ndb.GraphNodeData(results, gradient=[ndb.GradientItem(**item) for item in data["gradient"]])
    built[file] = json.loads(graph.to_json_string())
print(json.dumps({"names": names, "built": built}))
"""
"""Convert the graph and build the node data as the program itself does: in a process of its own, it brings MLIR."""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["overlay", *map(str, arguments)])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a model, its data and ``out``, and what the command said."""
    folder = tmp_path_factory.mktemp("overlay")
    model = models.save(folder, models.dense(out="float32"))
    x = np.random.default_rng(0).uniform(-1, 1, (64, models.DEPTH)).astype(np.float32)
    np.savez(folder / "data.npz", allow_pickle=False, x=x)
    return folder, invoke(model, model, "--data", folder / "data.npz", "--out", folder / "made" / "out", "--json")


@pytest.mark.golden
def test_every_file_is_named_and_says_what_diff_says(written: tuple[Path, Result]) -> None:
    folder, result = written
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {each["file"] for each in document["files"]} == {path.name for path in (folder / "made" / "out").iterdir()}
    assert document["command"] == "overlay"
    sqnr = json.loads((folder / "made" / "out" / "xnnpack-sqnr_db.json").read_text())
    assert sqnr["results"]["y"] == {"value": "equal", "bgColor": "#a1d99b"}


@pytest.mark.golden
def test_model_explorer_finds_every_node(written: tuple[Path, Result]) -> None:
    if find_spec("model_explorer") is None:
        pytest.skip("needs ai-edge-model-explorer: uv run --group overlay pytest tests/test_cli_overlay.py")
    files = sorted((written[0] / "made" / "out").iterdir())
    command = [sys.executable, "-c", READ, str(written[0] / "model.tflite"), *map(str, files)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    for file in files:
        held = json.loads(file.read_text())
        assert held["results"]
        assert set(held["results"]) <= set(read["names"])
        assert {key: read["built"][str(file)][key] for key in held} == held


@pytest.mark.parametrize(("candidate", "word"), [("data.npz", "data.npz"), ("none.tflite", "no such model")])
def test_trouble_is_one_line_and_leaves_nothing(written: tuple[Path, Result], candidate: str, word: str) -> None:
    folder = written[0]
    result = invoke(
        folder / "model.tflite", folder / candidate, "--data", folder / "data.npz", "--out", folder / "new" / "out"
    )
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert word in line
    assert not (folder / "new").exists()


@pytest.mark.keras
@pytest.mark.golden
def test_a_keras_reference_has_its_rungs(made: Callable[..., Made], tmp_path: Path) -> None:
    keras, tflite, data = made(denses).pair
    result = invoke(keras, tflite, "--data", data, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].endswith(f"--node_data_paths={tmp_path / 'xnnpack-differing.json'}")
    files = {path.name: json.loads(path.read_text())["results"] for path in tmp_path.iterdir()}
    assert len(files) == 2 * (len(METRICS) + len(MECHANISMS))
    assert set(files["xnnpack-rung11_runtime.json"]) == set(files["xnnpack-local_rung0_reference.json"]) != set()
    assert {node["value"] for node in files["xnnpack-rung11_runtime.json"].values()} == {0.0}
