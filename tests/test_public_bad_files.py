"""Files that were published for what they do to TFLite: each is one line for each runtime, and we live on."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_files import BAD_FILES
from click.testing import CliRunner, Result

from quantdiff.cli import main

AT_ONCE = "reshape: more than fits"
READ = [name for name in BAD_FILES if name.startswith("reshape") and "buffer" not in name]
"""The reader takes them: they are whole, and a runtime has to refuse them."""


def verified(path: Path, name: str, *runtimes: str) -> Result:
    path.write_bytes(BAD_FILES[name])
    asked = [word for each in runtimes for word in ("--runtime", each)]
    result = CliRunner().invoke(main, ["verify", str(path), "--samples", "2", *asked])
    assert result.exit_code == 2
    assert all(line.startswith("error: ") and "unexpected" not in line for line in result.stderr.splitlines())
    return result


@pytest.mark.parametrize("name", [each for each in BAD_FILES if each not in READ])
def test_it_is_refused_before_any_runtime_sees_it(name: str, tmp_path: Path) -> None:
    result = verified(tmp_path / "m.tflite", name, "builtin")
    assert result.stderr.count("\n") == 1
    assert "builtin" not in result.stderr


@pytest.mark.golden
@pytest.mark.parametrize(
    "name", [AT_ONCE, *(pytest.param(each, marks=pytest.mark.thorough) for each in READ if each != AT_ONCE)]
)
def test_each_runtime_says_what_it_says(name: str, tmp_path: Path) -> None:
    lines = verified(tmp_path / "m.tflite", name, "builtin", "xnnpack", "tflm").stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["builtin", "xnnpack", "tflm"]
