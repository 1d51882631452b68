"""Options of the golden tests: how many elements, and where to write the table of what was exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from golden import CASES, Maker, exact_on, versions

from quantdiff.sim.runtime import Runtime

ELEMENTS = 20_000
FIRST, LAST = "<!-- exactness: begin -->", "<!-- exactness: end -->"
TABLE = pytest.StashKey[dict[tuple[str, str], tuple[int, int]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-elements", type=int, default=ELEMENTS, help="elements compared per op and runtime")
    parser.addoption("--golden-table", type=Path, default=None, help="Markdown file with a marked place for the table")


@pytest.fixture
def exact(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Assert that the simulator equals the runtime on every element, and note how many there were."""
    elements = request.config.getoption("--golden-elements", ELEMENTS)
    table = request.config.stash.setdefault(TABLE, {})

    def check(op: str, maker: Maker, runtime: Runtime, times: float = 1, cases: int = CASES) -> None:
        # A larger share shows rare bits at the default size; when more is asked for, that alone is enough.
        share = times if elements <= ELEMENTS else min(times, 1)
        count, wrong = exact_on(maker, runtime, int(elements * share), cases)
        table[op, runtime.value] = count, wrong
        assert wrong == 0, f"{wrong} of {count} elements differ from {runtime.value}"

    return check


def pytest_sessionfinish(session: pytest.Session) -> None:
    path: Path | None = session.config.getoption("--golden-table", None)
    if path is not None:
        text = path.read_text(encoding="utf-8")
        before, after = text[: text.index(FIRST) + len(FIRST)], text[text.index(LAST) :]
        table = table_of(session.config.stash.get(TABLE, {}))
        path.write_text(f"{before}\n{table}{after}", encoding="utf-8")


def table_of(results: dict[tuple[str, str], tuple[int, int]]) -> str:
    """Markdown: one row per op, elements compared per runtime; a cell with mismatches says so."""
    runtimes = [runtime.value for runtime in Runtime]

    def cell(op: str, runtime: str) -> str:
        count, wrong = results.get((op, runtime), (0, 0))
        return f"**{wrong:,} differ** of {count:,}" if wrong else f"{count:,}" if count else "–"

    rows = [[op, *(cell(op, runtime) for runtime in runtimes)] for op in sorted({op for op, _ in results})]
    lines = [["op", *runtimes], ["---", *["---:"] * len(runtimes)], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"Elements compared, equal bit for bit unless a cell says otherwise. Versions: {versions()}.\n\n{text}\n"
