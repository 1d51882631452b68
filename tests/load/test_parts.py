"""A model inside a file: a signature of a ``.tflite``, a section of a ``.litertlm``; every command takes either."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import small_models
from click.testing import CliRunner, Result
from written_models import Op, Sig, Sub, T, write_model

from quantdiff.cli import main
from quantdiff.errors import BadModel
from quantdiff.load.containers import Section
from quantdiff.load.data import Batch
from quantdiff.load.tflite import container_sections, load_tflite
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.run.runner import RuntimeProcess

BLOCK = 16 * 1024
KINDS = {"TFLiteModel": 3, "SP_Tokenizer": 4, "LlmMetadataProto": 5}
STRING_VALUE = 9  # in the union VData
Written = tuple[str, bytes, Mapping[str, str]]


def litertlm(written: Sequence[Written], major: int = 1) -> bytes:
    """A container as LiteRT-LM's builder lays it out: a header, and every section on a block of its own."""
    builder, places, body = flatbuffers.Builder(1024), [], b""
    for _, content, _ in written:
        body += bytes(-len(body) % BLOCK)
        places.append((BLOCK + len(body), BLOCK + len(body) + len(content)))
        body += content
    objects = []
    for (kind, _, items), (begin, end) in zip(written, places, strict=True):
        pairs = [_pair(builder, key, value) for key, value in items.items()]
        vector = _vector(builder, pairs)
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        builder.PrependUint64Slot(1, begin, 0)
        builder.PrependUint64Slot(2, end, 0)
        builder.PrependUint8Slot(3, KINDS[kind], 0)
        objects.append(builder.EndObject())
    metadata = _table(builder, {0: _vector(builder, objects)})
    builder.Finish(_table(builder, {1: metadata}))
    header = bytes(builder.Output())
    head = b"LITERTLM" + struct.pack("<3I4xQ", major, 5, 0, 32 + len(header)) + header
    return head.ljust(BLOCK, b"\0") + body


def _pair(builder: flatbuffers.Builder, key: str, value: str) -> int:
    text = _table(builder, {0: builder.CreateString(value)})
    name = builder.CreateString(key)
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint8Slot(1, STRING_VALUE, 0)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    return int(builder.EndObject())


def _table(builder: flatbuffers.Builder, slots: Mapping[int, int]) -> int:
    builder.StartObject(max(slots) + 1)
    for slot, offset in slots.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def entry(op: str, name: str) -> Sub:
    tensors = [T(each, (1, 4), "float32", shape_signature=(-1, 4)) for each in ("a", "b", "y")]
    return Sub(tensors, [Op(op, ["a", "b"], ["y"], small_models.NONE)], ["a", "b"], ["y"], name)


ENDS = {"a": "a", "b": "b"}, {"sum": "y"}
TWO = write_model(
    [entry("ADD", "adds"), entry("MUL", "multiplies")], [Sig("add", *ENDS), Sig("mul", *ENDS, subgraph=1)]
)
X = np.arange(8, dtype=np.float32).reshape(2, 4)
DATA = Batch({"a": X, "b": X + 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("parts")
    (made / "two.tflite").write_bytes(TWO)
    sections = [
        ("LlmMetadataProto", b"proto", {}),
        ("TFLiteModel", small_models.dense(), {"model_type": "tf_lite_embedder"}),
        ("SP_Tokenizer", b"words", {}),
        ("TFLiteModel", TWO, {"model_type": "tf_lite_prefill_decode", "backend": "cpu"}),
    ]
    (made / "lm.litertlm").write_bytes(litertlm(sections))
    np.savez(made / "data.npz", allow_pickle=False, **DATA.arrays)
    return made


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def given(path: Path) -> np.ndarray:
    with RuntimeProcess("builtin") as process:
        (output,) = trace_tflite(load_tflite(path), DATA, process).outputs
    return output.array


@pytest.mark.golden
@pytest.mark.parametrize("file", ["two.tflite", "lm.litertlm#prefill_decode", "lm.litertlm#3"])
def test_a_signature_is_what_runs(folder: Path, file: str) -> None:
    assert np.array_equal(given(folder / f"{file}#add"), X + X + 1)
    assert np.array_equal(given(folder / f"{file}#mul"), X * (X + 1))
    assert np.array_equal(given(folder / file), X + X + 1)  # the first subgraph, as ever
    model = load_tflite(folder / f"{file}#mul")
    assert [s.key for s in model.signatures] == ["mul"]
    assert model.main.operators[0].op == "MUL"


@pytest.mark.golden
@pytest.mark.parametrize("file", ["two.tflite", "lm.litertlm#tf_lite_prefill_decode"])
def test_every_command_takes_a_part(folder: Path, file: str) -> None:
    path, data = folder / file, ("--data", folder / "data.npz")
    both = (path, path, "--signature", "mul")
    runtimes = ("--runtime", "reference", "--runtime", "builtin")
    commands = {
        "inspect": (path, "--signature", "mul"),
        "lint": (path, "--signature", "mul"),
        "verify": (path, "--signature", "mul", "--samples", "2"),
        "diff": (*both, *data, "--layers"),
        "explain": (*both, *data, *runtimes),
        "params": (path, "--signature", "mul", *data),
        "work": (path, "--signature", "mul", *data, "--op", "0", "--element", "0,1"),
        "vectors": (path, "--signature", "mul", *data, "--out", folder / f"golden{len(file)}"),
        "overlay": (*both, *data, "--out", folder / f"overlay{len(file)}"),
        "record": (path, "--signature", "mul", *data, "--out", folder / f"dump{len(file)}.npz"),
        "extract": (path, "--signature", "mul", "--ops", "0", "--out", folder / f"part{len(file)}.tflite"),
    }
    said = {name: invoke(name, *words) for name, words in commands.items()}
    assert {name: result.exit_code for name, result in said.items()} == dict.fromkeys(commands, 0)
    assert "MUL #0, sample 0" in said["work"].output  # it was asked about this operator
    assert "MUL" in said["inspect"].output
    assert "MUL" in said["verify"].output
    assert "ADD" not in said["verify"].output


def test_inspect_lists_the_sections(folder: Path) -> None:
    lines = invoke("inspect", folder / "lm.litertlm").stdout.splitlines()
    assert lines[0].split() == ["section", "name", "kind", "bytes", "says", "of", "itself"]
    assert lines[4].split() == [
        "3", "prefill_decode", "TFLiteModel", f"{len(TWO):,}", "model_type=tf_lite_prefill_decode,", "backend=cpu",
    ]  # fmt: skip
    assert lines[-1].endswith("lm.litertlm#embedder")
    document = json.loads(invoke("inspect", folder / "lm.litertlm", "--json").stdout)
    assert [section["kind"] for section in document["sections"]] == [
        "LlmMetadataProto", "TFLiteModel", "SP_Tokenizer", "TFLiteModel",
    ]  # fmt: skip
    assert container_sections(folder / "two.tflite") == ()


def test_the_only_model_needs_no_name(folder: Path) -> None:
    path = folder / "one.litertlm"
    path.write_bytes(litertlm([("SP_Tokenizer", b"words", {}), ("TFLiteModel", TWO, {})]))
    assert load_tflite(path).main.name == "adds"
    assert load_tflite(f"{path}#1#mul").main.name == "multiplies"


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("two.tflite#div", "no signature 'div'; there are add, mul"),
        ("lm.litertlm", "it holds 2 models; add # and the name or number of one: embedder, prefill_decode"),
        ("lm.litertlm#decoder", "no model 'decoder'"),
        ("lm.litertlm#0", "no model '0'"),
        ("lm.litertlm#prefill_decode#div", "no signature 'div'"),
        ("none.tflite#add", "No such file"),
    ],
)
def test_what_is_not_there_is_one_line(folder: Path, part: str, why: str) -> None:
    with pytest.raises(BadModel, match=why):
        load_tflite(folder / part)
    assert invoke("inspect" if "#" in part else "verify", folder / part).exit_code == 2


@pytest.mark.parametrize("cut", [9, 20, 40, 100, 200])
def test_a_damaged_container_is_one_line(folder: Path, cut: int, tmp_path: Path) -> None:
    whole = (folder / "lm.litertlm").read_bytes()
    (tmp_path / "cut.litertlm").write_bytes(whole[:cut])
    with pytest.raises(BadModel):
        container_sections(tmp_path / "cut.litertlm")
    (tmp_path / "next.litertlm").write_bytes(litertlm([], major=2))
    with pytest.raises(BadModel, match=r"version 2\.5\.0"):
        container_sections(tmp_path / "next.litertlm")


def test_a_section_without_a_type_has_its_number() -> None:
    assert Section(7, "TFLiteModel", 0, 1, ()).name == "7"


def test_a_file_of_that_very_name_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.tflite#add").write_bytes(TWO)
    assert load_tflite(tmp_path / "a.tflite#add").main.name == "adds"
    assert len(load_tflite(tmp_path / "a.tflite#add").signatures) == 2


def test_a_signature_that_calls_the_main_subgraph_is_refused(tmp_path: Path) -> None:
    caller = entry("MUL", "calls")
    caller.operators = [Op("CALL_ONCE", [], [], {"initSubgraphIndex": 0}), *caller.operators]
    written = write_model([entry("ADD", "adds"), caller], [Sig("add", *ENDS), Sig("calls", *ENDS, subgraph=1)])
    path = small_models.save(tmp_path, written)
    with pytest.raises(BadModel, match="cannot be taken alone"):
        load_tflite(f"{path}#calls")
