"""Break each kernel of the simulator once and see a test turn red.

    uv run python scripts/break_kernels.py [OP or FILE …]

In a copy of the sources one number, operator or comparison of a kernel is changed, and the tests of its ops run, until
the first change that a test notices. So it is with what kernels share, ``TABLE``. Prints a line per kernel; one that
no change turns red ends the script with 1.
"""

from __future__ import annotations

import ast
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from quantdiff.sim.node import kernels

ROOT = Path(__file__).resolve().parent.parent
SIM = Path("src/quantdiff/sim")
TRIES = 8
NO_TEST = 5
"""What pytest ends with where nothing was chosen."""
SECONDS = 600
"""After which a change counts as noticed: something goes round for ever."""
NAMED = {"UNIDIRECTIONAL_SEQUENCE_LSTM": "test_lstm"}
"""Ops whose tests do not bear their name."""
TABLE = ROOT / "scripts/break_kernels.csv"
"""Beside the kernels: functions of a file under ``sim``, the tests that see them, the words that choose among these."""
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


def functions() -> dict[tuple[str, str], list[str]]:
    """File and name of each function that computes ops → these ops."""
    found: dict[tuple[str, str], list[str]] = {}
    for op, each in sorted(kernels().items()):
        file = each.function.__module__.rpartition(".")[2]
        found.setdefault((f"ops/{file}", each.function.__name__), []).append(op)
    return found


def places() -> dict[tuple[str, str], tuple[str, str, list[str]]]:
    """File and name of each function → file of tests, the words that choose among them, and how the place is named."""
    by_op = {
        place: (".", " or ".join(NAMED.get(op, op) for op in ops), [*ops, place[0].rpartition("/")[2]])
        for place, ops in functions().items()
    }
    return by_op | {place: (*tests, [place[0], place[0].rpartition("/")[2]]) for place, tests in shared().items()}


def shared() -> dict[tuple[str, str], tuple[str, str]]:
    """File and name of each function of ``TABLE`` → file of tests, and the words."""
    with TABLE.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    return {(row["file"], name): (row["tests"], row["words"]) for row in rows for name in row["functions"].split()}


def changes(source: str, function: str) -> Iterator[tuple[str, str]]:
    """The source with one thing changed in the function or in those of its file that it calls, and what it was."""
    count = len(_points(_reached(ast.parse(source), function)))
    for number in range(count):
        tree = ast.parse(source)
        told = _change(_points(_reached(tree, function))[number])
        yield ast.unparse(ast.fix_missing_locations(tree)), told


def _reached(tree: ast.Module, function: str) -> list[ast.FunctionDef | ast.ClassDef]:
    by_name = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found, waiting = list[ast.FunctionDef | ast.ClassDef](), [function]
    for name in waiting:  # grows while it is walked
        node = by_name[name]
        found.append(node)
        called = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        waiting += [other for other in by_name if other in called and other not in waiting]
    return found


def _points(functions: list[ast.FunctionDef | ast.ClassDef]) -> list[ast.AST]:
    """What can be changed, in each kind the last line first.

    Arithmetic, then numbers, then the order of arguments, then what is returned.
    """
    kinds: tuple[Callable[[ast.AST], bool], ...] = (
        lambda node: isinstance(node, ast.BinOp) and type(node.op) in SWAPS,
        lambda node: isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS,
        lambda node: isinstance(node, ast.Constant) and type(node.value) in (int, bool),
        lambda node: isinstance(node, ast.Call) and len(node.args) > 1,
        lambda node: isinstance(node, ast.Return) and node.value is not None,
    )
    nodes = [node for each in functions for line in reversed(each.body) for node in ast.walk(line)]
    return [node for kind in kinds for node in nodes if kind(node)]


def _change(node: ast.AST) -> str:
    before = ast.unparse(node)
    if isinstance(node, ast.BinOp):
        node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]
    elif isinstance(node, ast.Call):
        node.args[0], node.args[1] = node.args[1], node.args[0]
    elif isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.parse(f"1 - np.asarray({ast.unparse(node.value)})", mode="eval").body
    return f"{before} → {ast.unparse(node)}"


def is_red(copy: Path, tests: str, words: str) -> bool:
    """Whether one of these tests fails with the sources in ``copy``; a crash or an endless loop counts as a failure."""
    command = [sys.executable, "-m", "pytest", f"tests/sim/{tests}", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += ["-m", "not slow"]  # those that take a second and more, too
    command += ["-k", words] if words else []
    environment = {
        **os.environ,
        "PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy / 'tests'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(command, cwd=copy, env=environment, check=False, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return True
    if done.returncode == NO_TEST:
        raise SystemExit(f"tests/sim/{tests}: no test is called {words}")
    return done.returncode != 0


def main(wanted: list[str]) -> int:
    """One line per kernel."""
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("src", "tests", "docs"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for (file, function), (tests, words, names) in places().items():
            if not wanted or set(wanted) & set(names):
                target = copy / SIM / f"{file}.py"
                source = target.read_text(encoding="utf-8")
                survived += not broken(target, source, function, partial(is_red, copy, tests, words))
                target.write_text(source, encoding="utf-8")
    return 1 if survived else 0


def broken(target: Path, source: str, function: str, red: Callable[[], bool]) -> bool:
    """Try one change after another until a test notices."""
    for number, (text, told) in enumerate(changes(source, function)):
        if number == TRIES:
            break
        target.write_text(text, encoding="utf-8")
        if red():
            print(f"{target.stem}.{function}: {' '.join(told.split())[:100]}", flush=True)
            return True
    print(f"{target.stem}.{function}: NOTHING TURNED A TEST RED", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
