"""Small ONNX models, built node by node: no exporter, no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantdiff.quant import Array

RNG = np.random.default_rng(3)


@dataclass
class N:
    """A node to write."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""


def model(
    nodes: Sequence[N],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> Any:
    made = [
        helper.make_node(
            n.op, list(n.inputs), list(n.outputs), name=f"/{n.outputs[0]}/{n.op}", domain=n.domain, **n.options
        )
        for n in nodes
    ]
    graph = helper.make_graph(
        made,
        "main",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    for each in graph.output:
        each.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found.ir_version = 9
    return found


def save(folder: Path, made: Any, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def floats(*shape: int, scale: float = 0.5) -> Array:
    return (np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape) * scale).astype(np.float32)
