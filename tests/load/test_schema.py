"""The committed schema, against the one that the installed ``ai_edge_litert`` holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from ai_edge_litert import schema_py_generated

from quantdiff.load import flatbuffer

ROOT = Path(__file__).parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_schema", ROOT / "scripts/write_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INSTALLED = [line for line in script().describe(schema_py_generated).splitlines() if not line.startswith("#")]
LINES = (ROOT / "src/quantdiff/load/schema.txt").read_text().splitlines()
COMMITTED = {tuple(line.split()[:2]): line for line in LINES}


@pytest.mark.parametrize("line", INSTALLED, ids=lambda line: line.split()[1])
def test_equals_the_installed_schema(line: str) -> None:
    """A schema only ever grows at the end: an older or newer package may know fewer or more members."""
    kind, name, *members = line.split()
    assert list(zip(members, COMMITTED[kind, name].split()[2:], strict=False)) == [(m, m) for m in members]


@pytest.mark.parametrize("name", ["BuiltinOperator", "TensorType", "ActivationFunctionType", "Padding"])
def test_enum_numbers(name: str) -> None:
    theirs = {number: word for word, number in vars(getattr(schema_py_generated, name)).items() if word.isupper()}
    assert {number: flatbuffer.enum(name)[number] for number in theirs} == theirs


TABLES = [name for kind, name in flatbuffer._lines() if kind == "table" and name.endswith("Options")]


@pytest.mark.parametrize("table", TABLES)
def test_fields_are_the_attributes_of_the_object_api(table: str) -> None:
    theirs = vars(getattr(schema_py_generated, f"{table}T")())
    ours = {field.name.replace("_", "").lower(): field for field in flatbuffer.fields(table) if field.kind != "none"}
    assert list(ours) == [name.lower() for name in theirs]
    for name, default in theirs.items():
        field = ours[name.lower()]
        if not field.is_vector and field.kind != "string":
            assert field.default == default


def test_known_by_heart() -> None:
    """By hand, from the .fbs file: so that the generator cannot be wrong in the same way as the check."""
    assert flatbuffer.enum("BuiltinOperator")[9] == "FULLY_CONNECTED"
    assert flatbuffer.enum("BuiltinOperator")[127] == "PLACEHOLDER_FOR_GREATER_OP_CODES"
    assert flatbuffer.enum("BuiltinOperator")[206] == "STABLEHLO_COMPOSITE"
    assert flatbuffer.enum("TensorType")[9] == "INT8"
    names = [field.name for field in flatbuffer.fields("Tensor")]
    assert names[:6] == ["shape", "type", "buffer", "name", "quantization", "is_variable"]
    (dilation,) = (f for f in flatbuffer.fields("Conv2DOptions") if f.name == "dilation_w_factor")
    assert dilation == flatbuffer.Field("dilation_w_factor", "int32", is_vector=False, enum=None, default=1)
