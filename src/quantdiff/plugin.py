"""The pytest plugin: a fixture ``assert_parity``, and ``--quantdiff-report DIR``.

pytest imports this in every run, so it imports nothing that is heavy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantdiff.testing import REPORT, assert_parity

OPTION = "--quantdiff-report"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quantdiff-report DIR``."""
    group = parser.getgroup("quantdiff", "parity of a quantized model with its reference")
    group.addoption(OPTION, metavar="DIR", help="a folder per assert_parity: report.json, report.md, models in memory")


def pytest_configure(config: pytest.Config) -> None:
    """Tell ``assert_parity`` where reports go, in this process and in the workers of pytest-xdist."""
    folder = config.getoption(OPTION)
    if folder is None:
        return
    path = Path(folder).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"{OPTION} {folder}: cannot be written ({error.strerror})") from error
    before = os.environ.get(REPORT)
    os.environ[REPORT] = str(path)
    config.add_cleanup(lambda: _restore(before))


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(REPORT, None)
    else:
        os.environ[REPORT] = before


@pytest.fixture(name="assert_parity")
def assert_parity_fixture() -> Callable[..., Any]:
    """``quantdiff.testing.assert_parity``."""
    return assert_parity
