"""What each TFLite operator is, in one table, and a layer of a trained model in the same words; no framework.

Every room that treats operators by kind asks here; ``tests/test_ops.py`` fails for an op of the simulator without a
row. A layer is values: weights, what training left behind, who feeds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.quant import Array, Grid


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


KERNEL_RANGES = ("kernel", "depthwise_kernel")
OUTPUT_RANGES = ("post_activation", "output", "quantize_layer")


@dataclass(frozen=True, slots=True)
class TrainedRange:
    """One quantizer and the range it holds: one min and max per tensor, or per channel.

    ``name`` is what the variables are called without ``_min`` and ``_max``: ``kernel``, ``post_activation``,
    ``output``, ``quantize_layer``. ``quantizer`` is the class: ``MovingAverageQuantizer``, …. ``grid`` is what it made
    of its range, where it says so itself, as PyTorch's and ONNX's do; TFMOT's rules follow from the range alone.
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    quantizer: str
    bits: int = 8
    narrow: bool = False
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """What a batch normalization has learned: ``y = (x - mean) * factor + beta``, per channel."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    @property
    def factor(self) -> Array:
        """``gamma / sqrt(variance + epsilon)``, double."""
        factor: Array = self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + self.epsilon)
        return factor


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a trained model, whoever trained it.

    Attributes:
        name: its path, ``early/dense`` for a layer of a submodel: no two layers share one.
        kind: its class, in the words of its own framework; without the wrapper of quantization-aware training.
        inputs: the names of the layers that feed it.
        op: TFLite's word for what it computes, empty where there is no single one.
        activation: the activation inside the layer; ``linear`` for none.
        ranges: what quantizers learned.
        kernel: float weights in TFLite's axes: (units, depth); (out, height, width, in); depthwise (1, h, w, out).
        bias: float, one per output channel.
        norm: batch normalization.
        options: strides, padding and the like.
        inner: the sums of products inside it that give no value of their own: gates, projections of attention.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    activation: str = "linear"
    ranges: tuple[TrainedRange, ...] = ()
    kernel: Array | None = field(default=None, compare=False, repr=False)
    bias: Array | None = field(default=None, compare=False, repr=False)
    norm: BatchNorm | None = field(default=None, compare=False, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    op: str = ""
    inner: tuple[Layer, ...] = field(default=(), compare=False, repr=False)

    @property
    def plain(self) -> str:
        """The path that the layer had before ``quantize_model``."""
        head, _, last = self.name.rpartition("/")
        return f"{head}/{last.removeprefix('quant_')}".removeprefix("/")

    @property
    def channel_axis(self) -> int:
        """The axis of the kernel that runs along the output channels."""
        return traits(self.op).channel_axis

    def range_of(self, *names: str) -> TrainedRange | None:
        """The first range called one of ``names``."""
        return next((r for r in self.ranges if r.name in names), None)


def along_channels(layer: Layer, values: Array) -> Array:
    """One value per output channel, shaped to broadcast over the layer's kernel."""
    assert layer.kernel is not None
    shape = [1] * layer.kernel.ndim
    shape[layer.channel_axis] = -1
    return values.reshape(shape)


DENSE = "FULLY_CONNECTED"
LSTM_GATES = ("input", "forget", "cell", "output")
"""Of an LSTM, in the order of Keras and PyTorch, in TFLite's words."""


def gates(path: str, kind: str, kernels: Sequence[Array], biases: Sequence[Array | None]) -> Iterator[Layer]:
    """What multiplies the input and what the state; kernels as (gates * units, depth), as TFLite has them.

    An LSTM is told twice, gate by gate and all gates in one: a converter writes it either way.
    """
    (kernel, recurrent), (first, second) = kernels, biases
    yield Layer(f"{path}/input_to_gates", kind, (), kernel=kernel, bias=first, op=DENSE)
    yield Layer(f"{path}/recurrent_to_gates", kind, (), kernel=recurrent, bias=second, op=DENSE)
    parts = len(LSTM_GATES) if kind == "LSTM" else 0
    for gate, own, state, bias in zip(
        LSTM_GATES, _split(kernel, parts), _split(recurrent, parts), _split(first, parts), strict=False
    ):
        yield Layer(f"{path}/input_to_{gate}", kind, (), kernel=own, bias=bias, op=DENSE)
        yield Layer(f"{path}/recurrent_to_{gate}", kind, (), kernel=state, op=DENSE)


def _split(rows: Array | None, parts: int) -> Sequence[Array | None]:
    """The rows of each gate."""
    return [None] * parts if rows is None or not parts else np.split(rows, parts)
