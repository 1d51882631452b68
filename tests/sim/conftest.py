"""Options of the golden tests: how many elements, and where to write the table of what was exact."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import cast

import pytest
from golden import CASES, ROUNDS, Maker, exact_on, versions

from quantdiff.run import emulation
from quantdiff.sim.runtime import Runtime

ELEMENTS, SHARE = 20_000, 0.01
FIRST, LAST = "<!-- exactness: begin -->", "<!-- exactness: end -->"
COMPARED = "compared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-elements", type=int, default=ELEMENTS, help="elements compared per op and runtime")
    parser.addoption("--golden-table", type=Path, default=None, help="Markdown file with a marked place for the table")
    parser.addoption("--golden-arm64", action="store_true", help="the runtimes on ARM64, emulated, and no others")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Golden tests of one architecture; unless it is asked for, of ARM64 a seeded share."""
    asked = bool(config.getoption("--golden-arm64", False))
    left = [item for item in items if _on_arm64(item) not in (None, asked)]
    drawn = {item for item in left if not asked and _is_drawn(item)}
    if emulation.root() is None:
        for item in drawn:
            item.add_marker(pytest.mark.skip(reason=f"nothing emulates ARM64 here: {emulation.BRINGS}"))
    config.hook.pytest_deselected(items=[item for item in left if item not in drawn])
    out = {*left} - drawn
    items[:] = [item for item in items if item not in out]


def _is_drawn(item: pytest.Item) -> bool:
    """By its name and the seed, so that every test process draws the same; ``QUANTDIFF_ARM64_SEED`` draws others."""
    return Random(f"{os.environ['QUANTDIFF_ARM64_SEED']} {item.nodeid}").random() < SHARE


def _on_arm64(item: pytest.Item) -> bool | None:
    """Whether a golden test asks for a runtime there; None for all other tests."""
    spec = getattr(item, "callspec", None)
    runtime = None if spec is None else spec.params.get("runtime")
    golden = item.get_closest_marker("golden") is not None
    return runtime.on_arm64 if golden and isinstance(runtime, Runtime) else None


class Tally:
    """What the golden tests compared, gathered from their reports, so that tests may run in several processes."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], tuple[int, int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, value in report.user_properties:
                if name == COMPARED:
                    self.add(*cast("tuple[str, str, int, int]", value))

    def add(self, op: str, runtime: str, count: int, wrong: int) -> None:
        before = self.counts.get((op, runtime), (0, 0))
        self.counts[op, runtime] = before[0] + count, before[1] + wrong

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        path: Path | None = session.config.getoption("--golden-table", None)
        if path is not None and not hasattr(session.config, "workerinput"):
            text = path.read_text(encoding="utf-8")
            start, end = text.index(FIRST) + len(FIRST), text.index(LAST)
            table = table_of(counts_in(text[start:end]) | self.counts)
            path.write_text(f"{text[:start]}\n{table}{text[end:]}", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Tally())


@pytest.fixture
def elements(request: pytest.FixtureRequest) -> int:
    """Elements to compare per op and runtime."""
    return int(request.config.getoption("--golden-elements", ELEMENTS))


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note how many elements were compared and how many differ, of which there must be none."""

    def add(op: str, runtime: Runtime, count: int, wrong: int) -> None:
        request.node.user_properties.append((COMPARED, (op, runtime.value, count, wrong)))
        assert wrong == 0, f"{wrong} of {count} elements differ from {runtime.value}"

    return add


@pytest.fixture
def exact(elements: int, note: Callable[..., None]) -> Callable[..., None]:
    """Compare the simulator with the runtime on many elements."""

    def check(
        op: str, maker: Maker, runtime: Runtime, times: float = 1, cases: int = CASES, rounds: int = ROUNDS
    ) -> None:
        # ``times`` fits the default size: more for rare bits, less for mere copies. Who asks for more gets all of it.
        share = times if elements <= ELEMENTS else 1
        count, wrong = exact_on(maker, runtime, int(elements * share), cases, rounds)
        note(op, runtime, count, wrong)

    return check


def counts_in(table: str) -> dict[tuple[str, str], tuple[int, int]]:
    """What an earlier run wrote, so that a part may be measured anew; nothing where other versions did."""
    if f"Versions: {versions()}." not in table:
        return {}
    found = {}
    for line in table.splitlines():
        op, *cells = (cell.strip() for cell in line.strip("| ").split(" | "))
        for runtime, cell in () if op == "op" else zip(Runtime, cells, strict=False):
            numbers = [int(word.replace(",", "")) for word in re.findall(r"\d[\d,]*", cell)]
            if numbers:
                found[op, runtime.value] = (numbers[-1], numbers[0] if len(numbers) > 1 else 0)
    return found


def table_of(results: dict[tuple[str, str], tuple[int, int]]) -> str:
    """Markdown: one row per op, elements compared per runtime; a cell with mismatches says so."""
    runtimes = [runtime.value for runtime in Runtime]

    def cell(op: str, runtime: str) -> str:
        count, wrong = results.get((op, runtime), (0, 0))
        if not count and "@" in runtime and (op, runtime.partition("@")[0]) in results:
            return "not known"
        return f"**{wrong:,} differ** of {count:,}" if wrong else f"{count:,}" if count else "–"

    rows = [[op, *(cell(op, runtime) for runtime in runtimes)] for op in sorted({op for op, _ in results})]
    lines = [["op", *runtimes], ["---", *["---:"] * len(runtimes)], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"Elements compared, equal bit for bit unless a cell says otherwise. Versions: {versions()}.\n\n{text}\n"
