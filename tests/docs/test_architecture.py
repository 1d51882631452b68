"""The pages about the house name what is there: rooms, the order of imports, files, words of the glossary."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS, PACKAGE = ROOT / "docs", ROOT / "src/quantdiff"
ARCHITECTURE = (DOCS / "architecture.md").read_text()
ROOMS = sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BASES = (ROOT, PACKAGE, ROOT / "src", DOCS)
FORMER = ("0008-the-room-of-explain-is-called-explaining.md",)
"""Pages that tell of files which are gone."""


def contract() -> list[str]:
    """The rooms as import-linter has them, a line a layer."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (each["layers"] for each in linter["contracts"] if each["type"] == "layers")
    return list(layers)


@pytest.mark.parametrize("room", [name for name in ROOMS if name != "__init__"])
def test_every_room_has_its_row_and_its_box(room: str) -> None:
    path = f"{room}/" if (PACKAGE / room).is_dir() else f"{room}.py"
    assert f"| `{path}` |" in ARCHITECTURE, f"docs/architecture.md has no row for {path}"
    picture = (DOCS / "images/rooms.svg").read_text()
    assert f">{room}</text>" in picture, f"docs/images/rooms.svg has no box for {room}"


def test_every_row_is_a_room() -> None:
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", ARCHITECTURE, re.M)
    assert sorted(rows) == [name for name in ROOMS if name != "__init__"]


def test_the_page_shows_the_order_that_is_enforced() -> None:
    (shown,) = re.findall(r"```text\n(cli .*?)```", ARCHITECTURE, re.S)
    assert shown.splitlines() == contract(), "docs/architecture.md shows another order than pyproject.toml"


def test_the_picture_has_the_rooms_in_that_order() -> None:
    text = (DOCS / "images/rooms.svg").read_text()
    drawn = [(int(y), name) for y, name in re.findall(r'class="name" x="\d+" y="(\d+)">(\w+)<', text)]
    heights = {name: y for y, name in drawn}
    order = [[heights[name] for name in line.split(" | ")] for line in contract()]
    assert all(max(a) <= min(b) for a, b in pairwise(order)), "rooms.svg: a room stands too high"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in FORMER], ids=lambda page: page.name)
def test_a_page_names_files_that_are_there(page: Path) -> None:
    named = re.findall(r"`([\w.]+/[\w./]*?(?:\.py|\.md|\.toml|/))(?:::\w+)?`", page.read_text())
    made = re.findall(r'```\w+ title="([^"\n]+)"', page.read_text())
    gone = [name for name in named if name not in made and not any((base / name).exists() for base in BASES)]
    assert gone == [], f"{page.name} names what is not there"


def test_links_into_the_glossary_lead_somewhere() -> None:
    words = {
        word.lower().replace(" ", "-") for word in re.findall(r"^### (.+)$", (DOCS / "glossary.md").read_text(), re.M)
    }
    links = {link for page in PAGES for link in re.findall(r"glossary\.md#([\w-]+)", page.read_text())}
    assert links <= words
    assert len(links) > len(words) // 2, "words of the glossary are linked where they first appear"
