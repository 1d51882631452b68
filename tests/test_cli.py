"""The command line as people meet it: status, one clear line for every bad input, nothing half-written."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import float_pairs
import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result

from quantdiff import cli
from quantdiff.cli import main


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    models.save(tmp_path, models.dense(), "int8.tflite")
    models.save(tmp_path, models.dense(out="float32"), "float_out.tflite")
    models.save(tmp_path, models.float_dense(), "float.tflite")
    models.save(tmp_path, models.ABORTS, "aborts.tflite")
    x = rng.uniform(-2, 2, (300, models.DEPTH)).astype(np.float32)
    np.savez(tmp_path / "data.npz", allow_pickle=False, x=x, y=rng.integers(0, models.UNITS, 300))
    return tmp_path


def trouble(result: Result, *words: str) -> None:
    """Exit status 2, nothing on standard output, one line on standard error that has these words."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.golden
def test_diff_says_same_with_0_and_different_with_1(folder: Path) -> None:
    same = invoke("diff", folder / "int8.tflite", folder / "float_out.tflite", "--data", folder / "data.npz")
    assert same.exit_code == 0, same.output
    assert "passed" in same.stdout
    runtimes = "--runtime", "reference", "--runtime", "builtin"
    loud = invoke("diff", folder / "float.tflite", folder / "int8.tflite", "--data", folder / "data.npz", *runtimes)
    assert loud.exit_code == 1
    assert "FLOAT" not in loud.stdout  # both sides are .tflite and carry their runtime's name
    assert "TFLITE:REFERENCE VS TFLITE:BUILTIN" in loud.stdout


@pytest.mark.golden
def test_fail_on_decides_what_counts_as_different(folder: Path) -> None:
    pair = folder / "float.tflite", folder / "int8.tflite", "--data", folder / "data.npz"
    assert invoke("diff", *pair, "--fail-on", "max_steps>1000").exit_code == 0
    assert invoke("diff", *pair, "--fail-on", "max_steps>1000", "--fail-on", "not_close>0.02").exit_code == 1


@pytest.mark.golden
def test_json_is_one_document_with_the_promised_keys(folder: Path) -> None:
    result = invoke("diff", folder / "int8.tflite", folder / "int8.tflite", "--data", folder / "data.npz", "--json")
    document = json.loads(result.stdout)
    assert document["schema"] == "quantdiff/1"
    assert set(document["accuracy"]) == {"reference:tflite:xnnpack", "tflite:xnnpack"}
    (comparison,) = document["comparisons"]
    promised = "reference candidate count tolerance passed max_abs_error mean_abs_error max_relative_error not_close"
    promised += " differing max_steps sqnr_db cosine top1_agreement"
    assert set(promised.split()) <= set(comparison)
    assert comparison["count"] == 300 * models.UNITS
    assert comparison["sqnr_db"] == "Infinity"
    assert comparison["passed"] is True
    assert document["artifacts"]["data"] == str(folder / "data.npz")


@pytest.mark.golden
def test_a_runtime_that_crashes_leaves_the_others_their_say(folder: Path) -> None:
    x = np.ones((3, 4), np.float32)
    np.savez(folder / "two.npz", allow_pickle=False, a=x, b=x)
    models.save(folder, models.add(), "add.tflite")
    data = "--data", folder / "two.npz"
    result = invoke("diff", folder / "add.tflite", folder / "aborts.tflite", *data, "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["comparisons"] == []
    assert document["failures"][0]["runtime"] == "xnnpack"
    assert "xnnpack on aborts.tflite crashed (SIGABRT" in result.stderr
    trouble(invoke("diff", folder / "aborts.tflite", folder / "add.tflite", *data), "SIGABRT")


@pytest.mark.golden
def test_a_reference_takes_the_first_runtime_that_runs_it(folder: Path) -> None:
    model = models.save(folder, models.dense("uint8"), "legacy.tflite")  # TFLM has no uint8 FULLY_CONNECTED
    runtimes = "--runtime", "tflm", "--runtime", "builtin", "--runtime", "reference"
    result = invoke("diff", model, model, "--data", folder / "data.npz", *runtimes, "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert [failure["runtime"] for failure in document["failures"]] == ["tflm"]
    assert [c["candidate"] for c in document["comparisons"]] == ["tflite:builtin", "tflite:reference"]
    assert document["comparisons"][0]["reference"] == "reference:tflite:builtin"


@pytest.mark.golden
def test_a_hang_is_ended(folder: Path) -> None:
    models.save(folder, models.hangs(), "loop.tflite")
    np.save(folder / "x.npy", np.ones((2, 4), np.float32))
    pair = folder / "loop.tflite", folder / "loop.tflite", "--data", folder / "x.npy"
    trouble(invoke("diff", *pair, "--timeout", "1.5", "--runtime", "reference"), "reference on loop.tflite", "1.5 s")


def test_a_damaged_model(folder: Path) -> None:
    whole = (folder / "int8.tflite").read_bytes()
    (folder / "torn.tflite").write_bytes(whole[: len(whole) // 2])
    trouble(
        invoke("diff", folder / "torn.tflite", folder / "int8.tflite", "--data", folder / "data.npz"), "torn.tflite"
    )


@pytest.mark.golden
def test_flipped_bits_never_kill_the_process(folder: Path) -> None:
    whole = (folder / "int8.tflite").read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(12):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            damaged[at] ^= 1 << int(rng.integers(8))
        (folder / "flipped.tflite").write_bytes(damaged)
        pair = folder / "int8.tflite", folder / "flipped.tflite", "--data", folder / "data.npz"
        result = invoke("diff", *pair, "--timeout", "10")
        assert result.exit_code in (0, 1, 2)
        if result.exit_code == 2:
            assert result.stderr.startswith("error: ")
            assert "unexpected" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.tflite", "int8.tflite", "--data", "data.npz"), ("none.tflite: no such model",)),
        (("int8.tflite", "none.h5", "--data", "data.npz"), ("none.h5: no such model",)),
        (("int8.tflite", "data.npz", "--data", "data.npz"), ("data.npz: this is no TFLite model",)),
        (("int8.tflite", "empty.tflite", "--data", "data.npz"), ("empty.tflite: the file is empty",)),
        (("int8.tflite", "int8.tflite", "--data", "none.npz"), ("none.npz: no such data file",)),
        (("int8.tflite", "int8.tflite", "--data", "nan.npz"), ("nan.npz", "NaN or infinity", "sample 1")),
        (("int8.tflite", "int8.tflite", "--data", "no_rows.npz"), ("no_rows.npz", "is empty")),
        (("int8.tflite", "int8.tflite", "--data", "wide.npz"), ("(9) do not fit", "(8)")),
        (("int8.tflite", "int8.tflite", "--data", "pickled.npy"), ("never loaded",)),
        (("int8.tflite", "int8.tflite", "--data", "torn.npz"), ("torn.npz: not a readable",)),
        (("int8.tflite", "int8.tflite", "--data", "int8.tflite"), ("int8.tflite: not a readable .npz or .npy",)),
        (("int8.tflite", "int8.tflite", "--data", "data.npz", "--fail-on", "bogus>1"), ("no metric 'bogus'",)),
        (("int8.tflite", "add.tflite", "--data", "data.npz"), ("has 1 array(s), add.tflite has 2 inputs",)),
    ],
)
def test_bad_input_gets_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    x = np.zeros((3, models.DEPTH), np.float32)
    np.savez(folder / "nan.npz", allow_pickle=False, x=np.where([[0], [1], [0]], np.nan, x))
    np.savez(folder / "no_rows.npz", allow_pickle=False, x=x[:0])
    np.savez(folder / "wide.npz", allow_pickle=False, x=np.zeros((3, 9)))
    np.save(folder / "pickled.npy", np.array([{}]), allow_pickle=True)
    (folder / "torn.npz").write_bytes((folder / "data.npz").read_bytes()[:200])
    (folder / "empty.tflite").touch()
    models.save(folder, models.add(), "add.tflite")
    monkeypatch.chdir(folder)
    trouble(invoke("diff", *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "dense0"), ("no model 'dense0' in the zoo",)),
        (("--model", "vgg"), ("CNN and dense1",)),
        (("--data", "none.npz"), ("none.npz: no such data set",)),
        pytest.param(("--data", "data.npz"), ("lacks x_train",), marks=pytest.mark.keras),
    ],
)
def test_run_refuses_before_it_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KERAS_HOME", str(folder))
    result = invoke("run", "--out", "made", *arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    for word in words:
        assert word in result.stderr
    assert not (folder / "made").exists()


@pytest.mark.parametrize(
    "arguments", [("run", "--seed", "-1"), ("run", "--epochs", "0"), ("diff",), ("run", "--runtime", "gpu")]
)
def test_wrong_options_are_trouble(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_debug_shows_the_traceback(folder: Path) -> None:
    result = invoke("diff", folder / "none.tflite", folder / "int8.tflite", "--data", folder / "data.npz", "--debug")
    assert type(result.exception).__name__ == "BadModel"


def test_an_unexpected_error_is_one_line_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantdiff.load.tflite.read_model", lambda *_: 1 / 0)
    result = invoke("diff", folder / "int8.tflite", folder / "int8.tflite", "--data", folder / "data.npz")
    trouble(result, "unexpected ZeroDivisionError", "--debug")


def test_an_interrupt_is_neither_same_nor_different(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quantdiff.load.tflite.read_model", interrupt)
    result = invoke("diff", folder / "int8.tflite", folder / "int8.tflite", "--data", folder / "data.npz")
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted; nothing half-written remains\n"


@pytest.mark.golden
def test_names_with_markup_and_control_characters_stay_text(folder: Path) -> None:
    name = "[red]\x1b[31mx"
    models.save(folder, models.dense(), f"{name}.tflite")
    pair = folder / f"{name}.tflite", folder / f"{name}.tflite"
    result = invoke("diff", *pair, "--data", folder / "none.npz")
    assert "\x1b" not in result.stderr
    trouble(invoke("diff", pair[0], folder / "int8.tflite", "--data", folder / "nothing\x1b.npz"), "no such data file")


HEAVY = "tensorflow, tf_keras, keras, onnx, onnxruntime, torch, ai_edge_litert, tflite_micro, bokeh, jinja2, numba"


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after ``code``."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import quantdiff",
        "import quantdiff; quantdiff.diff; quantdiff.load_tflite; quantdiff.Settings",
        "from click.testing import CliRunner; from quantdiff.cli import main; CliRunner().invoke(main, ['--help'])",
    ],
)
def test_heavy_packages_arrive_last(code: str) -> None:
    assert not modules_after(code) & set(HEAVY.split(", "))


@pytest.mark.parametrize("module", ["run.serving", "run.forkserver", "references.formats"])
def test_what_starts_and_confines_children_needs_no_numpy(module: str) -> None:
    assert "numpy" not in modules_after(f"import quantdiff.{module}")


def test_help_does_not_even_need_numpy() -> None:
    code = "from click.testing import CliRunner; from quantdiff.cli import main; CliRunner().invoke(main, ['--help'])"
    assert not modules_after(code) & {"numpy", "rich"}


@pytest.mark.golden
def test_diff_of_two_tflite_files_never_imports_tensorflow(folder: Path) -> None:
    arguments = [str(folder / "int8.tflite")] * 2 + ["--data", str(folder / "data.npz")]
    code = (
        "from click.testing import CliRunner; from quantdiff.cli import main\n"
        f"result = CliRunner().invoke(main, ['diff', *{arguments}]); assert result.exit_code == 0"
    )
    assert not modules_after(code) & set(HEAVY.split(", "))


@pytest.mark.golden
def test_explain_of_a_float_file_never_imports_tensorflow(tmp_path: Path) -> None:
    files = float_pairs.write_pair(tmp_path, float_pairs.dense())
    np.savez(tmp_path / "data.npz", allow_pickle=False, **files.batch.arrays)
    arguments = [str(files.reference), str(files.candidate), "--data", str(tmp_path / "data.npz")]
    code = (
        "from click.testing import CliRunner; from quantdiff.cli import main\n"
        f"result = CliRunner().invoke(main, ['explain', *{arguments}]); assert result.exit_code == 0, result.stderr"
    )
    assert not modules_after(code) & {"tensorflow", "tf_keras", "keras"}


def test_a_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = find_spec
    monkeypatch.setattr("quantdiff.run.runtimes.find_spec", lambda name: None if "micro" in name else there(name))
    pair = folder / "int8.tflite", folder / "int8.tflite", "--data", folder / "data.npz"
    trouble(invoke("diff", *pair, "--runtime", "tflm"), "runtime tflm is not installed", "quantdiff[tflm]")
    twice = (pair[1], pair[1], *pair[2:], "--runtime", "reference", "--runtime", "builtin", "--runtime", "tflm")
    trouble(invoke("explain", *twice), "runtime tflm is not installed", "quantdiff[tflm]")


def test_explain_stays_a_function_after_it_was_used() -> None:
    script = (
        "import quantdiff, quantdiff.ladder.explanation as e; assert callable(quantdiff.explain), quantdiff.explain"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "arguments", [("run", "--model", "dense0"), ("sweep", "--models", "dense0", "--seeds", "0", "--conditions", "all")]
)
def test_a_model_that_is_none_is_one_line_even_without_data(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "no model 'dense0' in the zoo" in result.stderr


def test_the_list_of_commands_says_each_in_one_whole_line() -> None:
    lines = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["--help"]).stdout.partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(main.commands)
    assert all(line.endswith(".") and len(line) <= 80 for line in lines)


@pytest.mark.parametrize("name", main.commands)
def test_help_groups_options_and_ends_with_an_example_that_parses(name: str) -> None:
    said = CliRunner(env={"COLUMNS": "80"}).invoke(main, [name, "--help"]).stdout
    assert "\nOutput:\n" in said
    assert max(map(len, said.splitlines())) <= 80
    example = said.partition("Example:\n")[2]
    words = shlex.split(example.replace("\\\n", "").partition(" > ")[0])
    assert words[:2] == ["quantdiff", name]
    main.commands[name].make_context(name, words[2:])  # refuses options that are not there


def test_a_shell_completes_commands() -> None:
    asked = {**os.environ, "_QUANTDIFF_COMPLETE": "bash_complete", "COMP_WORDS": "quantdiff ver", "COMP_CWORD": "1"}
    code = "from quantdiff.cli import console; import sys; sys.argv = ['quantdiff']; console()"
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=False)
    assert done.stdout == "plain,verify\n"


@pytest.mark.parametrize(
    "line",
    [
        "extract int8.tflite --ops 0 --out int8.tflite",
        "extract int8.tflite --ops 0 --out part.tflite --inputs ./part.tflite",
        "record int8.tflite#main --data data.npz --out data.npz",
        "record int8.tflite --data data.npz --runtime recorded:data.npz --out data.npz",
        "diff float.tflite int8.tflite --data data.npz --html link.tflite",
        "advise float.tflite int8.tflite --data data.npz --until max_steps<=1 --recipe set --denylist set",
        "reduce float.tflite model.tflite --data data.npz --check max_steps>1 --out .",
    ],
)
def test_what_is_read_is_not_written_over(folder: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "int8.tflite").rename(folder / "model.tflite")
    (folder / "int8.tflite").write_bytes((folder / "model.tflite").read_bytes())
    (folder / "link.tflite").symlink_to("float.tflite")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.chdir(folder)
    trouble(invoke(*line.split()), "choose another name")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "line",
    [
        "record int8.tflite --data data.npz --runtime builtin --runtime reference --out dump.npz",
        "worst float.tflite int8.tflite --data random:2 --data data.npz --out worst.npz",
    ],
)
def test_what_is_given_twice_is_not_dropped(folder: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = [*folder.iterdir()]
    result = invoke(*line.split())
    assert result.exit_code == 2
    assert "this command takes one" in result.stderr
    assert [*folder.iterdir()] == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("diff",), "Missing argument 'REFERENCE'. See: quantdiff diff --help"),
        (("diff", "a", "b"), "Missing option '--data'. See: quantdiff diff --help"),
        (("diff", "a", "--zzz"), "No such option '--zzz'. See: quantdiff diff --help"),
        (("verify", "m.tflite", "--samples", "x"), "for '--samples': 'x' is not"),
        (("nothing",), "No such command 'nothing'. See: quantdiff --help"),
    ],
)
def test_a_wrong_line_is_one_line(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["quantdiff", *arguments])
    assert cli._status() == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith("error: ")
    assert says in line


def test_the_command_alone_shows_its_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["quantdiff"])
    assert cli._status() == 2
    assert "Commands:" in capsys.readouterr().err
