"""Which rule scales which channel, and the sums before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from written_models import Op, T, write_tflite

from quantdiff.load.tflite import read_model
from quantdiff.sim.node import Node, NoKernel, node_of
from quantdiff.sim.rounding.exact_sums import accumulators, channels_of
from quantdiff.sim.runtime import Runtime


def node(op: str, w: Sequence[int], out: int, axis: int = 0, dtype: str = "int8") -> Node:
    scales = [0.5] if dtype == "uint8" else (0.5 + np.arange(out) / 8)
    rank = len(w)
    x, y = ((1, 4), (1, out)) if rank == 2 else ((1, 2, 2, 4), (1, 2, 2, out))
    tensors = [
        T("x", x, dtype, 0.25, 1),
        T("w", w, dtype, np.asarray(scales), axis=axis, data=1),
        T("b", (out,), "int32", 0.125, data=2),
        T("y", y, dtype, 2.0),
    ]
    graph = read_model(memoryview(write_tflite(tensors, [Op(op, ["x", "w", "b"], ["y"])], ["x"], ["y"]))).main
    return node_of(graph, graph.operators[0])


@pytest.mark.parametrize(
    ("made", "rules"),
    [
        (node("FULLY_CONNECTED", (3, 4), 3), ("XXX", "RRR", "DDD", "GGG")),
        (node("CONV_2D", (3, 1, 1, 4), 3), ("XXX", "RRR", "GGG", "GGG")),
        (node("CONV_2D", (4, 1, 1, 2), 4), ("XXXX", "GGGG", "GGGG", "GGGG")),
        (node("DEPTHWISE_CONV_2D", (1, 1, 1, 12), 12, 3), ("X" * 12, "R" * 8 + "G" * 4, "G" * 12, "G" * 12)),
        (node("DEPTHWISE_CONV_2D", (1, 1, 1, 8), 8, 3, "uint8"), ("X" * 8, "G" * 8, "G" * 8, "G" * 8)),
    ],
)
def test_rules(made: Node, rules: tuple[str, ...]) -> None:
    found = tuple(
        "".join(c.rounding.value for c in channels_of(made, runtime)) for runtime in Runtime.REFERENCE.neighbours
    )
    assert found == rules


def test_multipliers_per_channel() -> None:
    """0.25 · (0.5, 0.625, 0.75) / 2 = (2, 2.5, 3) / 32: mantissas of a half, five and six eighths."""
    channels = channels_of(node("FULLY_CONNECTED", (3, 4), 3), Runtime.TFLM)
    assert [channel.scale for channel in channels] == [0.0625, 0.078125, 0.09375]
    assert [channel.mantissa / 2**31 for channel in channels] == [0.5, 0.625, 0.75]
    assert [channel.shift for channel in channels] == [-3, -3, -3]


def test_sums_with_bias() -> None:
    made = node("FULLY_CONNECTED", (3, 4), 3)
    x, w, b = np.asarray([[1, 2, 3, 4]], np.int8), np.ones((3, 4), np.int8), np.asarray([2, 0, -9], np.int32)
    np.testing.assert_array_equal(accumulators(made, x, w, b), [[8, 6, -3]])


def test_other_ops_and_types() -> None:
    tensors = [T("x", (1, 4), "float32"), T("w", (3, 4), "float32", data=1), T("y", (1, 3), "float32")]
    for op, inputs in (("FULLY_CONNECTED", ["x", "w"]), ("ABS", ["x"])):
        made = Op(op, inputs, ["y"], options_type=None if op == "FULLY_CONNECTED" else "AbsOptions")
        graph = read_model(memoryview(write_tflite(tensors, [made], ["x"], ["y"]))).main
        with pytest.raises(NoKernel):
            channels_of(node_of(graph, graph.operators[0]), Runtime.TFLM)
