"""What each TFLite operator is, in one table: where its weights are, what it does to values, shapes and grids.

Every room that treats operators by kind asks here; ``tests/test_ops.py`` fails for an op of the simulator without one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of an op by its name alone.

    Attributes:
        x: the position of the data among the inputs.
        weights: the position of the kernel, None where the op has none.
        bias: the position of the bias, None where the op has none.
        gates: the positions of kernel and bias of an op with several of each.
        channel_axis: the axis of the kernel that runs along the output channels.
        moves: every output value is an input value, at another place or chosen from several.
        keeps_order: the same values in the same order, in another shape.
        one_grid: TFLite wants input and output on one grid, so that a range of one is a range of the other.
        joins: several operands share that grid.
        fuses: an activation behind it becomes a part of it.
        stateful: keeps values from one run to the next.
        splits: gives several outputs that are parts of its input.
        by_shape: its output follows from the shape of its input, whatever the values.
    """

    x: int = 0
    weights: int | None = None
    bias: int | None = None
    gates: tuple[tuple[int, int | None], ...] = ()
    channel_axis: int = 0
    moves: bool = False
    keeps_order: bool = False
    one_grid: bool = False
    joins: bool = False
    fuses: bool = False
    stateful: bool = False
    splits: bool = False
    by_shape: bool = False


PLAIN = Traits()
MOVING = [
    "BATCH_TO_SPACE_ND",
    "BROADCAST_TO",
    "DEPTH_TO_SPACE",
    "GATHER",
    "GATHER_ND",
    "MAX_POOL_2D",
    "MIRROR_PAD",
    "PAD",
    "PADV2",
    "RESIZE_NEAREST_NEIGHBOR",
    "REVERSE_SEQUENCE",
    "REVERSE_V2",
    "SLICE",
    "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH",
    "STRIDED_SLICE",
    "TILE",
    "TOPK_V2",
    "TRANSPOSE",
    "REDUCE_MAX",
    "REDUCE_MIN",
]
WITH_STATE = [
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "CALL_ONCE",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "RNN",
]
COMPUTING = [
    "ABS",
    "ADD_N",
    "ARG_MAX",
    "ARG_MIN",
    "ATAN2",
    "BATCH_MATMUL",
    "BITWISE_XOR",
    "BROADCAST_ARGS",
    "CAST",
    "CEIL",
    "COMPLEX_ABS",
    "COS",
    "CUMSUM",
    "DENSIFY",
    "DEQUANTIZE",
    "DIV",
    "ELU",
    "EMBEDDING_LOOKUP",
    "EQUAL",
    "EXP",
    "FILL",
    "FLOOR",
    "FLOOR_DIV",
    "FLOOR_MOD",
    "GELU",
    "GREATER",
    "GREATER_EQUAL",
    "HARD_SWISH",
    "IMAG",
    "L2_NORMALIZATION",
    "LEAKY_RELU",
    "LESS",
    "LESS_EQUAL",
    "LOG",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "LOGICAL_OR",
    "LOGISTIC",
    "LOG_SOFTMAX",
    "MEAN",
    "NEG",
    "NOT_EQUAL",
    "ONE_HOT",
    "POW",
    "PRELU",
    "QUANTIZE",
    "RANGE",
    "REAL",
    "REDUCE_ALL",
    "REDUCE_ANY",
    "REDUCE_PROD",
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "RFFT2D",
    "RIGHT_SHIFT",
    "ROUND",
    "RSQRT",
    "SCATTER_ND",
    "SIGN",
    "SIN",
    "SOFTMAX",
    "SPARSE_TO_DENSE",
    "WHERE",
    "SQRT",
    "SQUARE",
    "SQUARED_DIFFERENCE",
    "SUM",
    "TANH",
    "UNSORTED_SEGMENT_PROD",
]
GATES = (*((at, at + 11) for at in range(1, 5)), *((at, None) for at in range(5, 9)))
"""An LSTM's kernels on its input, with their biases, then those on its state; each: input, forget, cell, output."""

TRAITS: dict[str, Traits] = {
    "CONV_2D": Traits(weights=1, bias=2, channel_axis=0, fuses=True),
    "DEPTHWISE_CONV_2D": Traits(weights=1, bias=2, channel_axis=3, fuses=True),
    "FULLY_CONNECTED": Traits(weights=1, bias=2, channel_axis=0, fuses=True),
    "TRANSPOSE_CONV": Traits(x=2, weights=1, bias=3, channel_axis=0, fuses=True),
    "CONV_3D": Traits(weights=1, bias=2, channel_axis=4, fuses=True),
    "CONV_3D_TRANSPOSE": Traits(x=2, weights=1, bias=3, channel_axis=3, fuses=True),
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), Traits(moves=True, keeps_order=True, one_grid=True)),
    **dict.fromkeys(MOVING, Traits(moves=True, one_grid=True)),
    "SPLIT": Traits(x=1, moves=True, one_grid=True, splits=True),
    **dict.fromkeys(("SPLIT_V", "UNPACK"), Traits(moves=True, one_grid=True, splits=True)),
    **dict.fromkeys(
        ("CONCATENATION", "PACK", "MAXIMUM", "MINIMUM", "DYNAMIC_UPDATE_SLICE"),
        Traits(moves=True, one_grid=True, joins=True),
    ),
    **dict.fromkeys(("SELECT", "SELECT_V2"), Traits(x=1, moves=True, one_grid=True, joins=True)),
    **dict.fromkeys(("AVERAGE_POOL_2D", "RESIZE_BILINEAR"), Traits(one_grid=True)),
    **dict.fromkeys(("ADD", "SUB", "MUL"), Traits(fuses=True)),
    **dict.fromkeys(WITH_STATE, Traits(stateful=True)),
    **dict.fromkeys(("UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM"), Traits(gates=GATES, stateful=True)),
    **dict.fromkeys(("RANK", "SHAPE", "ZEROS_LIKE"), Traits(by_shape=True)),
    **dict.fromkeys(COMPUTING, PLAIN),
}
CLAMPS = ("RELU", "RELU6", "RELU_N1_TO_1")
"""Activations that do nothing but cut values off: behind an op that ``fuses`` a converter makes them a part of it."""
INTO_INTEGERS, INTO_FLOAT = "QUANTIZE", "DEQUANTIZE"
BATCH_NORM = "BATCH_NORM"
"""No operator of TFLite, but of every framework: folded, or MUL and ADD."""
RECODES = (INTO_INTEGERS, INTO_FLOAT, "DENSIFY")
"""Ops that say the same values in another type."""

COMPILED = {
    "edgetpu-custom-op": "the Edge TPU compiler",
    "ethos-u": "Arm's Vela, for an Ethos-U",
    "NeutronGraph": "NXP's converter, for a Neutron NPU",
    "DISPATCH_OP": "LiteRT's compiler, for an NPU",
}
"""Custom ops that hold what a vendor's compiler made of a part of the network, and by whom they are written (headers
of libedgetpu, of the ethos-u-linux-driver-stack, of NXP's ``neutron_delegate``; LiteRT's ``dispatch_op_schema``)."""


def compiler_named(text: str) -> str | None:
    """Whose op a text names; None where it names none of ``COMPILED``."""
    return next((compiler for op, compiler in COMPILED.items() if op in text), None)


def traits(op: str) -> Traits:
    """The traits of an op; of one that is not in the table, nothing is known."""
    return TRAITS.get(op, PLAIN)
