"""The reference pages hold what there is: every command, every key of every JSON document, every public name."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from functools import reduce
from importlib import import_module
from importlib.resources import files
from operator import getitem
from pathlib import Path
from typing import Any

import cheap_trials
import float_pairs
import jsonschema
import numpy as np
import pytest
import small_models
from click.testing import CliRunner
from float_pairs import dense, write_pair

import quantdiff
from quantdiff import api
from quantdiff.cli import main
from quantdiff.compare import comparison
from quantdiff.errors import MissingExtra
from quantdiff.experiment.store import Stored
from quantdiff.experiment.summary import summarize
from quantdiff.report.json.study import sweep_document
from quantdiff.report.text.study import summary_document

REFERENCE = Path(__file__).parents[2] / "docs/reference"
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.S | re.M)
ROW = re.compile(r"^\| (`.*?) \| (.*) \|$", re.M)
NAMED = {
    "accuracy",
    "by_rules",
    "versions",
    "artifacts",
    "runtimes",
    "options",
    "vectors",
    "scores",
    "shares",
    "powers",
    "confinement",
    "metric",
    "files",
}
"""Their keys depend on the model, the runtimes or the versions."""


def test_the_page_of_commands_is_current() -> None:
    code = "import sys; sys.path.insert(0, 'scripts'); import write_commands as s; sys.stdout.write(s.text())"
    root = REFERENCE.parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    page = (REFERENCE / "commands.md").read_text()
    assert page == done.stdout, "run `uv run python scripts/write_commands.py`"


def pair_in(folder: Path) -> list[str]:
    """A float file, the int8 one made from it and their data, as arguments."""
    pair = write_pair(folder, dense())
    np.savez(folder / "pair.npz", allow_pickle=False, **pair.batch.arrays)
    return [str(pair.reference), str(pair.candidate), "--data", str(folder / "pair.npz")]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A document of every command but ``run`` and ``params``, which need training, on a dense layer."""
    folder = tmp_path_factory.mktemp("json")
    model, data = str(small_models.save(folder, small_models.dense())), str(folder / "few.npz")
    x = np.random.default_rng(5).uniform(-2, 2, (40, 8)).astype("f4")
    np.savez(data, allow_pickle=False, x=x, y=np.arange(40) % 3)
    dump = str(folder / "dump.npz")
    both = ["--runtime", "reference", "--runtime", "builtin"]
    files = float_pairs.write_pair(folder, float_pairs.dense())
    np.savez(folder / "x.npz", allow_pickle=False, **files.batch.arrays)
    pair = [str(files.reference), str(files.candidate), "--data", str(folder / "x.npz")]
    own = folder / "own.py"
    own.write_text("def mean(outputs, labels):\n    return float(sum(y.mean() for y in outputs.values()))\n")
    asked = {
        "diff --layers": ["diff", "--layers", model, model, "--data", data, *both],
        "explain": ["explain", model, model, "--data", data, *both, "--runtime", "xnnpack"],
        "explain a pair": ["explain", *pair, "--sample", "0", "--output", "1"],
        "advise": [
            "advise",
            *pair,
            "--until",
            "sqnr_db>=20",
            "--metric",
            f"{own}:mean",
            "--out",
            str(folder / "o.tflite"),
        ],
        "params": ["params", model, "--data", data],
        "runtimes": ["runtimes"],
        "inspect": ["inspect", model],
        "lint": ["lint", model],
        "record": ["record", model, "--data", data, "--out", dump, "--every-tensor"],
        "verify": ["verify", model, "--samples", "8", "--runtime", "xnnpack", "--runtime", f"recorded:{dump}"],
        "work": ["work", model, "--data", data, "--op", "0", "--element", "0,1"],
        "extract": ["extract", model, "--ops", "0", "--data", data, "--out", str(folder / "part.tflite")],
        "reduce": ["reduce", *pair, "--check", "max_abs_error>0", "--out", str(folder / "small"), "--anonymous"],
        "worst": ["worst", *pair, "--for", "0.2s", "--out", str(folder / "worst.npz")],
        "vectors": ["vectors", model, "--data", data, "--out", str(folder / "golden")],
        "overlay": ["overlay", *pair, "--out", str(folder / "overlay")],
        "identify": ["identify", model, "--samples", "8", "--runtime", "reference"],
    }
    found = {name: json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout) for name, words in asked.items()}
    trials = [
        Stored(trial, cheap_trials.result(trial))
        for seed in range(5, 8)
        for trial in (cheap_trials.trial(seed), cheap_trials.trial(seed, "qat-ptq", calibration="test"))
    ]
    summary = json.loads(json.dumps(summary_document(summarize(trials))))
    return {**found, "sweep": sweep_document(trials, "study.db"), "report": summary}


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Every place of a document: ``comparisons[].max_steps``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            name = "*" if at.rpartition(".")[2] in NAMED else key
            yield from paths(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, list | tuple):
        inner = [each for each in value if isinstance(each, dict)]
        yield from (place for each in inner for place in paths(each, f"{at}[]"))
        if not inner:
            yield f"{at}[]"
    else:
        yield at


def keys(title: str) -> dict[str, str]:
    """The keys of a section and what they hold."""
    sections = dict(SECTION.findall((REFERENCE / "json.md").read_text()))
    return {key: what for cells, what in ROW.findall(sections[title]) for key in re.findall(r"`(.*?)`", cells)}


def matches(path: str, key: str) -> bool:
    return fnmatchcase(path.replace("[]", "()"), key.replace("[]", "()"))


def known(command: str) -> dict[str, str]:
    shared = keys("run, diff") if command.startswith("diff") else {}
    return keys("All documents") | shared | keys(command.removesuffix(" a pair"))


COMMANDS = [
    "diff --layers",
    "explain",
    "explain a pair",
    "advise",
    "params",
    "runtimes",
    "inspect",
    "lint",
    "record",
    "verify",
    "work",
    "extract",
    "reduce",
    "worst",
    "vectors",
    "sweep",
    "report",
]
BESIDE = ["overlay", "advise", "extract", "identify", "record", "reduce", "worst"]
"""Commands whose documents the page does not list key by key."""
FREE = {"options", "vectors", "metric", "anonymous", "measured", "chosen", "explanation", "bound", "example", "made_by"}
"""Objects whose keys a schema leaves open, and what may be such an object or nothing."""


@pytest.mark.golden
@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_is_on_the_page(documents: dict[str, Any], command: str) -> None:
    there = known(command)
    lacking = {p for p in paths(documents[command]) if not any(matches(p, key) for key in there)}
    assert lacking == set(), "docs/reference/json.md has no row"


@pytest.mark.golden
@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_of_the_page_is_there(documents: dict[str, Any], command: str) -> None:
    there = set(paths(documents[command]))
    there |= {re.sub(r"(.*\[\]).*", r"\1", path) for path in there}  # a list of objects, by its own name
    sure = {key for key, what in known(command).items() if not what.startswith("where ")}
    if command == "lint":  # nothing is found in this model; tests/report/text/test_lint.py sees to the findings
        sure = {key for key in sure if not key.startswith("findings")}
    gone = {key for key in sure if not any(matches(path, key) for path in there)}
    assert gone == set(), "docs/reference/json.md has a row too many"


def schema_of(command: str) -> Any:
    name = command.split(maxsplit=1)[0]
    return json.loads((files("quantdiff.report.json") / f"schemas/{name}.json").read_text(encoding="utf-8"))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every value that is no list and no object, by its keys."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))
    else:
        yield at


@pytest.mark.golden
@pytest.mark.parametrize("command", [*COMMANDS, *BESIDE])
def test_every_document_fits_its_schema(documents: dict[str, Any], command: str) -> None:
    schema = jsonschema.Draft202012Validator(schema_of(command))
    schema.check_schema(schema.schema)
    schema.validate(documents[command])
    with pytest.raises(jsonschema.ValidationError, match="'unheard_of' was unexpected"):
        schema.validate({**documents[command], "unheard_of": 1})
    for at in {tuple("" if isinstance(k, int) else k for k in p): p for p in places(documents[command])}.values():
        wrong = deepcopy(documents[command])
        *way, last = at
        reduce(getitem, way, wrong)[last] = {"an": "object"}
        free = FREE & {*at} or at[-1] == "begun_with"
        assert free or not schema.is_valid(wrong), at


def test_the_schemas_are_current() -> None:
    code = "import json, sys; sys.path.insert(0, 'scripts'); import write_schemas as s"
    code += "; print(json.dumps({command: s.schema(command) for command in s.DOCUMENTS}))"
    root = REFERENCE.parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    shipped = {command: schema_of(command) for command in main.commands}
    assert json.loads(done.stdout) == shipped, "run `uv run python scripts/write_schemas.py`"


def on_the_page() -> list[str]:
    """What autodoc is asked for."""
    return re.findall(r"^\.\. auto(?:function|class|data|module):: (\S+)$", (REFERENCE / "api.md").read_text(), re.M)


@pytest.mark.keras
def test_every_public_name_is_on_the_page() -> None:
    page = set(on_the_page())
    names = {getattr(quantdiff, name) for name in quantdiff.__all__} | {getattr(api, name) for name in api.__all__}
    errors = {error for _, error in inspect.getmembers(quantdiff.errors, inspect.isclass)}
    assert "quantdiff.errors" in page
    assert names - errors <= {find(name) for name in page}


def find(name: str) -> Any:
    """The thing behind a dotted name."""
    module, _, last = name.rpartition(".")
    try:
        return getattr(import_module(module), last)
    except AttributeError:
        return import_module(name)


def test_every_formula_is_on_the_page() -> None:
    """Those of outputs: each takes ``Stats`` and nothing else."""
    functions = inspect.getmembers(comparison, inspect.isfunction)
    formulas = {
        f"{comparison.__name__}.{name}"
        for name, each in functions
        if [*inspect.signature(each).parameters] == ["stats"]
    }
    assert len(formulas) > 1
    assert formulas - {*on_the_page()} == set(), "docs/reference/api.md, under Numbers"


def public() -> Iterator[tuple[str, Any]]:
    """What is on the page and can be had here: Python 3.14 has no TensorFlow."""
    for name in on_the_page():
        if re.fullmatch(r"quantdiff\.(api\.|quant\.)?\w+", name):
            with suppress(MissingExtra):
                yield name, find(name)


PUBLIC = dict(public())
FUNCTIONS = [name for name, thing in PUBLIC.items() if inspect.isfunction(thing)]
CLASSES = [name for name, thing in PUBLIC.items() if inspect.isclass(thing) and is_dataclass(thing)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_gives_and_raises(name: str) -> None:
    function = find(name)
    text = inspect.getdoc(function) or ""
    assert re.search(r"^Returns:\n +[^:]+$", text, re.M), "missing, or with a colon, before which a type would stand"
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^ +{parameter}: ", text, re.M), parameter
    raises = "Raises:" in text
    assert raises or name in {
        "quantdiff.quant.dequantize",
        "quantdiff.quant.real_range",
        "quantdiff.quant.round_half_away",
    }


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_what_its_fields_hold(name: str) -> None:
    text = inspect.getdoc(find(name)) or ""
    for field in fields(find(name)):
        assert re.search(rf"^ +{field.name}: ", text, re.M), field.name
