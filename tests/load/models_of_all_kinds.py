"""Three small models that hold between them every kind of thing that the reader knows."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema
from written_models import Op, Sig, Sub, T, model_object, pack, write_model, write_tflite

CONV = write_tflite(
    [
        T("x", (1, 4, 4, 2), scale=0.5, zero_point=-3, stored_min=[-62.5], stored_max=[65.0]),
        T("w", (3, 1, 1, 2), scale=[0.25, 0.5, 1.0], data=[[[[1, -2]]], [[[3, 4]]], [[[-5, 127]]]]),
        T("b", (3,), "int32", scale=[0.125, 0.25, 0.5], data=[7, -8, 9]),
        T("y", (1, 4, 4, 3), scale=2.0),
    ],
    [Op("CONV_2D", ["x", "w", "b"], ["y"], {"strideW": 2, "strideH": 1, "fusedActivationFunction": 1}, version=3)],
    ["x"],
    ["y"],
)


def _compressed(size: int) -> Any:
    level = schema.DimensionMetadataT()
    level.format, level.denseSize = schema.DimensionType.SPARSE_CSR, size
    level.arraySegmentsType = level.arrayIndicesType = schema.SparseIndexVector.Uint8Vector
    level.arraySegments, level.arrayIndices = schema.Uint8VectorT(), schema.Uint8VectorT()
    level.arraySegments.values, level.arrayIndices.values = [0, 1, 1, 3], [2, 0, 3]
    return level


def _sparsity() -> Any:
    """Rows dense, columns compressed: values at (0, 2), (2, 0) and (2, 3) of a 3 x 4 matrix."""
    rows = schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, 3
    record = schema.SparsityParametersT()
    record.traversalOrder, record.blockMap, record.dimMetadata = [0, 1], [], [rows, _compressed(4)]
    return record


BLOCKS = "BlockwiseQuantization", {"scales": 1, "zeroPoints": 2, "blockSize": 4}
AXES = "MultiAxisQuantization", {"scales": 1, "zeroPoints": 2, "quantizedDimensions": [0, 1]}

KINDS = write_model(
    [
        Sub(
            [
                T("in", (1, 8), "float32", shape_signature=(-1, 8)),
                T("scales", (2,), "float16", data=[0.5, 0.25]),
                T("zeros", (2,), "int32", data=[0, 0]),
                T("blocks", (1, 8), "int4", raw=b"\x21\x43\x65\xf7", details=BLOCKS),
                T("axes", (1, 8), "int8", data=3, details=AXES),
                T("two bits", (1, 8), "int2", raw=b"\xe4\x1b", scale=0.5),
                T("brain", (2,), "bfloat16", raw=b"\x80\x3f\x00\xc0"),
                T("sparse", (3, 4), "float32", raw=bytes.fromhex("0000803f0000004000004040"), sparsity=_sparsity()),
                T("text", (1,), "string", raw=b"\x01\0\0\0\x0c\0\0\0\x0e\0\0\0ab"),
                T("wide", (1, 8), "int16", scale=2.0**-7),
                T("[red]\x1b[31m\u202e", (1, 8), "uint8", scale=0.5, zero_point=128),
                T("state", (1, 8), "int8", scale=1.0, is_variable=True),
            ],
            [
                Op("QUANTIZE", ["in"], ["wide"]),
                Op("MyOp", ["wide", None], ["[red]\x1b[31m\u202e"], custom=True, custom_options=b"\x01\x02\x03"),
            ],
            ["in"],
            ["[red]\x1b[31m\u202e"],
        ),
        Sub([T("a", (2,), "float32")], [], ["a"], ["a"], name="other"),
    ],
    [Sig("serve", {"x": "in"}, {"y": "wide"}), Sig("other", {"a": "a"}, {"b": "a"}, 1)],
    {"min_runtime_version": b"1.14.0\0\0"},
)


def many_ops() -> bytes:
    """A chain of ops with options of every shape: scalars, enums, vectors, text."""
    ops: list[tuple[str, str, dict[str, Any]]] = [
        ("RESHAPE", "ReshapeOptions", {"newShape": [1, 8]}),
        ("VAR_HANDLE", "VarHandleOptions", {"container": b"box", "sharedName": b"state"}),
        ("SQUEEZE", "SqueezeOptions", {"squeezeDims": [0, 1]}),
        ("BUCKETIZE", "BucketizeOptions", {"boundaries": [0.5, 1.5]}),
        ("STRIDED_SLICE", "StridedSliceOptions", {"beginMask": 1}),
    ]
    tensors = [T(str(i), (1, 8), scale=[0.1] * 8, axis=1) for i in range(len(ops) + 1)]
    chain = [Op(op, [str(i)], [str(i + 1)], values, kind) for i, (op, kind, values) in enumerate(ops)]
    model = model_object([Sub(tensors, chain, ["0"], [str(len(ops))])])
    operator, options = model.subgraphs[0].operators[-1], schema.StableHLOCompositeOptionsT()
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.NONE, None
    operator.builtinOptions2Type, operator.builtinOptions2 = (
        schema.BuiltinOptions2.StableHLOCompositeOptions,
        options,
    )
    options.name, options.compositeAttributes = b"composite", [1, 2, 3]
    return pack(model)


MODELS = {"conv": CONV, "kinds": KINDS, "ops": many_ops()}
