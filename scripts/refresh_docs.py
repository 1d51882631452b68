"""Run the commands that README and docs show, and put what they print below them.

    uv run python scripts/refresh_docs.py [FILE.md …]

In every block fenced as ``console`` the lines that begin with ``$ `` are commands; what stands below each is replaced
by what it prints. The commands of one file share a scratch folder, and see the data that a fresh machine has. A block
with a title (```python title="test_parity.py") is a file, which is there before they run.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```console\n(.*?)```", re.S)
FILE = re.compile(r"```\w+ title=\"([^\"]+)\"\n(.*?)```", re.S)
DONE = "--- done ---"


def main() -> None:
    """Refresh the files named, or README and all of docs."""
    named = [Path(name) for name in sys.argv[1:]]
    for path in named or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text()
        with tempfile.TemporaryDirectory() as folder:
            for name, content in FILE.findall(text):
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
            fresh = BLOCK.sub(lambda block, at=folder: refreshed(block, at), text)
        if fresh != text:
            path.write_text(fresh)
            print(f"refreshed {path}")


def refreshed(block: re.Match[str], folder: str) -> str:
    """The block with the output of its commands, run one after the other in ``folder``."""
    commands = [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]
    # Each command's status stays in $? for the next one.
    script = "\n".join(f"{command}\nstatus=$?; echo '{DONE}'; (exit $status)" for command in commands)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KERAS_HOME": folder,
        "COLUMNS": "100",
        "UV_PROJECT": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,  # a status other than 0 may be what the page shows
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = done.stdout.split(f"{DONE}\n")
    lines = ["```console"]
    for command, output in zip(commands, printed, strict=False):
        print("$", command)
        lines += [f"$ {command}", *(line.rstrip() for line in output.splitlines())]
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    main()
