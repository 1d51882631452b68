"""The table of what was exact: written, read back, and complete."""

from __future__ import annotations

from pathlib import Path

from sim.conftest import FIRST, LAST, counts_in, table_of

from quantdiff.sim.node import kernels

PAGE = Path(__file__).parents[2] / "docs" / "numerics.md"


def test_table_is_read_back_as_it_was_written() -> None:
    counts = {
        ("ADD", "tflm"): (4_000_123, 0),
        ("ADD", "xnnpack"): (2_000, 17),
        ("A, b", "builtin"): (5, 0),
        ("ADD", "builtin@arm64"): (3, 0),
    }
    assert counts_in(table_of(counts)) == counts


def test_table_of_other_versions_is_forgotten() -> None:
    assert counts_in(table_of({("ADD", "tflm"): (1, 0)}).replace("tflite-micro ", "tflite-micro 9.")) == {}


def test_every_kernel_has_a_row_without_mismatches() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index(FIRST) : text.index(LAST)]
    rows = [line.strip("| ").split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    assert "differ**" not in table
    without = {op for op in kernels() if not any(row.split(",")[0].split(" ")[0] == op for row in rows)}
    assert without == set(), "docs/numerics.md has no row: give the op a test in tests/sim/ops, and --golden-table"
