"""A reference in a child answers as it does in this process; what happens to the child is one line."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import formula_child
import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner
from formula import Formula, data

from quantdiff import api
from quantdiff.cli import main
from quantdiff.errors import BadData, BadModel, QuantdiffError, RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.load.data import Batch
from quantdiff.quant import Value
from quantdiff.recording import Comparand
from quantdiff.references import formats, hosted
from quantdiff.references.formats import Options, open_references
from quantdiff.references.hosted import HostedReference

pytestmark = [pytest.mark.golden, pytest.mark.hosted]
HOW = api.Settings(runtimes=("reference",))
CURES = "a whole file, fewer samples or a longer --timeout"
Open = Callable[..., HostedReference]


@pytest.fixture
def formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a file that says when it does what; here and in the child there is one format more."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import formula_child\nformula_child.register()\n")
    folders = tmp_path / "site", Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    monkeypatch.setitem(formats.formats(), "formula", formula_child.FORMULA)
    monkeypatch.chdir(tmp_path)

    def open_formula(content: str = "never nothing", options: Options = Options()) -> HostedReference:  # noqa: B008
        Path("x.formula").write_text(content)
        (found,) = open_references("x.formula", options)
        assert isinstance(found, HostedReference)
        return found

    return open_formula


def test_it_says_what_the_format_says(formula: Open) -> None:
    with ExitStack() as opened:
        found = formula("never nothing", Options(True, Path("objects.py"), opened=opened))
        plain = Formula()
        assert (found.name, found.kind, found.inputs, found.outputs) == (
            "x.formula",
            "formula",
            plain.inputs,
            plain.outputs,
        )
        assert found.notes == ("lambda True, objects objects.py",)
        assert found.layers() == plain.layers()
        kernels = [[layer.kernel for layer in each.layers()[1:]] for each in (found, plain)]
        assert repr(kernels[0]) == repr(kernels[1])
        assert found.lower() is None
        told: list[int] = []
        trace = found.trace(data(), told.append)
        assert trace == plain.trace(data()).__class__("formula", trace.outputs, found.notes)
        assert np.array_equal(trace.outputs[0].array, plain.trace(data()).outputs[0].array)
        assert told == [50]
        process = found.child._talk.process.child
    assert process.poll() is not None


def test_its_recorder_shows_and_counts_the_same(formula: Open) -> None:
    x = data().arrays["x"]
    given = {1: Value("first", np.abs(np.random.default_rng(2).normal(size=(50, 6))).astype("f4"))}
    with formula().recorder() as theirs, Formula().recorder() as ours:
        assert (theirs.in_flight, theirs.notes) == (1, ())
        seen, expected = theirs.run([x]), ours.run([x])
        assert seen.flow.places == expected.flow.places
        for key in (0, 1, 2):
            assert np.array_equal(seen.value(key), expected.value(key))
        both = {**given, 2: Value("second", expected.value(2))}
        for key, array in seen.local(both).items():
            assert np.array_equal(array, expected.local(both)[key])
        later = theirs.run([x[::-1]])
        assert np.array_equal(seen.value(2), expected.value(2))  # holds until the run after the next one
        assert np.array_equal(later.value(2), expected.value(2)[::-1])
        pairs = [Comparand(1, given[1], None), Comparand(2, both[2], None)]
        a, b = (each.measure([x], pairs, {2}) for each in (theirs, ours))
        assert [*a.values] == [2]
        for mine, other in ((a.whole, b.whole), (a.local, b.local)):
            assert [*mine] == [1, 2]
            assert all(np.array_equal(mine[key].packed, other[key].packed) for key in (1, 2))


def test_all_commands_take_it(formula: Open, tmp_path: Path) -> None:
    formula()
    file = models.save(tmp_path, models.two_dense(), "int8.tflite")
    for layers in (False, True):
        here, there = (api.diff(each, file, data(), HOW, layers=layers) for each in (Formula(), "x.formula"))
        assert [c.figures for c in there.comparisons] == [c.figures for c in here.comparisons]
    assert there.layers[0].layers == here.layers[0].layers


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ("open bad", BadModel, "x.formula: not a formula (line 1); write it again"),
        ("open segfault", RuntimeCrashed, "formula on x.formula crashed (SIGSEGV)"),
        ("trace abort", RuntimeCrashed, "formula on x.formula crashed (SIGABRT: Check failed: tensor has no shape)"),
        ("layers unexpected", RuntimeFailed, "formula on x.formula failed: KeyError: 'not ours'"),
        ("lower x", RuntimeFailed, "lowering failed"),
        ("open hang", RuntimeHung, f"formula on x.formula said nothing for 2 s and was ended; use {CURES}"),
    ],
)  # fmt: skip
def test_an_error_of_the_child_is_the_same_error_here(
    formula: Open, monkeypatch: pytest.MonkeyPatch, content: str, kind: type[QuantdiffError], words: str
) -> None:
    monkeypatch.setattr(hosted, "TIMEOUT", 2.0)

    def ask_everything() -> None:
        found = formula(content)
        found.layers()
        found.lower()
        found.trace(data())

    with pytest.raises(kind) as error:
        ask_everything()
    assert type(error.value) is kind
    assert str(error.value) == words


def test_data_that_do_not_fit_are_refused_before_they_travel(formula: Open) -> None:
    with pytest.raises(BadData, match="samples of shape"):
        formula().trace(Batch({"x": np.zeros((2, 5), np.float32)}))


@pytest.mark.parametrize("when", ["open", "recorder"])
def test_a_crash_is_one_line_and_exit_status_2(formula: Open, tmp_path: Path, when: str) -> None:
    formula()
    Path("x.formula").write_text(f"{when} segfault")
    models.save(tmp_path, models.two_dense(), "int8.tflite")
    np.save("x.npy", data().arrays["x"])
    command = {"recorder": "params"}.get(when, "diff")
    result = CliRunner().invoke(main, [command, "x.formula", "int8.tflite", "--data", "x.npy"])
    assert (result.exit_code, result.stderr) == (2, "error: formula on x.formula crashed (SIGSEGV)\n")


def test_lint_waits_as_long_as_it_is_told(formula: Open, tmp_path: Path) -> None:
    formula()
    Path("x.formula").write_text("open hang")
    models.save(tmp_path, models.two_dense(), "int8.tflite")
    result = CliRunner().invoke(main, ["lint", "x.formula", "int8.tflite", "--timeout", "1"])
    words = f"error: formula on x.formula said nothing for 1 s and was ended; use {CURES}\n"
    assert (result.exit_code, result.stderr) == (2, words)


@pytest.mark.parametrize("word", ["connect", "huge"])
def test_it_has_no_more_rights_than_it_needs(formula: Open, word: str) -> None:
    with socket.create_server(("127.0.0.1", 0)):  # there is a network here
        with pytest.raises(RuntimeFailed, match=r"OSError: .*unreachable|MemoryError"):
            formula(f"open {word}")
        found = formula()
        assert all(found.child._talk.begin().confined.values()), "this system grants less"


def test_its_temporary_files_go_with_it(formula: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with ExitStack() as opened:
        found = formula("open temporary", Options(opened=opened))
        assert [*(tmp_path / "tmp").glob("*/of-the-framework-*")]
        assert found.layers()
    assert not [*(tmp_path / "tmp").iterdir()]
    assert not [*Path(tempfile.gettempdir()).glob("of-the-framework-*")]


def test_a_host_that_nobody_took_ends(formula: Open) -> None:
    formula()
    with formats.started_early("x.formula", Path("x.formula"), Path("missing.formula"), Formula()):
        processes = [process for _, process in formats._waiting]
        assert len(processes) == 2
        assert formats.host_for("formula") is processes[0]
    assert processes[1].child.poll() is not None
    assert processes[0].child.poll() is None
    processes[0].close()
