"""ATen's operators in ONNX's words, so that one translation into TFLite's serves both."""

from __future__ import annotations

import numpy as np

from quantdiff.references.onnx.program import DENSE, Node
from quantdiff.references.torch import calls, windows
from quantdiff.references.torch.calls import Call, said, text, word

__all__ = ["said"]
LOADED = (calls, windows)
"""They register their words when they are imported."""
SAME = ("alias", "clone", "contiguous", "detach", "detach_", "dropout", "dropout_", "lift_fresh_copy", "to", "_to_copy")
SHAPED = ("flatten", "reshape", "squeeze", "unsqueeze", "view", "_unsafe_view", "unflatten")
UNARY = {
    "abs": "Abs", "ceil": "Ceil", "cos": "Cos", "exp": "Exp", "floor": "Floor", "hardswish": "HardSwish", "log": "Log",
    "neg": "Neg", "reciprocal": "Reciprocal", "relu": "Relu", "round": "Round", "sigmoid": "Sigmoid", "sign": "Sign",
    "sin": "Sin", "sqrt": "Sqrt", "tanh": "Tanh",
}  # fmt: skip
BINARY = {"add": "Add", "div": "Div", "maximum": "Max", "minimum": "Min", "mul": "Mul", "pow": "Pow", "sub": "Sub"}
COMPARE = {
    "eq": "Equal", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "logical_and": "And",
    "logical_not": "Not", "logical_or": "Or", "lt": "Less", "where": "Where",
}  # fmt: skip
SIXTH = 1 / 6
FARTHEST = 2**31 - 1


@word(*SAME)
def same(call: Call) -> list[Node]:
    """The value under another name."""
    return [call.say("Identity", call.get("self", "input"))]


@word(*SHAPED)
def shaped(call: Call) -> list[Node]:
    """The shape is that of what comes out."""
    return [call.say("Reshape", call.get("self", "input"))]


@word("expand")
def expand(call: Call) -> list[Node]:
    """The shape is that of what comes out."""
    return [call.say("Expand", call.given["self"])]


@word(*UNARY)
def unary(call: Call) -> list[Node]:
    """The function that the operator is named for."""
    return [call.say(UNARY[call.op], call.get("self", "input"))]


@word(*BINARY)
def binary(call: Call) -> list[Node]:
    """The function of two values or numbers."""
    if call.get("alpha", default=1) != 1 or call.get("rounding_mode") is not None:
        return [call.say(f"aten.{call.op} with alpha or rounding", call.given["self"])]
    second = "exponent" if call.op == "pow" else "other"
    return [call.say(BINARY[call.op], call.number("self"), call.number(second))]


@word(*COMPARE)
def compare(call: Call) -> list[Node]:
    """A truth value for each element, or one of two values by it."""
    names = ("condition", "self", "other") if call.op == "where" else ("self", "other")
    return [call.say(COMPARE[call.op], *(call.number(name) for name in names if call.given.get(name) is not None))]


@word("masked_fill")
def masked_fill(call: Call) -> list[Node]:
    """A number where the mask is true."""
    return [call.say("Where", call.given["mask"], call.number("value"), call.given["self"])]


@word("softplus")
def softplus(call: Call) -> list[Node]:
    """``log(1 + exp(x))``; beyond its threshold PyTorch's is the line that this comes to."""
    if call.get("beta", default=1) != 1:
        return [call.say("aten.softplus with beta", call.given["self"])]
    return [call.say("Softplus", call.given["self"])]


@word("embedding")
def embedding(call: Call) -> list[Node]:
    """Rows of a table."""
    return [call.say("Gather", call.given["weight"], call.given["indices"], axis=0)]


@word("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> list[Node]:
    """A sequence of steps, with all its layers."""
    states = call.get("hx")
    names = (call.given["input"], *([states] if isinstance(states, str) else states), *call.given["params"])
    options = {key: call.get(key, default=False) for key in ("has_biases", "bidirectional", "batch_first")}
    return [call.say(f"aten.{call.op}", *names, **options)]


@word("scaled_dot_product_attention")
def attention(call: Call) -> list[Node]:
    """``softmax(q kᵀ / √d + mask) v``."""
    names = (call.get(name, default="") for name in ("query", "key", "value", "attn_mask"))
    odd = call.get("dropout_p", default=0.0) or call.get("enable_gqa", default=False)
    options = {"is_causal": int(call.get("is_causal", default=False)), "scale": call.get("scale")}
    return [call.say("aten.attention with dropout or shared heads" if odd else "Attention", *names, **options)]


@word("rsqrt")
def rsqrt(call: Call) -> list[Node]:
    """``1 / sqrt(x)``."""
    x = call.given["self"]
    root = call.between("sqrt", x)
    return [call.say("Sqrt", x, outputs=(root,)), call.say("Reciprocal", root)]


@word("silu")
def silu(call: Call) -> list[Node]:
    """``x * sigmoid(x)``."""
    x = call.given["self"]
    gate = call.between("sigmoid", x)
    return [call.say("Sigmoid", x, outputs=(gate,)), call.say("Mul", x, gate)]


@word("relu6", "hardtanh", "clamp")
def clamp(call: Call) -> list[Node]:
    """Between two bounds."""
    relu6 = call.op == "relu6"
    low = call.get("min_val", "min", default=0.0 if relu6 else -1.0 if call.op == "hardtanh" else -np.inf)
    high = call.get("max_val", "max", default=6.0 if relu6 else 1.0 if call.op == "hardtanh" else np.inf)
    return [call.say("Clip", call.given["self"], call.constant(low), call.constant(high))]


@word("hardsigmoid")
def hardsigmoid(call: Call) -> list[Node]:
    """``relu6(x + 3) / 6``."""
    return [call.say("HardSigmoid", call.given["self"], alpha=SIXTH, beta=0.5)]


@word("gelu")
def gelu(call: Call) -> list[Node]:
    """By erf or tanh."""
    return [call.say("Gelu", call.given["self"], approximate=text(call.get("approximate"), "none"))]


@word("elu", "leaky_relu")
def slope(call: Call) -> list[Node]:
    """Another slope below zero."""
    if call.op == "elu":
        return [call.say("Elu", call.given["self"], alpha=call.get("alpha", default=1.0))]
    return [call.say("LeakyRelu", call.given["self"], alpha=call.get("negative_slope", default=0.01))]


@word("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(call: Call) -> list[Node]:
    """Along an axis."""
    op = "LogSoftmax" if "log" in call.op else "Softmax"
    return [call.say(op, call.given["self"], axis=call.given["dim"])]


@word("layer_norm")
def layer_norm(call: Call) -> list[Node]:
    """Along the last axes."""
    names = [call.get("weight", default=""), call.get("bias", default="")]
    axis = -len(call.given["normalized_shape"])
    return [
        call.say("LayerNormalization", call.given["input"], *names, axis=axis, epsilon=call.get("eps", default=1e-5))
    ]


@word("group_norm", "instance_norm")
def group_norm(call: Call) -> list[Node]:
    """By groups of channels, or each channel by itself."""
    names = [call.get("weight", default=""), call.get("bias", default="")]
    if call.op == "instance_norm":
        if not call.get("use_input_stats", default=True):
            return [call.say("aten.instance_norm by stored statistics", call.given["input"])]
        return [call.say("InstanceNormalization", call.given["input"], *names, epsilon=call.get("eps", default=1e-5))]
    options = {"num_groups": call.given["num_groups"], "epsilon": call.get("eps", default=1e-5)}
    return [call.say("GroupNormalization", call.given["input"], *names, **options)]


@word("prelu")
def prelu(call: Call) -> list[Node]:
    """A slope by channel."""
    return [call.say("PRelu", call.given["self"], call.given["weight"], by_channel=1)]


@word("max", "min")
def extreme(call: Call) -> list[Node]:
    """The largest or smallest along an axis, where nobody asks for its place; of two values the one of each place."""
    if isinstance(call.given.get("other"), str):
        return [call.say("Max" if call.op == "max" else "Min", call.given["self"], call.given["other"])]
    axes = None if call.get("dim") is None else [call.get("dim")]
    options = {"axes": axes, "keepdims": int(call.get("keepdim", default=False))}
    return [call.say(f"Reduce{call.op.capitalize()}", call.given["self"], outputs=call.outputs[:1], **options)]


@word("unbind")
def unbind(call: Call) -> list[Node]:
    """The entries along an axis, each by itself."""
    axis = call.get("dim", default=0)
    places = enumerate(call.outputs)
    return [
        call.say("Gather", call.given["self"], call.constant(k, "int64"), outputs=(name,), axis=axis)
        for k, name in places
    ]


@word("transpose", "t")
def transpose(call: Call) -> list[Node]:
    """Two axes exchanged; which ones of how many the translation counts."""
    first, second = call.get("dim0", default=0), call.get("dim1", default=1)
    return [call.say("Transpose", call.given["self"], exchanged=(first, second))]


@word("mean", "sum", "amax", "amin")
def reduce(call: Call) -> list[Node]:
    """Along axes."""
    op = {"mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin"}[call.op]
    return [call.say(op, call.given["self"], axes=call.get("dim"), keepdims=int(call.get("keepdim", default=False)))]


@word("linear")
def linear(call: Call) -> list[Node]:
    """``x @ weight.T + bias``."""
    bias = call.get("bias")
    return [call.say(DENSE, call.given["input"], call.given["weight"], *([bias] if bias else []))]


@word("addmm")
def addmm(call: Call) -> list[Node]:
    """``bias + x @ weight``."""
    return [call.say("Gemm", call.given["mat1"], call.given["mat2"], call.given["self"])]


@word("mm", "matmul", "bmm")
def matmul(call: Call) -> list[Node]:
    """``a @ b``."""
    return [call.say("MatMul", call.get("self"), call.get("mat2", "other"))]


@word("permute")
def permute(call: Call) -> list[Node]:
    """Axes in another order."""
    rank = len(call.given["dims"])
    return [call.say("Transpose", call.given["self"], perm=[axis % rank for axis in call.given["dims"]])]


@word("cat")
def cat(call: Call) -> list[Node]:
    """One behind the other."""
    return [call.say("Concat", *call.given["tensors"], axis=call.get("dim", default=0))]


@word("split", "split_with_sizes", "chunk")
def split(call: Call) -> list[Node]:
    """Parts along an axis."""
    return [call.say("Split", call.given["self"], axis=call.get("dim", default=0))]


@word("slice")
def cut(call: Call) -> list[Node]:
    """From here to there along an axis."""
    ends = (call.get("start", default=0), call.get("end", default=FARTHEST), call.get("dim", default=0))
    start, end, axis = (call.constant([min(each, FARTHEST)], "int64") for each in ends)
    return [
        call.say("Slice", call.given["self"], start, end, axis, call.constant([call.get("step", default=1)], "int64"))
    ]


@word("select")
def select(call: Call) -> list[Node]:
    """One entry along an axis."""
    return [call.say("Gather", call.given["self"], call.constant(call.given["index"], "int64"), axis=call.given["dim"])]
