"""Run the commands that README and docs show, and put what they print below them.

    uv run python scripts/refresh_docs.py [FILE.md …]

Every block fenced as ``console`` begins with ``$ command`` lines; the rest of the block is replaced by the output
of the last one. Commands of one file share a scratch folder, and see the data that a fresh machine has.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```console\n(.*?)```", re.S)


def main() -> None:
    """Refresh the files named, or README and all of docs."""
    named = [Path(name) for name in sys.argv[1:]]
    for path in named or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text()
        with tempfile.TemporaryDirectory() as folder:
            fresh = BLOCK.sub(lambda block, at=folder: refreshed(block, at), text)
        if fresh != text:
            path.write_text(fresh)
            print(f"refreshed {path}")


def refreshed(block: re.Match[str], folder: str) -> str:
    """The block with the output of its commands, run in ``folder``."""
    shown = [*itertools.takewhile(lambda line: line.startswith("$ "), block[1].splitlines())]
    commands = [line.removeprefix("$ ") for line in shown]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KERAS_HOME": folder,
        "COLUMNS": "100",
        "UV_PROJECT": str(ROOT),
    }
    print("$", *commands)
    done = subprocess.run(
        "\n".join(commands),
        shell=True,
        check=False,  # a status other than 0 may be what the page shows
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    return "\n".join(["```console", *shown, *printed, "```"])


if __name__ == "__main__":
    main()
