"""Programs of ``torch.export`` through every command; and files that would run code when torch opens them."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from quantdiff import api
from quantdiff.cli import main

FILES = Path(__file__).parents[2] / "torch_files"
DATA = FILES / "data.npz"
HOW = api.Settings(runtimes=("reference",))
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs the extra [torch], which is not in `dev`")


def run(command: str, reference: Path, candidate: str, *more: str) -> Any:
    data = [] if command == "lint" else ["--data", str(DATA)]
    return CliRunner().invoke(main, [command, str(reference), str(FILES / candidate), *data, *more])


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_without_the_extra_the_extra_is_named() -> None:
    result = run("diff", FILES / "net.pt2", "net_float.tflite")
    assert result.exit_code == 2
    assert result.stderr.strip() == "error: torch is needed here: pip install 'quantdiff[torch]'"


@needs_torch
@pytest.mark.golden
def test_the_float_file_is_the_same_model() -> None:
    outcome = api.diff(FILES / "net.pt2", FILES / "net_float.tflite", DATA, HOW, layers=True)
    assert outcome.comparisons[0].figures.max_abs_error < 1e-4
    (report,) = outcome.layers
    assert report.only_reference == report.only_candidate == ()
    assert [row.reference for row in report.layers][:4] == ["x", "stem.2", "pool", "first.exp.2"]
    assert min(row.figures.sqnr_db for row in report.layers) > 100
    assert min(row.local.sqnr_db for row in report.layers if row.local is not None) > 100


@needs_torch
@pytest.mark.golden
@pytest.mark.parametrize("candidate", ["net_int8_pt2e.tflite", "net_int8_average.tflite"])
@pytest.mark.parametrize("name", ["net.pt2", "net_int8.pt2"])
def test_the_account_closes(name: str, candidate: str) -> None:
    (explanation,) = api.explain(FILES / name, FILES / candidate, DATA, HOW).found
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert explanation.unexplained == 0
    assert explanation.real is not None
    assert explanation.real.max_steps < 1e-3
    if name == "net.pt2":  # the other rounds where the file does not
        assert explanation.rewritten is not None
        assert explanation.rewritten.max_steps < 1e-3


@needs_torch
@pytest.mark.golden
@pytest.mark.parametrize("name", ["net.pt2", "net_int8.pt2"])
def test_a_difference_comes_down_to_an_operator_and_a_reference_without_torch(name: str, tmp_path: Path) -> None:
    candidate, out = "net_int8_pt2e.tflite", tmp_path / "small"
    told = run("reduce", FILES / name, candidate, "--check", "max_steps>=1", "--out", str(out), "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["ended"], len(document["operators"]), document["samples"]) == ("smallest", 1, 1)
    files = [str(out / each) for each in ("reference.tflite", "model.tflite", "inputs.npz")]
    again = CliRunner().invoke(main, ["diff", *files[:2], "--data", files[2], "--fail-on", "max_steps>=1"])
    assert (again.exit_code, document["after"] in again.stderr) == (1, True)


@needs_torch
@pytest.mark.golden
def test_both_programs_and_the_file_have_one_table_of_ranges() -> None:
    answer = api.params(FILES / "net_int8.pt2", FILES / "net_int8_pt2e.tflite", DATA, HOW)
    both = [row for row in answer.rows if row.role == "output" and row.direct is not None and row.file is not None]
    assert len(both) >= 10
    for row in both:
        assert row.keras is not None
        assert row.tflite is not None
        assert row.direct is not None
        assert row.file is not None
        assert np.allclose(row.direct.low + row.direct.high, row.file.low + row.file.high, rtol=1e-6)


# what a stranger may put into a file


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.mark,))


def pickled(mark: Path) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(Runs(mark), buffer)
    return buffer.getvalue()


def crafted(
    path: Path,
    change: Callable[[str, bytes], bytes | None],
    extra: dict[str, bytes] | None = None,
    original: str = "net.pt2",
) -> Path:
    with zipfile.ZipFile(FILES / original) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = change(name.partition("/")[2], source.read(name))
            if data is not None:
                target.writestr(name, data)
        for name, data in (extra or {}).items():
            target.writestr(f"net/{name}", data)
    return path


def program(change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, data: bytes) -> bytes:
        if not name.startswith("models/"):
            return data
        found = json.loads(data)
        change(found)
        return json.dumps(found).encode()

    return changed


def calls(target: str, *arguments: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        node = found["graph_module"]["graph"]["nodes"][0]
        node["target"] = target
        node["inputs"] = [{"name": f"a{k}", "arg": each, "kind": 1} for k, each in enumerate(arguments)]

    return change


def config(change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, data: bytes) -> bytes:
        if not name.endswith("model_weights_config.json"):
            return data
        found = json.loads(data)
        change(next(iter(found["config"].values())))
        return json.dumps(found).encode()

    return changed


def mutates(found: Any) -> None:
    signature = found["graph_module"]["signature"]
    signature["output_specs"].insert(0, {"buffer_mutation": {"arg": {"name": "relu"}, "buffer_name": "b"}})


def observes(found: Any) -> None:
    found["graph_module"]["graph"]["nodes"][2]["target"] = "torch.ops.aten.fused_moving_avg_obs_fake_quant.default"


def writes(found: Any) -> None:
    node = found["graph_module"]["graph"]["nodes"][2]
    node["target"] = "torch.ops.aten.relu_.default"
    node["inputs"][0]["arg"] = {"as_tensor": {"name": "p_fc1_weight"}}


def other_schema(found: Any) -> None:
    found["schema_version"]["major"] = 9


def huge_input(found: Any) -> None:
    found["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][2] = {"as_int": 2**40}


def negative_input(found: Any) -> None:
    found["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][2] = {"as_int": -3}


def no_nodes(found: Any) -> None:
    found["graph_module"]["graph"]["nodes"] = []


def missing_value(found: Any) -> None:
    found["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {"as_tensor": {"name": "nowhere"}}


def pickles(each: Any) -> None:
    each["use_pickle"] = True


def far(each: Any) -> None:
    each["tensor_meta"]["sizes"][0] = {"as_int": 10**6}


def endless(each: Any) -> None:
    each["tensor_meta"] |= {"sizes": [{"as_int": 2**31}], "strides": [{"as_int": 0}]}


def negative(each: Any) -> None:
    each["tensor_meta"]["strides"][0] = {"as_int": -(10**6)}


def elsewhere(each: Any) -> None:
    each["path_name"] = "../../../../etc/passwd"


TEXT = {"as_string": "touch CODE_RAN"}
CASES: dict[str, tuple[Callable[[str, bytes], bytes | None], dict[str, bytes], str]] = {
    "a function of os": (program(calls("torch.serialization.os.system", TEXT)), {}, "code of others is never run"),
    "a function of torch": (program(calls("torch.hub.load", TEXT)), {}, "code of others is never run"),
    "a module": (program(calls("os.system", TEXT)), {}, "code of others is never run"),
    "another space": (program(calls("torch.ops.mine.run.default", TEXT)), {}, "code of others is never run"),
    "loading a library": (program(calls("torch.ops.load_library", TEXT)), {}, "code of others is never run"),
    "a hidden name": (program(calls("torch.ops.aten.__class__.mro", TEXT)), {}, "does not have"),
    "a file that is read": (program(calls("torch.ops.aten.from_file.default", TEXT)), {}, "opens files"),
    "a file that is written": (program(calls("torch.ops.aten.save.default", TEXT)), {}, "opens files"),
    "a method of operator": (program(calls("_operator.methodcaller", TEXT)), {}, "code of others is never run"),
    "no such operator": (program(calls("torch.ops.aten.nonsense.default")), {}, "does not have"),
    "compiled code": (lambda _, data: data, {"data/aotinductor/model/x.so": b"x"}, "never run"),
    "two programs": (lambda _, data: data, {"models/other.json": b"{}"}, "holds 2 programs"),
    "an object of torch's own": (lambda _, data: data, {"data/constants/custom_obj_0": b"x"}, "never run"),
    "a pickle beside the program": (lambda _, data: data, {"extra/notes.txt": b"\x80\x04."}, "is a pickle"),
    "a path that leads out": (lambda _, data: data, {"extra/../../x": b"x"}, "never run"),
    "weights of zeros without end": (config(endless), {}, "damaged"),
    "a negative input": (program(negative_input), {}, "more than any memory holds"),
    "no nodes": (program(no_nodes), {}, "which nothing before it gives"),
    "no program": (lambda name, data: None if name.startswith("models/") else data, {}, "holds 0 programs"),
    "weights that are pickled": (config(pickles), {}, "has to be unpickled"),
    "weights larger than their bytes": (config(far), {}, "damaged"),
    "weights backwards": (config(negative), {}, "damaged"),
    "weights elsewhere": (config(elsewhere), {}, "damaged"),
    "changes a buffer": (program(mutates), {}, "disable_observer"),
    "observers that are on": (program(observes), {}, "disable_observer"),
    "writes into its weights": (program(writes), {}, "disable_observer"),
    "another schema": (program(other_schema), {}, "schema 9"),
    "a huge input": (program(huge_input), {}, "more than any memory holds"),
    "a missing value": (program(missing_value), {}, "which nothing before it gives"),
    "no JSON": (lambda name, data: b"{" if name.startswith("models/") else data, {}, "damaged"),
    "empty JSON": (lambda name, data: b"{}" if name.startswith("models/") else data, {}, "damaged"),
}


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_one_line_and_exit_2(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    change, extra, words = CASES[name]
    refused(crafted(tmp_path / "crafted.pt2", change, extra), words)


@needs_torch
@pytest.mark.parametrize("member", ["data/sample_inputs/model.pt", "data/weights/more.pt"])
def test_a_pickle_that_runs_code_is_never_unpickled(member: str, tmp_path: Path) -> None:
    mark = tmp_path / "CODE_RAN"
    bad = pickled(mark)
    path = crafted(tmp_path / "crafted.pt2", lambda name, data: None if name == member else data, {member: bad})
    refused(path, "holds more than tensors, and unpickling it may run code; nothing is loaded")


@needs_torch
def test_what_zip_files_can_be(tmp_path: Path) -> None:
    """A member that stands there twice, and one that is said to be encrypted."""
    path = crafted(tmp_path / "crafted.pt2", lambda _, data: data)
    whole = path.read_bytes()
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(next(n for n in archive.namelist() if "sample_inputs" in n), b"other")
    refused(path, "twice")
    at = whole.index(b"PK\x01\x02") + 8
    path.write_bytes(whole[:at] + bytes([whole[at] | 1]) + whole[at + 1 :])
    refused(path, "crafted.pt2: ")


@needs_torch
@pytest.mark.parametrize("size", [0, 1, 50, 95])
def test_a_file_that_ends_early(size: int, tmp_path: Path) -> None:
    data = (FILES / "net.pt2").read_bytes()
    (tmp_path / "short.pt2").write_bytes(data[: len(data) * size // 100])
    refused(tmp_path / "short.pt2", "damaged")


@needs_torch
def test_a_file_with_the_training_data_says_so(tmp_path: Path) -> None:
    import torch

    buffer = io.BytesIO()
    torch.save(((torch.zeros(500, 3, 16, 16)[:1],), {}), buffer)
    samples = buffer.getvalue()
    path = crafted(tmp_path / "full.pt2", lambda name, data: samples if "sample_inputs" in name else data)
    outcome = api.diff(path, FILES / "net_float.tflite", DATA, HOW)
    assert any("holds some 500 samples of data" in note for note in outcome.notes)
    found = [finding for finding in api.lint(FILES / "net_float.tflite", path).findings if finding.code == "DATA01"]
    assert [finding.evidence for finding in found] == ["some 500 samples"]
    assert "DATA01" not in {each.code for each in api.lint(FILES / "net_float.tflite", FILES / "net.pt2").findings}


def refused(path: Path, words: str) -> None:
    for command in ("diff", "lint"):
        result = run(command, path, "net_float.tflite")
        (line,) = result.stderr.strip().splitlines()
        assert result.exit_code == 2
        assert line.startswith("error: ")
        assert "unexpected" not in line
        assert words in line
        assert result.stdout == ""
    assert not (path.parent / "CODE_RAN").exists()


MAKES = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 5))

def half():
    return make().eval().half()

def number():
    return 3

def fails():
    raise ValueError("no weights\\nsecond line")

class Jumps(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

def jumps():
    return Jumps().eval()
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(MAKES)
    return path


@needs_torch
@pytest.mark.golden
def test_a_function_of_the_user_makes_the_reference(functions: Path) -> None:
    import torch

    from quantdiff.load.data import load_batch, make_batch

    namespace: dict[str, Any] = {}
    exec(compile(MAKES, "net.py", "exec"), namespace)
    module, batch = namespace["make"]().eval(), load_batch(DATA)
    with torch.no_grad():
        want = module(torch.tensor(batch.arrays["x"])).numpy()
    source = f"{functions}:make"
    first = make_batch({"x": batch.arrays["x"]}, "first")
    last = make_batch({"x": np.moveaxis(batch.arrays["x"], 1, -1)}, "last")
    from quantdiff.references.formats import Options, open_references

    for given in (first, last):
        (reference,) = open_references(source, Options(batch=given))
        assert np.abs(reference.trace(given).outputs[0].array - want).max() < 1e-5
        assert [layer.name for layer in reference.layers() if layer.kernel is not None] == ["0", "4"]
    assert reference.notes == ("net.py:make: came in training mode and is compared in evaluation mode",)


@needs_torch
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("number", "gives a int, not a torch.nn.Module"),
        ("fails", "ValueError while it ran: no weights"),
        ("nothing", "has no function nothing"),
        ("jumps", "torch.export cannot follow the module on these data"),
    ],
)
def test_a_function_that_makes_none(functions: Path, function: str, words: str) -> None:
    result = run("diff", Path(f"{functions}:{function}"), "net_float.tflite")
    assert result.exit_code == 2
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("error: ")]
    assert words in line


@needs_torch
def test_without_data_nobody_knows_its_sizes(functions: Path) -> None:
    result = run("lint", Path(f"{functions}:make"), "net_float.tflite")
    assert result.exit_code == 2
    assert "this command has none" in result.stderr


@needs_torch
@pytest.mark.golden
def test_what_fake_quant_learned_stands_beside_its_grid_the_files_and_the_data() -> None:
    answer = api.params(FILES / "qat.pt2", FILES / "qat.tflite", FILES / "qat.npz", HOW)
    rows = {row.name: row for row in answer.rows}
    for name in ("x/quantize/output", "first.2/quantize/output", "second.2/quantize/output", "fc/quantize/output"):
        learned, grid, file, seen = (ends(rows[name], side) for side in ("direct", "nudged", "file", "keras"))
        assert grid.scale == pytest.approx(file.scale, rel=1e-6)
        assert grid.zero_point == file.zero_point
        assert abs(learned.high[0] - grid.high[0]) <= grid.scale[0]
        assert learned.high != grid.high
        assert seen.high[0] <= grid.high[0] + 1e-6
    kernel = rows["first.0/conv2d/kernel"]
    assert len(ends(kernel, "direct").low) == len(ends(kernel, "file").scale) == 6
    assert "int32 grid" in {reason.code for reason in rows["first.0/conv2d/bias"].reasons}  # the norm is folded in


def ends(row: Any, side: str) -> Any:
    """A side that the row has."""
    found = getattr(row, side)
    assert found is not None
    return found


@needs_torch
@pytest.mark.golden
def test_the_account_of_fake_quant_closes() -> None:
    (explanation,) = api.explain(FILES / "qat.pt2", FILES / "qat.tflite", FILES / "qat.npz", HOW).found
    assert (explanation.closed_reference, explanation.closed_candidate, explanation.unexplained) == (True, True, 0)
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3


@needs_torch
def test_an_observer_that_still_learns_is_refused_with_the_line_that_stops_it(tmp_path: Path) -> None:
    def switched_on(found: Any) -> None:
        for node in found["graph_module"]["graph"]["nodes"]:
            given = {each["name"]: each for each in node["inputs"]}
            if "observer_on" in given:
                given["observer_on"]["arg"] = given["fake_quant_on"]["arg"]

    path = crafted(tmp_path / "observing.pt2", program(switched_on), original="qat.pt2")
    refused(path, "model.apply(torchao.quantization.pt2e.disable_observer)")
