"""The C program: it passes on every runtime's vectors, and fails when a single one is changed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from golden_network import recorded

from quantdiff.paper.vectors import GoldenVectors
from quantdiff.report.vectors.c import _comment, _float
from quantdiff.report.vectors.write import summary, write_vectors
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
    status, lines = run(written(tmp_path, recorded(runtime)))
    assert (status, lines[-1]) == (0, "PASS")
    assert [line.split(":")[0] for line in lines[:-1]] == [CONV, DEPTH, DENSE]


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
    out = written(tmp_path, recorded(Runtime.TFLM))
    changed(out, stem, key)
    status, lines = run(out)
    assert (status, lines[-1]) == (1, "FAIL")
    assert any(line.startswith(f"{stem}: element") for line in lines)


@pytest.mark.golden
def test_every_header_stands_alone(tmp_path: Path) -> None:
    out = written(tmp_path, recorded(Runtime.TFLM))
    for header in out.glob("op_*.h"):
        (out / "alone.c").write_text(f'#include "{header.name}"\n')
        subprocess.run(["cc", *STRICT[:3], "-Werror", "-fsyntax-only", "alone.c"], cwd=out, check=True)


def test_nothing_to_check_is_no_pass(tmp_path: Path) -> None:
    golden = GoldenVectors(Runtime.TFLM, 1, ())
    status, lines = run(written(tmp_path, golden))
    assert (status, lines) == (1, ["no layer to check", "FAIL"])
    assert "no layer to check" in summary(golden, Path("out"), "c")
    assert "no layer to check" not in summary(golden, Path("out"), "npz")


def test_literals_and_comments() -> None:
    assert [_float(v, "f") for v in (0.5, float("nan"), float("-inf"))] == ["0x1.0000000000000p-1f", "NAN", "-INFINITY"]
    assert _comment("a*/b/*c??/\n\x1bü") == "a* /b/ *c? ?/\\n\\x1b\\xfc"
