"""A stranger's ``.onnx`` ends in one line that says what is wrong with it; nothing outside its folder is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx_models import N, floats, model, save

from quantdiff.cli import main
from quantdiff.references.onnx.file import read

IMAGE = ("n", 2, 4, 4)


def plain() -> Any:
    return model([N("Conv", ["x", "w"], ["y"])], {"x": IMAGE}, ["y"], {"w": floats(3, 2, 3, 3)})


def outside(location: str) -> Any:
    made = plain()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return made


def changed(change: Any) -> Any:
    made = plain()
    change(made)
    return made


def huge_constant(made: Any) -> None:
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend([2**40, 2**40])


def negative_constant(made: Any) -> None:
    made.graph.initializer[0].dims[0] = -3


def short_constant(made: Any) -> None:
    made.graph.initializer[0].raw_data = b"1234"


def huge_input(made: Any) -> None:
    for dim, size in zip(made.graph.input[0].type.tensor_type.shape.dim[1:], (2**30, 2**30, 2), strict=True):
        dim.dim_value = size


def no_nodes(made: Any) -> None:
    del made.graph.node[:]


def twice(made: Any) -> None:
    made.graph.node.append(made.graph.node[0])


def no_inputs(made: Any) -> None:
    del made.graph.input[:]


def text_input(made: Any) -> None:
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


def sequence_input(made: Any) -> None:
    made.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def functions(*bodies: tuple[str, list[Any]]) -> Any:
    """A model whose only node calls the last of some functions of its own."""
    own = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("my", 1)]
    made = model([N(bodies[-1][0], ["x"], ["y"], domain="my")], {"x": IMAGE}, ["y"])
    made.opset_import.append(own[1])
    made.functions.extend(onnx.helper.make_function("my", name, ["a"], ["b"], nodes, own) for name, nodes in bodies)
    return made


def calls(name: str, given: str, made: str) -> Any:
    return onnx.helper.make_node(name, [given], [made], domain="my")


def weights_in_a_function(location: str) -> Any:
    constant = onnx.helper.make_node("Constant", [], ["c"], value=outside(location).graph.initializer[0])
    return functions(("F", [constant, onnx.helper.make_node("Conv", ["a", "c"], ["b"])]))


def branching(*inside: Any, known: bool = True, both: bool = True) -> Any:
    """An ``If``; the condition is known before any data come, or there is only one branch."""
    end = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, None)
    graphs = {"then_branch": onnx.helper.make_graph(inside, "then", [], [end])}
    graphs |= {"else_branch": graphs["then_branch"]} if both else {}
    return model([N("If", ["p"], ["y"], graphs)], {"x": IMAGE}, ["y"], {"p": np.array(known)})


DOUBLING = [("F0", [onnx.helper.make_node("Relu", ["a"], ["b"])])]
DOUBLING += [(f"F{k}", [calls(f"F{k - 1}", "a", "t"), calls(f"F{k - 1}", "t", "b")]) for k in range(1, 40)]
LOOP = model([N("Add", ["x", "b"], ["a"]), N("Relu", ["a"], ["b"])], {"x": IMAGE}, ["b"])
FILLED = model([N("ConstantOfShape", ["s"], ["c"]), N("Add", ["x", "c"], ["y"])], {"x": IMAGE}, ["y"],
               {"s": np.array([2**20, 2**20], np.int64)})  # fmt: skip
CASES = {
    "custom domain": (model([N("Evil", ["x"], ["y"], domain="my.code")], {"x": IMAGE}, ["y"]), "domain 'my.code'"),
    "no such operator": (model([N("Nonsense", ["x"], ["y"])], {"x": IMAGE}, ["y"]), "onnxruntime refuses it"),
    "cycle": (LOOP, "waits for itself"),
    "missing value": (model([N("Add", ["x", "nowhere"], ["y"])], {"x": IMAGE}, ["y"]), "which nothing gives"),
    "missing output": (model([N("Relu", ["x"], ["y"])], {"x": IMAGE}, ["z"]), "given by no node"),
    "made twice": (changed(twice), "made twice"),
    "no nodes": (changed(no_nodes), "without operators"),
    "no inputs": (changed(no_inputs), "which nothing gives"),
    "text": (changed(text_input), "cannot be fed"),
    "sequence": (changed(sequence_input), "no tensor"),
    "huge constant": (changed(huge_constant), "of shape"),
    "negative constant": (changed(negative_constant), "of shape"),
    "short constant": (changed(short_constant), "onnxruntime refuses it"),
    "huge input": (changed(huge_input), "more than any memory holds"),
    "huge value": (FILLED, "more than any memory holds"),
    "function in itself": (functions(("F", [calls("F", "a", "b")])), "without end"),
    "functions that double": (functions(*DOUBLING), "without end"),
    "code of its own in a branch": (branching(calls("Evil", "x", "b")), "onnxruntime refuses it"),
    "a branch that waits for itself": (branching(onnx.helper.make_node("Relu", ["b"], ["b"])), "which nothing gives"),
    "no other branch": (branching(onnx.helper.make_node("Relu", ["x"], ["b"]), both=False), "onnxruntime refuses it"),
    "weights of a function": (weights_in_a_function("../secret"), "outside of its folder"),
    "weights with a percent sign": (outside("%2e%2e/secret"), "missing"),
    "weights above": (outside("../secret"), "outside of its folder"),
    "weights by a whole path": (outside("/etc/passwd"), "outside of its folder"),
    "weights by a link": (outside("link"), "outside of its folder"),
    "weights in a folder": (outside("."), "missing"),
    "weights without a name": (outside(""), "outside of its folder"),
    "weights missing": (outside("weights.data"), "put that file beside the model"),
}


@pytest.mark.parametrize("command", [["diff"], ["diff", "--layers"], ["explain"], ["params"], ["lint"]])
@pytest.mark.parametrize("name", CASES)
def test_one_line_and_exit_2(name: str, command: list[str], tmp_path: Path, candidate: Path) -> None:
    made, words = CASES[name]
    (tmp_path / "secret").write_bytes(bytes(1000))
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    refused(command, save(folder, made), candidate, words)


def test_nodes_in_any_order_take_no_longer(tmp_path: Path) -> None:
    """A chain of 4,000 from its end: walked once for each node it would take minutes."""
    chain = [N("Relu", [f"v{k}"], [f"v{k + 1}"]) for k in range(4000)]
    made = model(chain[::-1], {"v0": IMAGE}, ["v4000"])
    assert [node.output[0] for node in read(save(tmp_path, made)).proto.graph.node] == [n.outputs[0] for n in chain]


def test_weights_of_a_function_lie_in_the_folder_of_the_model(
    tmp_path: Path, candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where the command was started."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(216))
    monkeypatch.chdir(tmp_path)
    refused(["diff"], save(tmp_path / "inside", weights_in_a_function("w.bin")), candidate, "which is missing")


@pytest.mark.parametrize("size", [0, 1, 10, 50, 90])
def test_a_file_that_ends_early(size: int, tmp_path: Path, candidate: Path) -> None:
    path = save(tmp_path, plain())
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) * size // 100])
    refused(["diff"], path, candidate, "")


def test_names_that_are_no_text(tmp_path: Path, candidate: Path) -> None:
    data = model([N("Add", ["one", "two"], ["y"])], {"x": IMAGE}, ["y"]).SerializeToString()
    path = tmp_path / "names.onnx"
    path.write_bytes(data.replace(b"one", b"\xff\xfe\xff"))
    refused(["diff"], path, candidate, "which nothing gives")


def test_noise(tmp_path: Path, candidate: Path) -> None:
    path = tmp_path / "noise.onnx"
    for seed in range(20):
        path.write_bytes(np.random.default_rng(seed).bytes(300))
        refused(["diff"], path, candidate, "")


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes(seed: int, tmp_path: Path, candidate: Path) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(save(tmp_path, plain()).read_bytes())
    for at in rng.integers(0, len(data), 3):
        data[at] = rng.integers(256)
    path = tmp_path / "flipped.onnx"
    path.write_bytes(bytes(data))
    result = run(["diff", "--layers"], path, candidate)
    assert result.exit_code in (0, 1, 2)
    assert "unexpected" not in result.stderr


def refused(command: list[str], path: Path, candidate: Path, words: str) -> None:
    result = run(command, path, candidate)
    (line,) = result.stderr.strip().splitlines()
    assert result.exit_code == 2
    assert line.startswith("error: ")
    assert "unexpected" not in line
    assert words in line
    assert result.stdout == ""


def run(command: list[str], path: Path, candidate: Path) -> Any:
    data = [] if command == ["lint"] else ["--data", str(candidate.with_suffix(".npz"))]
    return CliRunner().invoke(main, [*command, str(path), str(candidate), *data])


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Any ``.tflite`` with data beside it: what is refused is the reference."""
    import small_models

    path = small_models.save(tmp_path_factory.mktemp("candidate"), small_models.dense())
    np.savez(path.with_suffix(".npz"), x=floats(4, 2, 4, 4))
    return path
