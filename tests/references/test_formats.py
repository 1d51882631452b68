"""Every folder of ``references`` is a format, and stands wherever a format has to stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import small_models

from quantdiff.references.formats import Format, formats, known_files, open_references

pytestmark = pytest.mark.hosted

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/quantdiff"
FOLDERS = sorted(path.parent.name for path in (PACKAGE / "references").glob("*/__init__.py"))
WITHOUT_FRAMEWORK = ("tflite",)
WITH_FRAMEWORK = [name for name in FOLDERS if name not in WITHOUT_FRAMEWORK]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
KNOWS_FRAMEWORKS = ("experiment", "references")


def contract() -> dict[str, Any]:
    """The one that keeps frameworks behind their adapters."""
    linter = PROJECT["tool"]["importlinter"]
    (found,) = (each for each in linter["contracts"] if "framework" in each["name"])
    return dict(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_registers_itself(folder: str) -> None:
    assert folder in formats(), f"references/{folder}/__init__.py has no FORMAT"
    assert all(name in known_files() for name in formats()[folder].files)


@pytest.mark.parametrize("folder", WITH_FRAMEWORK)
def test_nobody_else_may_import_a_folder_that_knows_a_framework(folder: str) -> None:
    assert f"quantdiff.references.{folder}" in contract()["forbidden_modules"], "pyproject.toml: forbidden_modules"


@pytest.mark.parametrize("folder", WITH_FRAMEWORK)
def test_an_extra_brings_its_framework_which_nobody_else_may_import(folder: str) -> None:
    framework = formats()[folder].framework
    assert framework is not None
    brought = PROJECT["project"]["optional-dependencies"].get(framework.extra, ())
    assert any(re.match(rf"{framework.package}\b(?!-)", each) for each in brought), (
        f"pyproject.toml: optional-dependencies: no extra {framework.extra} with {framework.package}"
    )
    assert framework.package.replace("-", "_") in contract()["forbidden_modules"], "pyproject.toml: forbidden_modules"


@pytest.mark.parametrize("folder", WITH_FRAMEWORK)
def test_a_format_has_tests_of_its_own(folder: str) -> None:
    assert list((Path(__file__).parent / folder).glob("test_*.py")), f"there is no test in tests/references/{folder}/"


def test_the_contract_holds_for_every_room() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    wanted = {f"quantdiff.{room}" for room in rooms - {"__init__", *KNOWS_FRAMEWORKS}}
    wanted |= {f"quantdiff.references.{name}" for name in ("reference", *WITHOUT_FRAMEWORK)}
    assert wanted - set(contract()["source_modules"]) == set(), "pyproject.toml: source_modules"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_path_may_be_a_string(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def note(source: Any, options: Any) -> tuple[Any, ...]:
        opened.append(source)
        return ()

    each = formats()[name]
    monkeypatch.setitem(formats(), name, Format(each.files, each.takes, note, each.save))
    path = small_models.save(tmp_path, small_models.dense()).rename(tmp_path / f"model{each.files[0]}")
    open_references(str(path))
    assert opened == [path]
