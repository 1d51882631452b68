"""What ``load_tflite`` reads, against values written by hand."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from load.models_of_all_kinds import CONV, KINDS, MODELS
from written_models import Op, Sub, T, model_object, pack, write_tflite

from quantdiff.errors import BadModel
from quantdiff.graph import Metadata, Model, Signature, Tensor, dense_values, real_values
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import BlockQuant, QuantParams


def load(data: bytes, folder: Path) -> Model:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return load_tflite(path)


def test_tensors(tmp_path: Path) -> None:
    x, w, b, y = load(CONV, tmp_path).main.tensors
    assert (x.name, x.shape, x.dtype, x.quant) == ("x", (1, 4, 4, 2), "int8", QuantParams((0.5,), (-3,)))
    assert (x.stored_min, x.stored_max, x.data, x.is_constant) == ((-62.5,), (65.0,), None, False)
    assert w.quant == QuantParams((0.25, 0.5, 1.0), (0, 0, 0), 0)
    assert w.data is not None
    assert w.data.tolist() == [[[[1, -2]]], [[[3, 4]]], [[[-5, 127]]]]
    assert b.data is not None
    assert b.data.dtype == np.int32
    assert (b.data.tolist(), b.buffer_size) == ([7, -8, 9], 12)
    assert (y.index, y.stored_min) == (3, ())


def test_operator(tmp_path: Path) -> None:
    (op,) = load(CONV, tmp_path).main.operators
    assert (op.op, op.inputs, op.outputs, op.version) == ("CONV_2D", (0, 1, 2), (3,), 3)
    assert op.options == {
        "padding": "SAME",
        "stride_w": 2,
        "stride_h": 1,
        "fused_activation_function": "RELU",
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "quantized_bias_type": "FLOAT32",
    }


def test_data_is_a_read_only_view(tmp_path: Path) -> None:
    data = load(CONV, tmp_path).main.tensors[1].data
    assert data is not None
    assert not data.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 0


@pytest.mark.parametrize("cut", range(0, len(CONV), 7))
def test_truncated(cut: int, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"model\.tflite: .*; "):
        load(CONV[:cut], tmp_path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="No such file"):
        load_tflite(tmp_path / "none.tflite")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(60), "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5 file"),
        (b"<!DOCTYPE html>", "web page"),
        (bytes(100), "no TFLite model"),
    ],
)
def test_files_that_are_no_model(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=why):
        load(content, tmp_path)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="is a folder, not a file"):
        load_tflite(tmp_path)


def named(model: Model) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in model.main.tensors}


def test_all_kinds(tmp_path: Path) -> None:
    model = load(KINDS, tmp_path)
    tensors = named(model)
    assert tensors["in"].shape_signature == (-1, 8)
    assert dense_values(tensors["scales"]).tolist() == [0.5, 0.25]
    assert tensors["scales"].dtype == "float16"
    assert dense_values(tensors["blocks"]).tolist() == [[1, 2, 3, 4, 5, 6, 7, -1]]
    assert tensors["blocks"].blocks == BlockQuant("BlockwiseQuantization", 1, 2, 4)
    assert tensors["blocks"].blocks is not None
    assert real_values(tensors["blocks"]).tolist() == [[0.5, 1, 1.5, 2, 1.25, 1.5, 1.75, -0.25]]
    assert tensors["axes"].blocks == BlockQuant("MultiAxisQuantization", 1, 2, 0, (), (0, 1))
    assert dense_values(tensors["two bits"]).tolist() == [[0, 1, -2, -1, -1, -2, 1, 0]]
    assert dense_values(tensors["brain"]).tolist() == [1.0, -2.0]
    assert dense_values(tensors["sparse"]).tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [2, 0, 0, 3]]
    assert tensors["text"].data is not None
    assert bytes(tensors["text"].data)[-2:] == b"ab"
    assert tensors["state"].is_variable
    quantize, custom = model.main.operators
    assert quantize.options == {}
    assert (custom.op, custom.inputs) == ("CUSTOM:MyOp", (9, -1))
    assert custom.custom_options is not None
    assert custom.custom_options.tolist() == [1, 2, 3]


def test_subgraphs_signatures_metadata(tmp_path: Path) -> None:
    model = load(KINDS, tmp_path)
    assert [graph.name for graph in model.subgraphs] == ["main", "other"]
    assert model.main is model.subgraphs[0]
    assert model.signatures == (
        Signature("serve", (("x", 0),), (("y", 9),), 0),
        Signature("other", (("a", 0),), (("b", 0),), 1),
    )
    assert model.metadata == (Metadata("min_runtime_version", 8),)
    assert model.metadata[0].data is not None
    assert bytes(model.metadata[0].data) == b"1.14.0\0\0"
    assert (model.description, model.version) == ("written by a test", 3)


def test_values_compare_and_pickle(tmp_path: Path) -> None:
    model = load(KINDS, tmp_path)
    assert model == load(KINDS, tmp_path)
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    assert dense_values(again.main.tensors[3]).tolist() == dense_values(model.main.tensors[3]).tolist()


def test_options_of_every_shape(tmp_path: Path) -> None:
    options = {op.op: dict(op.options) for op in load(MODELS["ops"], tmp_path).main.operators}
    assert options["RESHAPE"] == {"new_shape": (1, 8)}
    assert options["VAR_HANDLE"] == {"container": "box", "shared_name": "state"}
    assert options["SQUEEZE"] == {"squeeze_dims": (0, 1)}
    assert options["BUCKETIZE"] == {"boundaries": (0.5, 1.5)}
    composite = options["STRIDED_SLICE"]
    attributes = composite.pop("composite_attributes")
    assert isinstance(attributes, np.ndarray)
    assert attributes.tolist() == [1, 2, 3]
    assert composite == {
        "name": "composite",
        "decomposition_subgraph_index": 0,
        "composite_attributes_format": "FLEXBUFFERS",
        "version": 0,
    }


ALL_OPTIONS = [name for name in dir(schema.BuiltinOptions) if name.endswith("Options")]
ALL_OPTIONS_2 = [name for name in dir(schema.BuiltinOptions2) if name.endswith("Options")]


def filled(kind: str) -> Any:
    """A table with a value that is not the default in every number."""
    table = getattr(schema, kind + "T")()
    for i, (name, default) in enumerate(vars(table).items()):
        if isinstance(default, bool):
            setattr(table, name, not default)
        elif isinstance(default, int | float):
            setattr(table, name, default + 1 + i % 2)
    return table


@pytest.mark.parametrize("kind", ALL_OPTIONS + ALL_OPTIONS_2)
def test_every_options_table(kind: str, tmp_path: Path) -> None:
    """What the object API writes comes out under the same names, enums spelled out."""
    model = model_object(
        [Sub([T("x", (1,)), T("y", (1,))], [Op("CUSTOM_ONE", ["x"], ["y"], custom=True)], ["x"], ["y"])]
    )
    operator, table = model.subgraphs[0].operators[0], filled(kind)
    if kind in ALL_OPTIONS:
        operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, kind), table
    else:
        operator.builtinOptions2Type, operator.builtinOptions2 = getattr(schema.BuiltinOptions2, kind), table
    options = load(pack(model), tmp_path).main.operators[0].options
    theirs = {name.lower(): value for name, value in vars(table).items()}
    assert [name.replace("_", "") for name in options] == list(theirs)
    for name, value in options.items():
        if isinstance(value, int | float):
            assert value == theirs[name.replace("_", "")]
        elif isinstance(value, str) and theirs[name.replace("_", "")] is not None:
            enums = [c for c in vars(schema).values() if isinstance(c, type)]
            assert theirs[name.replace("_", "")] in [getattr(c, value, None) for c in enums] or value.isdigit()


def test_axis_of_a_bias_is_its_only_one(tmp_path: Path) -> None:
    """Converters once wrote the kernel's axis, 3, for the bias too."""
    data = write_tflite([T("b", (2,), "int32", scale=[1.0, 2.0], axis=3, data=[1, 2])], [], ["b"], ["b"])
    (bias,) = load(data, tmp_path).main.tensors
    assert bias.quant == QuantParams((1.0, 2.0), (0, 0), 0)
    assert bias.stored_axis == 3


REFUSED = [
    (T("w", (2, 2), scale=[1.0, 2.0], axis=2), "2 scales along axis 2 do not fit shape"),
    (T("w", (2, 2), scale=[1.0, 2.0, 3.0], axis=0), "3 scales along axis 0 do not fit shape"),
    (T("w", (2, 2), raw=b"abc"), "shape .2, 2. of int8 does not fit its 3 bytes"),
    (T("w", (3,), "int4", raw=b"a"), "shape .3. of int4 does not fit its 1 bytes"),
    (T("w", (-2, -2), raw=b"abcd"), "shape .-2, -2. of int8 does not fit its 4 bytes"),
    (T("w", (0, 2**30, 2**30, 2**30), raw=b""), "shape .* cannot be"),
]


@pytest.mark.parametrize(("tensor", "why"), REFUSED)
def test_tensors_that_contradict_themselves(tensor: T, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=f"tensor 0 'w': {why}"):
        load(write_tflite([tensor], [], ["w"], ["w"]), tmp_path)


def test_constants_without_elements(tmp_path: Path) -> None:
    data = write_tflite([T("none", (0, 3), raw=b"\0")], [], ["none"], ["none"])
    with pytest.raises(BadModel, match="does not fit"):
        load(data, tmp_path)
    data = write_tflite([T("none", (0, 3), raw=b"")], [], ["none"], ["none"])
    (none,) = load(data, tmp_path).main.tensors
    assert none.data is not None
    assert none.data.shape == (0, 3)


def outside(tmp_path: Path) -> tuple[Any, Path]:
    model = model_object([Sub([T("w", (2, 2), "int16", raw=b"\0")], [Op("Big", ["w"], ["w"], custom=True)], [], ["w"])])
    return model, tmp_path / "model.tflite"


def test_bytes_behind_the_flatbuffer(tmp_path: Path) -> None:
    """Beyond 2 GB a file keeps its buffers, and the options of custom ops, by offset and size."""
    model, path = outside(tmp_path)
    far = 3 << 30
    buffer, operator = model.buffers[1], model.subgraphs[0].operators[0]
    buffer.data, buffer.offset, buffer.size = None, far, 8
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = far + 8, 3
    with path.open("wb") as file:
        file.write(pack(model))
        file.seek(far)
        file.write(np.array([1, -2, 3, -4], "<i2").tobytes() + b"abc")
    main = load_tflite(path).main
    assert main.tensors[0].data is not None
    assert main.tensors[0].data.tolist() == [[1, -2], [3, -4]]
    assert main.operators[0].custom_options is not None
    assert bytes(main.operators[0].custom_options) == b"abc"


@pytest.mark.parametrize(("offset", "size"), [(1 << 40, 8), (2**64 - 8, 16), (64, 2**64 - 8)])
def test_bytes_behind_the_end(tmp_path: Path, offset: int, size: int) -> None:
    """Nor where the sum of both wraps around in 64 bits, and is small."""
    model, path = outside(tmp_path)
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, offset, size
    path.write_bytes(pack(model))
    with pytest.raises(BadModel, match="the file is cut short"):
        load_tflite(path)


def test_unknown_numbers(tmp_path: Path) -> None:
    """Ops, dtypes and options of a schema newer than ours are told by number."""
    model = model_object([Sub([T("x", (1,), raw=b"ab")], [Op("ADD", ["x"], ["x"])], ["x"], ["x"])])
    model.subgraphs[0].tensors[0].type = 99
    model.operatorCodes[0].builtinCode = 9999
    operator = model.subgraphs[0].operators[0]
    operator.builtinOptionsType, operator.builtinOptions = 250, schema.AddOptionsT()
    main = load(pack(model), tmp_path).main
    assert main.operators[0].op == "BUILTIN_9999"
    assert main.operators[0].options == {}
    assert main.tensors[0].dtype == "99"
    assert main.tensors[0].data is not None
    assert bytes(main.tensors[0].data) == b"ab"


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(CONV)
    code = (
        "import sys; from quantdiff.load.tflite import load_tflite; load_tflite(sys.argv[1]);"
        "assert not {'tensorflow', 'ai_edge_litert', 'flatbuffers', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def of_object_api(data: bytes) -> list[tuple[Any, ...]]:
    """Every tensor as the schema's own object API reads it."""
    model = schema.ModelT.InitFromPackedBuf(data)
    return [_facts(tensor, model) for graph in model.subgraphs for tensor in graph.tensors]


def _facts(tensor: Any, model: Any) -> tuple[Any, ...]:
    quant, data = tensor.quantization, model.buffers[tensor.buffer].data
    fields = ("scale", "zeroPoint", "min", "max")
    params = [_tuple(getattr(quant, field) if quant else None) for field in fields]
    content = b"" if data is None else bytes(np.asarray(data, np.uint8))
    return (tensor.name or b"").decode(), _tuple(tensor.shape), _tuple(tensor.shapeSignature), *params, content


def _tuple(vector: Any) -> tuple[Any, ...]:
    return () if vector is None else tuple(np.asarray(vector).tolist())


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_object_api(name: str, tmp_path: Path) -> None:
    ours = [
        (
            tensor.name,
            tensor.shape,
            tensor.shape_signature or (),
            tensor.quant.scale if tensor.quant else (),
            tensor.stored_zero_point,
            tensor.stored_min,
            tensor.stored_max,
            b"" if tensor.data is None else tensor.data.tobytes(),
        )
        for graph in load(MODELS[name], tmp_path).subgraphs
        for tensor in graph.tensors
    ]
    assert ours == of_object_api(MODELS[name])


def test_a_zip_archive_behind_the_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(CONV)
    assert load_tflite(path).attached == ()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.json", '{"stride": 32}')
    model = load_tflite(path)
    assert model.attached == (Metadata("metadata.json", 14),)
    (tmp_path / "plain").mkdir()
    assert model.main == load(CONV, tmp_path / "plain").main


def test_a_damaged_archive_is_none(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(CONV)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.json", "{}")
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    data[start : start + 4] = b"XXXX"
    assert load(bytes(data), tmp_path).attached == ()
