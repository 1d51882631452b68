"""The same model with more outputs, or with values given from outside; the operators stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from quantdiff.references.onnx.file import packages

OWN = "quantdiff/own/"
"""In front of the name of a value that is computed, where another one takes its place."""


def every_value(proto: Any) -> tuple[str, ...]:
    """The names of all that nodes give, in their order."""
    return tuple(name for node in proto.graph.node for name in node.output if name)


def with_outputs(proto: Any, names: Iterable[str]) -> Any:
    """The model that gives these values too, after its own outputs."""
    onnx = packages()
    copy = type(proto)()
    copy.CopyFrom(proto)
    have = {each.name for each in copy.graph.output}
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in have)
    return copy


def with_inputs(proto: Any, given: Mapping[str, np.dtype[Any]], wanted: Iterable[str]) -> Any:
    """The model that takes the ``given`` values as inputs after its own, and gives the ``wanted`` ones alone.

    A value that is given and wanted is the one that is computed.
    """
    onnx = packages()
    copy = type(proto)()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        for k, name in enumerate(node.output):
            if name in given:
                node.output[k] = OWN + name
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(dtype) for name, dtype in given.items()}
    copy.graph.input.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items())
    del copy.graph.output[:], copy.graph.value_info[:]
    names = (OWN + name if name in given else name for name in wanted)
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return copy
