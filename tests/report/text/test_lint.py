"""``quantdiff lint`` as people and scripts meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from linting.models_with_findings import chain, conv, dense, q
from written_models import Op, write_tflite

from quantdiff.cli import main
from quantdiff.report.text.files import PLACES_SHOWN

ROOT = Path(__file__).parents[3]
CLEAN, WARNS = dense(), chain([("QUANTIZE", q("y"))])


def lint(folder: Path, data: bytes, *options: str) -> Result:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return CliRunner().invoke(main, ["lint", str(path), *options])


@pytest.mark.parametrize(
    ("data", "status", "counts"),
    [
        (CLEAN, 0, "0 errors, 0 warnings, 0 infos"),
        (WARNS, 1, "0 errors, 1 warning, 0 infos"),
        (dense(bias=7, b_scale=0.25), 1, "1 error, 0 warnings, 0 infos"),
        (chain([("SOFTMAX", q("y", 1 / 256, zero_point=-128))]), 0, "0 errors, 0 warnings, 1 info"),
    ],
)
def test_status_and_summary(tmp_path: Path, data: bytes, status: int, counts: str) -> None:
    result = lint(tmp_path, data)
    assert (result.exit_code, result.stderr) == (status, "")
    assert result.stdout.splitlines()[-1] == f"{tmp_path}/model.tflite: {counts}"


def test_text_says_what_where_why_and_what_to_do(tmp_path: Path) -> None:
    lines = lint(tmp_path, WARNS).stdout.splitlines()
    assert lines[0] == "warning  QUANT01  Two conversions in a row, or one that changes nothing."
    assert lines[1].split("  ")[1:4] == [
        "operator 0 QUANTIZE",
        "y",
        "same scale and zero point before and after (int8)",
    ]
    assert lines[2].startswith("  Each conversion costs time")


def test_many_places_are_cut_short_but_not_in_json(tmp_path: Path) -> None:
    operators = [Op("TANH", ["x"], ["y"]) for _ in range(30)]
    data = write_tflite([q("x"), q("y", zero_point=999)], operators, ["x"], ["y"])
    many = chain([("RELU", q(str(i), zero_point=-128)) for i in range(PLACES_SHOWN + 5)])
    assert "… 5 more: --json lists all" in lint(tmp_path, many).stdout
    assert json.loads(lint(tmp_path, many, "--json").stdout)["counts"]["info"] == PLACES_SHOWN + 5
    assert json.loads(lint(tmp_path, data, "--json").stdout)["counts"]["error"] == 1


def test_json_has_the_promised_keys(tmp_path: Path) -> None:
    result = lint(tmp_path, WARNS, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["schema"] == "quantdiff/1"
    assert document["counts"] == {"error": 0, "warning": 1, "info": 0}
    (finding,) = document["findings"]
    assert finding.pop("advice").startswith("Each conversion costs time")
    assert finding == {
        "code": "QUANT01",
        "severity": "warning",
        "where": "operator 0 QUANTIZE y",
        "subgraph": 0,
        "operator": 0,
        "evidence": "same scale and zero point before and after (int8)",
        "message": "Two conversions in a row, or one that changes nothing.",
    }


def test_names_with_markup_and_control_characters_stay_text(tmp_path: Path) -> None:
    result = lint(tmp_path, chain([("QUANTIZE", q("[red]y\x1b[31m"))]))
    assert "operator 0 QUANTIZE  [red]y\\x1b[31m" in result.stdout


@pytest.mark.parametrize("arguments", [(), ("a.tflite", "b.tflite"), ("a.h5", "b.h5", "c.tflite"), ("none.tflite",)])
def test_wrong_arguments_are_trouble(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["lint", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_damaged_file_and_a_missing_reference_are_trouble(tmp_path: Path) -> None:
    assert "model.tflite: " in lint(tmp_path, CLEAN[:99]).stderr
    lint(tmp_path, CLEAN)
    result = CliRunner().invoke(main, ["lint", str(tmp_path / "none.h5"), str(tmp_path / "model.tflite")])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


@pytest.mark.keras
def test_a_reference_is_looked_at_too(tmp_path: Path) -> None:
    from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot

    used = frameworks()
    annotate = tfmot().quantization.keras.quantize_annotate_layer
    layers = [used.keras.layers.InputLayer(input_shape=(4,)), annotate(used.keras.layers.Dense(3))]
    with quiet():
        used.keras.Sequential(layers).save(tmp_path / "ref.h5")
    lint(tmp_path, CLEAN)
    result = CliRunner().invoke(main, ["lint", str(tmp_path / "ref.h5"), str(tmp_path / "model.tflite")])
    assert result.exit_code == 1
    assert result.stdout.startswith("error  QAT04  The reference is annotated for quantization, but quantize_apply was")


def test_without_a_reference_no_framework_is_imported(tmp_path: Path) -> None:
    lint(tmp_path, conv("CONV_2D", [[[[127, 3]]]], 0.5, 0))
    code = (
        "from click.testing import CliRunner; from quantdiff.cli import main; import sys\n"
        f"assert CliRunner().invoke(main, ['lint', {str(tmp_path / 'model.tflite')!r}]).exit_code == 0\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert not set(done.stdout.split()) & {"tensorflow", "tf_keras", "keras", "ai_edge_litert", "tflite_micro"}


def script(name: str) -> str:
    """What the script would write today."""
    code = f"import sys; sys.path.insert(0, 'scripts'); import {name} as script; sys.stdout.write(script.text())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def test_the_page_of_codes_is_current() -> None:
    page = (ROOT / "docs/reference/lint-codes.md").read_text()
    assert page == script("write_lint_codes"), "run `uv run python scripts/write_lint_codes.py`"


@pytest.mark.golden
def test_the_list_of_tflm_ops_is_that_of_the_package() -> None:
    from importlib.metadata import version

    pytest.importorskip("tflite_micro")
    listed = (ROOT / "src/quantdiff/linting/tflm_ops.txt").read_text()
    if listed.splitlines()[0] != f"tflite-micro {version('tflite-micro')}":
        pytest.skip("written for another version of tflite-micro")
    assert listed == script("write_tflm_ops")
