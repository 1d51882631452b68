"""Every command that README and docs show is run, and prints what the page says, or says why it is not run."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ("golden-vectors.md", "read-a-model.md", "recompute-a-layer.md")
"""Pages whose models other tests train too; the others train their own, which takes minutes."""
MODELS: dict[str, dict[str, Any]] = {
    "--model dense1 --quantize --data mnist-small": {"model": "dense1"},
    "--model dense1 --no-bias --quantize --data mnist-small": {"model": "dense1", "bias": False},
    "--model dense2 --quantize --data mnist-small": {"model": "dense2"},
}
VOLATILE = re.compile(r"^python \d.*$|\b\d+(\.\d+)? s\b|\bin \d+\.\d+s\b|/tmp/\S+", re.M)
"""Versions, times and scratch folders."""
UNROUNDED = re.compile(r"\b\d+\.\d{7,}(e[+-]\d+)?\b")
"""Numbers to the last bit: of a model trained on another processor these bits are others, so five digits count."""


def script() -> Any:
    spec = spec_from_file_location("refresh_docs", ROOT / "scripts/refresh_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


docs = script()
PAGES = [path for path in docs.pages() if any(b.is_command for b in docs.blocks(path.read_text()))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def shown(text: str) -> list[str]:
    """The page without what another run may change."""
    return UNROUNDED.sub(lambda found: f"{float(found[0]):.5g}", VOLATILE.sub("…", text)).splitlines()


def check(page: Path, folder: Path, models: Path) -> None:
    """Run all of a page."""
    text = page.read_text()
    fresh = docs.refreshed(text, folder, models)
    changed = [*difflib.unified_diff(shown(text), shown(fresh), name(page), "today", lineterm="", n=1)]
    assert not changed, "\n".join([*changed, f"uv run python scripts/refresh_docs.py {name(page)}"])


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trained models are kept."""
    return tmp_path_factory.mktemp("models")


@pytest.mark.keras
@pytest.mark.golden
@pytest.mark.parametrize("page", [page for page in PAGES if page.name in QUICK], ids=name)
def test_a_quick_page_prints_what_it_shows(page: Path, tmp_path: Path, models: Path, runs: Callable[..., Any]) -> None:
    for how, trial in MODELS.items():
        kept = models / re.sub(r"\W+", "-", how)
        if how in page.read_text() and not kept.exists():
            kept.symlink_to(runs(**trial)[1])
    check(page, tmp_path, models)


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.golden
@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in QUICK], ids=name)
def test_a_page_prints_what_it_shows(page: Path, tmp_path: Path, models: Path) -> None:
    check(page, tmp_path, models)


@pytest.mark.parametrize("page", docs.pages(), ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text()
    found = docs.blocks(text)
    assert all(block.kind for block in found), "a fence without a language may hide commands"
    assert text.count("```") == 2 * len(found)
    assert all(b.kind in docs.KINDS or b.reason for b in found if b.is_command), "text with a prompt is not run"
    prose = re.sub(r"^ *```.*?```$", "", text, flags=re.S | re.M)
    assert not re.search(r"\n\n {4}", prose), "code by indentation may hide commands: fence it"


def test_what_is_not_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = [(page, b) for page in PAGES for b in docs.blocks(page.read_text()) if b.is_command and b.reason]
    with capsys.disabled():
        for page, block in skipped:
            print(f"\n{name(page)}: not run: {block.reason}: {block.body.strip().splitlines()[0]}", end="")  # noqa: T201
    run = [b for page in PAGES for b in docs.blocks(page.read_text()) if b.is_command and not b.reason]
    assert len(run) > 3 * len(skipped)


PAGE = """\
```console
$ echo one; (exit 3)
zero
$ echo $?
0
```

<!-- not run: never -->

```sh
exit 1
```

```sh
echo three > file
```

```python
print(open("file").read())
```

prints

```text
four
```
"""


def test_a_page_is_run_in_order(tmp_path: Path) -> None:
    fresh = docs.refreshed(PAGE, tmp_path, tmp_path)
    expected = PAGE.replace("zero", "one").replace("\n0\n", "\n3\n").replace("four", "three\n")
    assert fresh == expected
    assert [b.reason for b in docs.blocks(PAGE)] == [None, "never", None, None, None]


def test_a_block_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(docs.subprocess.CalledProcessError):
        docs.refreshed("```python\nraise SystemExit(1)\n```\n", tmp_path, tmp_path)


def test_only_the_last_bits_may_differ() -> None:
    here, there = "0.0015823772409930825 * q, -13325.9970703125", "0.0015823773574084044 * q, -13325.998046875"
    assert shown(here) == shown(there) == ["0.0015824 * q, -13326"]
    assert shown("1.234567") != shown("1.234568")
    assert shown("0.00158237724") != shown("0.00158247724")


def test_a_page_that_shows_something_else_fails(tmp_path: Path) -> None:
    page = ROOT / "docs" / "page.md"

    class Page:
        name = "page.md"
        relative_to = staticmethod(page.relative_to)
        read_text = staticmethod(lambda: "```console\n$ echo 1\n2\n```\n")

    with pytest.raises(AssertionError, match="refresh_docs"):
        check(Page(), tmp_path, tmp_path)  # type: ignore[arg-type]  # as much of a Path as is asked for
