"""``scripts/break_kernels.py`` leaves nothing out that computes."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from quantdiff.sim.enclosures import ENCLOSURES
from quantdiff.sim.node import kernels

ROOT = Path(__file__).parents[1]
SIM = ROOT / "src/quantdiff/sim"
WHOLE = ("floats", "tables", "lstm", "hybrid", "hybrid_4_bit", "dynamic_input", "enclosures", "rounding")
"""Folders and files that kernels share, of which every public function is broken, itself or in one that calls it."""
EXEMPT = {("enclosures", "enclosure")}


@pytest.fixture(scope="module")
def places() -> Iterator[set[tuple[str, str]]]:
    """File and name of each function that the script breaks, and of those of its file that it reaches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        break_kernels = import_module("break_kernels")

    found, trees = set(), dict[str, ast.Module]()
    for file, function in break_kernels.places():
        if file not in trees:
            trees[file] = ast.parse((SIM / f"{file}.py").read_text(encoding="utf-8"))
        found |= {(file, node.name) for node in break_kernels._reached(trees[file], function)}
    yield found
    sys.modules.pop("break_kernels")


def test_every_kernel_and_every_interval_is_broken(places: set[tuple[str, str]]) -> None:
    functions = [kernel.function for kernel in kernels().values()] + list(ENCLOSURES.values())
    assert {(f"ops/{each.__module__.rpartition('.')[2]}", each.__name__) for each in functions} <= places


def test_so_is_all_that_they_share(places: set[tuple[str, str]]) -> None:
    public = set()
    for name in WHOLE:
        for path in [SIM / f"{name}.py"] if (SIM / f"{name}.py").exists() else sorted((SIM / name).glob("*.py")):
            file = str(path.relative_to(SIM).with_suffix(""))
            functions = [
                node.name
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, ast.FunctionDef)
            ]
            public |= {(file, name) for name in functions if not name.startswith("_")}
    assert public - places - EXEMPT == set()
