"""The site is built without a warning, and needs nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = (
    re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*\"[^>]*>"),
    re.compile(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)|@import[^;]*;"),
    re.compile(r"\b(?:fetch|importScripts)\(\s*['\"](?:https?:)?//[^)]*\)"),
)


def outside(text: str) -> list[str]:
    """What a browser would fetch from elsewhere to show this."""
    return [found for pattern in OUTSIDE for found in pattern.findall(text)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("sphinx") is None:
        pytest.skip("Sphinx is in the group docs: uv run --group docs pytest tests/docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(folder / "html")]
    done = subprocess.run(
        [*command, "-d", str(folder / "trees")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return folder / "html"


def test_every_page_is_there(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}
    assert "Where, by how much and why" in (site / "index.html").read_text()


def test_nothing_is_fetched_from_outside(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"}]
    assert len(files) > 30
    assert {str(path.relative_to(site)): outside(path.read_text()) for path in files if outside(path.read_text())} == {}


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        "body { src: url(https://fonts.example/a.woff2) }",
        '@import "a.css";',
        'fetch("https://example/x")',
    ],
)
def test_what_would_be_fetched_is_seen(text: str) -> None:
    assert outside(text)
    assert not outside('<a href="https://www.sphinx-doc.org/">Sphinx</a> <img src="a.svg">')
