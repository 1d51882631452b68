"""Run the commands that README and docs show, and put what they print below them.

    uv run python scripts/refresh_docs.py [FILE.md …]

In a block fenced as ``console`` the lines that begin with ``$ `` are commands; what stands below each is replaced by
what it prints. Blocks ``sh`` and ``python`` are run for their effect; where the word "prints" and a block ``text``
follow, that is replaced, too. ``<!-- not run: REASON -->`` before a block leaves it alone. The blocks of one page share
a scratch folder, in their order, and see the data that a fresh machine has. A block with a title, such as
```python title="test_parity.py", is a file, which is there before they run. A training whose output goes to ``run.txt``
is done once for all pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n\s*)?"
    r"^(?P<indent> *)```(?P<kind>\S*)(?: title=\"(?P<file>[^\"\n]+)\")?[^\n]*\n(?P<body>.*?)^(?P=indent)```$",
    re.S | re.M,
)
KINDS = ("console", "sh", "python")
TRAINING = re.compile(r"quantdiff run (?P<how>.*) --out (?P<out>\S+) > run\.txt")
DONE = "--- done ---"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: what it is called, what it holds, from where to where; why it is not run; which file it is."""

    kind: str
    body: str
    start: int
    end: int
    reason: str | None = None
    file: str | None = None

    @property
    def is_command(self) -> bool:
        """True for what is run or needs a reason why not: also text that shows a prompt."""
        if self.file is not None:
            return False
        return self.kind in KINDS or (self.kind == "text" and bool(re.search(r"^\$ ", self.body, re.M)))


def main() -> None:
    """Refresh the files named, or README and all of docs."""
    with tempfile.TemporaryDirectory() as models:
        for path in [Path(name) for name in sys.argv[1:]] or pages():
            text = path.read_text()
            with tempfile.TemporaryDirectory() as folder:
                fresh = refreshed(text, Path(folder), Path(models), print)
            if fresh != text:
                path.write_text(fresh)
                print(f"refreshed {path}")


def pages() -> list[Path]:
    """README, CONTRIBUTING and all of docs."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(found["kind"], found["body"], found.start("body"), found.end("body"), found["reason"], found["file"])
        for found in BLOCK.finditer(text)
    ]


def refreshed(text: str, folder: Path, models: Path, told: Callable[[str], object] = lambda line: None) -> str:
    """The page with what its commands print today, run in ``folder``; ``models`` keeps what was trained.

    Raises:
        CalledProcessError: a block ``sh`` or ``python`` fails.
    """
    write_files(text, folder)
    parts, last, printed = [], 0, ""
    for block in blocks(text):
        between = text[last : block.start]
        body = block.body
        if block.reason is None and block.kind in KINDS and block.file is None:
            told(body.strip().splitlines()[0])
            printed = output_of(block, folder, models)
            body = printed if block.kind == "console" else body
        elif block.kind == "text" and re.fullmatch(r"```\n+prints\n+```text\n", between):
            body = printed
        parts += [between, body]
        last = block.end
    return "".join([*parts, text[last:]])


def write_files(text: str, folder: Path) -> None:
    """The files that the page shows whole."""
    for block in blocks(text):
        if block.file is not None:
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body)


def output_of(block: Block, folder: Path, models: Path) -> str:
    """What a block prints; of a console the commands as well, each above its own."""
    if block.kind == "console":
        return session(block.body, folder, models)
    program = [sys.executable, "-c"] if block.kind == "python" else ["bash", "-ec"]
    return call([*program, block.body], folder, check=True)


def session(body: str, folder: Path, models: Path) -> str:
    """Every command of a console and what it prints."""
    commands = [line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ ")]
    # Each command's status stays in $? for the next one.
    script = "".join(f"{shared(c, models)}\nstatus=$?; echo '{DONE}'; (exit $status)\n" for c in commands)
    printed = call(["bash", "-c", script], folder, check=False).split(f"{DONE}\n")
    lines: list[str] = []
    for command, output in zip(commands, printed, strict=False):
        lines += [f"$ {command}", *(line.rstrip() for line in output.splitlines())]
    return "\n".join(lines) + "\n"


def shared(command: str, models: Path) -> str:
    """The command, or, for a training that the page does not show, one that copies what was trained before."""
    training = TRAINING.fullmatch(command)
    if training is None:
        return command
    how, out = training["how"], training["out"]
    kept = models / re.sub(r"\W+", "-", how)
    return f"{{ [ -d {kept} ] || quantdiff run {how} --out {kept} > run.txt; }} && cp -r {kept} {out}"


def call(program: list[str], folder: Path, *, check: bool) -> str:
    """What a program prints, on a machine that has no data of its own, and nothing fetched."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KERAS_HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "100",
        "UV_PROJECT": str(ROOT),
    }
    done = subprocess.run(
        program,
        check=False,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if check and done.returncode:
        raise subprocess.CalledProcessError(done.returncode, program, done.stdout)
    return done.stdout


if __name__ == "__main__":
    main()
