"""``scripts/count_walk.py`` counts where a function runs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import small_models as models

SCRIPT = Path(__file__).parents[1] / "scripts" / "count_walk.py"


def walked(*arguments: object) -> tuple[list[str], int]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line.split()[1] for line in done.stdout.splitlines()], done.returncode


def test_files_stand_in_the_order_of_the_first_call(tmp_path: Path) -> None:
    files, status = walked("inspect", models.save(tmp_path, models.dense()))
    assert status == 0
    assert files[:2] == ["cli/command.py", "files.py"]  # the path is looked at while the line is parsed
    assert files.index("cli/command.py") < files.index("cli/files.py") < files.index("load/tflite.py")
    assert files.index("load/tflite.py") < files.index("load/flatbuffer.py")
    assert files[-2].startswith("report/")
    assert files[-1] == "run/process.py"  # children may start again
    assert "errors.py" not in files  # imported, and none of its functions runs
    assert "cli/pairs.py" not in files
    assert walked("--at-most", len(files) - 1, "inspect", tmp_path / "model.tflite") == (files, 1)
