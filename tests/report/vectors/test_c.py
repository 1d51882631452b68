"""The C program: it passes on every runtime's vectors, and fails when a single one is changed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from golden_network import recorded
from written_models import Op, T, write_tflite

from quantdiff.load.data import make_batch
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.vectors import GoldenVectors, record
from quantdiff.report.vectors.write import _comment, _float, summary, write_vectors
from quantdiff.sim.runtime import Runtime

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
DENSE, CONV, DEPTH = "op_003_fully_connected", "op_000_conv_2d", "op_001_depthwise_conv_2d"


def written(folder: Path, golden: GoldenVectors) -> Path:
    (folder / "model").write_bytes(b"model")
    write_vectors(golden, folder / "model", folder / "out", "c")
    return folder / "out"


def run(out: Path) -> tuple[int, list[str]]:
    subprocess.run(["cc", *STRICT, "main.c", "-o", "check"], cwd=out, check=True)
    done = subprocess.run(["./check"], cwd=out, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.golden
@pytest.mark.parametrize("runtime", Runtime)
def test_passes_as_the_runtime_rounds(tmp_path: Path, runtime: Runtime) -> None:
    status, lines = run(written(tmp_path, recorded(runtime.value)))
    assert (status, lines[-1]) == (0, "PASS")
    assert [line.split(":")[0] for line in lines[:-1]] == [CONV, DEPTH, DENSE]


@pytest.mark.parametrize("rule", ["G", "R", "S", "X", "D"])
def test_passes_as_a_profile_rounds(tmp_path: Path, rule: str) -> None:
    profile = tmp_path / "npu.toml"
    kinds = {"CONV_2D": "builtin@arm64", "DEPTHWISE_CONV_2D": rule, "RESHAPE": "tflm", "FULLY_CONNECTED": rule}
    lines = [f'"{op} int8" = "{name}"' for op, name in kinds.items()]
    profile.write_text("\n".join(['schema = "quantdiff-profile/1"', "[rules]", *lines]))
    golden = recorded(f"profile:{profile}")
    assert [{c.rounding.value for c in each.channels} for each in golden.operators] == [{"N"}, {rule}, set(), {rule}]
    assert run(written(tmp_path, golden))[1][-1] == "PASS"


@pytest.mark.parametrize("power", [-1, 0, 2, -6])
def test_neon_shifts_left_before_it_multiplies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power: int) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # its simulator, wherever the tests run
    scale = 1.5 * 2.0**power
    tensors = [
        T("x", (1, 4, 4, 8), scale=scale),
        T("w", (5, 1, 1, 8), scale=1.0, axis=0, data=np.random.default_rng(1).integers(-3, 4, (5, 1, 1, 8))),
        T("y", (1, 4, 4, 5), scale=1.0),
    ]
    operator = Op("CONV_2D", ["x", "w", None], ["y"], {"strideH": 1, "strideW": 1}, version=3)
    model = load_tflite(models.save(tmp_path, write_tflite(tensors, [operator], ["x"], ["y"])))
    x = np.random.default_rng(2).integers(-9, 10, (2, 4, 4, 8)) * np.float32(scale)
    golden = record(model, make_batch({"x": x.astype(np.float32)}, "memory"), "builtin@arm64", 2)
    assert {channel.rounding.value for channel in golden.operators[0].channels} == {"N"}
    assert run(written(tmp_path, golden))[1][-1] == "PASS"


def changed(out: Path, stem: str, key: str) -> None:
    """Add 1 to the first number of an array."""
    path = out / f"{stem}.h"
    text, count = re.subn(
        rf"({stem}_{key}\[\] = {{\n)(-?\d+)", lambda m: m[1] + str(int(m[2]) + 1), path.read_text(), count=1
    )
    assert count == 1
    path.write_text(text)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("stem", "key"), [(DENSE, "output"), (CONV, "accumulator"), (DEPTH, "weights"), (CONV, "bias"), (CONV, "shift")]
)
def test_fails_when_one_number_is_changed(tmp_path: Path, stem: str, key: str) -> None:
    out = written(tmp_path, recorded("tflm"))
    changed(out, stem, key)
    status, lines = run(out)
    assert (status, lines[-1]) == (1, "FAIL")
    assert any(line.startswith(f"{stem}: element") for line in lines)


@pytest.mark.golden
def test_every_header_stands_alone(tmp_path: Path) -> None:
    out = written(tmp_path, recorded("tflm"))
    for header in out.glob("op_*.h"):
        (out / "alone.c").write_text(f'#include "{header.name}"\n')
        subprocess.run(["cc", *STRICT[:3], "-Werror", "-fsyntax-only", "alone.c"], cwd=out, check=True)


def test_nothing_to_check_is_no_pass(tmp_path: Path) -> None:
    golden = GoldenVectors("tflm", 1, ())
    status, lines = run(written(tmp_path, golden))
    assert (status, lines) == (1, ["no layer to check", "FAIL"])
    assert "no layer to check" in summary(golden, Path("out"), "c")
    assert "no layer to check" not in summary(golden, Path("out"), "npz")


def test_literals_and_comments() -> None:
    assert [_float(v, "f") for v in (0.5, float("nan"), float("-inf"))] == ["0x1.0000000000000p-1f", "NAN", "-INFINITY"]
    assert _comment("a*/b/*c??/\n\x1bü") == "a* /b/ *c? ?/\\n\\x1b\\xfc"
