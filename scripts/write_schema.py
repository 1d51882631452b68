"""Write ``src/quantdiff/load/schema.txt`` anew from the schema that ``ai_edge_litert`` ships.

    uv run python scripts/write_schema.py

One line a table: name, then ``field:type=default`` in slot order. The generated module keeps everything but
the enums' names of a field, which FIELD_ENUMS puts back.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

HEADER = """\
# The TFLite schema: enums with their values, tables with their fields in slot order (field:type=default).
# Written by scripts/write_schema.py from ai_edge_litert.schema_py_generated; a test holds the two together.
"""

FIELD_ENUMS = {
    "algorithm": "RngAlgorithm",
    "array_indices_type": "SparseIndexVector",
    "array_segments_type": "SparseIndexVector",
    "body": "ReduceWindowFunction",
    "builtin_options_2_type": "BuiltinOptions2",
    "builtin_options_type": "BuiltinOptions",
    "combiner": "CombinerType",
    "comparison_direction": "StablehloComparisonDirection",
    "compare_type": "StablehloComparisonType",
    "composite_attributes_format": "CustomOptionsFormat",
    "custom_options_format": "CustomOptionsFormat",
    "details_type": "QuantizationDetails",
    "format": "DimensionType",
    "fused_activation_function": "ActivationFunctionType",
    "idx_out_type": "TensorType",
    "in_data_type": "TensorType",
    "key_dtype": "TensorType",
    "kernel_type": "LSTMKernelType",
    "mode": "MirrorPadMode",
    "out_data_type": "TensorType",
    "out_type": "TensorType",
    "output_type": "TensorType",
    "padding": "Padding",
    "quantized_bias_type": "TensorType",
    "reduce_function": "ReduceWindowFunction",
    "type": "TensorType",
    "value_dtype": "TensorType",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
}
TABLE_ENUMS = {("LSHProjectionOptions", "type"): "LSHProjectionType"}

PER_CLASS = re.DOTALL | re.MULTILINE
METHOD = re.compile(r"    def (\w+)\(self(, j)?\):\n        o = .*?Offset\((\d+)\)\)\n(.*?)(?=\n\n|\Z)", re.DOTALL)


def describe(module: ModuleType) -> str:
    """The whole schema as text."""
    classes = [value for _, value in inspect.getmembers(module, inspect.isclass) if value.__module__ == module.__name__]
    tables = [c for c in classes if hasattr(c, "GetRootAs")]
    enums = [c for c in classes if not hasattr(c, "Pack") and c not in tables]
    sources = dict(re.findall(r"^class (\w+)\(object\):\n(.*?)(?=^class |\Z)", inspect.getsource(module), PER_CLASS))
    lines = [*map(_enum, enums), *(_table(c.__name__, sources[c.__name__]) for c in tables)]
    return HEADER + "".join(f"{line}\n" for line in lines)


def _enum(enum: type) -> str:
    members = {n: value for n, value in vars(enum).items() if isinstance(value, int) and not n.startswith("__")}
    words, expected = ["enum", enum.__name__], 0
    for name, value in members.items():
        words.append(name if value == expected else f"{name}={value}")
        expected = value + 1
    return " ".join(words)


def _table(table: str, source: str) -> str:
    slots: dict[int, str] = {}
    for name, indexed, offset, body in METHOD.findall(source):  # the first method of a slot is the field's own
        slot = (int(offset) - 4) // 2
        if slot not in slots:
            slots[slot] = _field(table, _snake(name), bool(indexed), body)
    size = max(slots, default=-1) + 1
    return " ".join(["table", table, *(slots.get(slot, f"deprecated_{slot}:none") for slot in range(size))])


def _snake(camel: str) -> str:
    """``StrideW`` → ``stride_w``, ``BuiltinOptions2`` → ``builtin_options_2``, as the .fbs file spells it."""
    return re.sub(r"(?<!^)(?=[A-Z])|(?<=Options)(?=2)", "_", camel).lower()


def _field(table: str, name: str, vector: bool, body: str) -> str:
    kind, default = _type(table, name, body), re.findall(r"return (.+)", body)[-1]
    if vector:
        return f"{name}:[{kind}]"
    if default in {"0", "0.0", "None", "False"}:
        return f"{name}:{kind}"
    return f"{name}:{kind}={default}"


def _type(table: str, name: str, body: str) -> str:
    if ".Union(" in body:
        return "union"
    if "Indirect(" in body:
        return re.search(r"obj = (\w+)\(\)", body)[1]  # type: ignore[index]  # generated code always says it
    if "String(" in body:
        return "string"
    scalar = re.search(r"(\w+)Flags, ", body)[1].lower()  # type: ignore[index]  # as above
    enum = TABLE_ENUMS.get((table, name), FIELD_ENUMS.get(name))
    return f"{scalar}/{enum}" if enum and scalar in {"int8", "uint8", "int32", "uint32"} else scalar


if __name__ == "__main__":
    from ai_edge_litert import schema_py_generated

    target = Path(__file__).parent.parent / "src/quantdiff/load/schema.txt"
    target.write_text(describe(schema_py_generated))
