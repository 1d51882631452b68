"""Every operator that is translated gives in real arithmetic what onnxruntime gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import N, floats, model, save

from quantdiff.errors import BadModel
from quantdiff.ladder.matching import lowered
from quantdiff.ladder.rungs import real_inputs
from quantdiff.ladder.switches import real_graph
from quantdiff.load.data import make_batch
from quantdiff.ops import TRAITS
from quantdiff.references.onnx.reference import open_onnx

NEAR = 1e-5  # of the largest value: sums of float32 in another order
IMAGE, ROW = ("n", 6, 8, 10), ("n", 12)
W, DW, GROUPED = floats(5, 6, 3, 3), floats(12, 1, 3, 3), floats(4, 3, 3, 3)
NORM = {"g": 1 + floats(6), "b": floats(6), "m": floats(6), "v": np.abs(floats(6)) + 0.5}
FIVE = {"g": 1 + floats(5), "b": floats(5), "m": floats(5), "v": np.abs(floats(5)) + 0.5}


def one(op: str, constants: dict[str, Any] | None = None, shape: Any = IMAGE, opset: int = 17, **options: Any) -> Any:
    return model([N(op, ["x", *(constants or {})], ["y"], options)], {"x": shape}, ["y"], constants, opset)


TWICE = np.array([1, 1, 2, 2], np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def behind_conv(*nodes: N, constants: dict[str, Any] | None = None, outputs: tuple[str, ...] = ("y",)) -> Any:
    first = N("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]})
    return model([first, *nodes], {"x": IMAGE}, list(outputs), {"w": W, **(constants or {})})


# fmt: off
CASES: dict[str, Any] = {
    "conv same": one("Conv", {"w": W, "a": floats(5)}, pads=[1, 1, 1, 1]),
    "conv valid": one("Conv", {"w": W}),
    "conv stride 2, padding on both sides": one("Conv", {"w": W}, pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv stride 2, padding as SAME has it": one("Conv", {"w": W}, pads=[0, 0, 1, 1], strides=[2, 2]),
    "conv auto_pad upper": one("Conv", {"w": W}, auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv auto_pad lower": one("Conv", {"w": W}, auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv dilation": one("Conv", {"w": W}, pads=[2, 2, 2, 2], dilations=[2, 2]),
    "conv by channel": one("Conv", {"w": DW}, pads=[1, 1, 1, 1], group=6),
    "conv in groups": one("Conv", {"w": GROUPED}, group=2),
    "conv of one channel": one("Conv", {"w": floats(4, 1, 3, 3)}, shape=("n", 1, 8, 8), pads=[1, 1, 1, 1]),
    "conv of a line": one("Conv", {"w": floats(5, 6, 3)}, shape=("n", 6, 20), pads=[1, 1], strides=[2]),
    "largest": one("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "largest, padded": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "mean": one("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    "mean, padding counts": one(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "mean of all": one("GlobalAveragePool"),
    "largest of all": one("GlobalMaxPool"),
    "norm": one("BatchNormalization", NORM),
    "gemm": one("Gemm", {"w": floats(12, 7), "a": floats(7)}, ROW, alpha=0.5, beta=2.0),
    "gemm turned": one("Gemm", {"w": floats(7, 12), "a": floats(7)}, ROW, transB=1),
    "matmul": one("MatMul", {"w": floats(12, 7)}, ("n", 4, 12)),
    "matmul and bias": model(
        [N("MatMul", ["x", "w"], ["p"]), N("Add", ["a", "p"], ["y"])],
        {"x": ("n", 4, 12)},
        ["y"],
        {"w": floats(12, 7), "a": floats(7)},
    ),
    "matmul of two": model([N("MatMul", ["x", "z"], ["y"])], {"x": ("n", 4, 12), "z": ("n", 12, 3)}, ["y"]),
    **{op: one(op) for op in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Elu", "Exp", "Abs", "Neg", "LeakyRelu")},
    **{f"{op} of positive": model([N("Exp", ["x"], ["e"]), N(op, ["e"], ["y"])], {"x": IMAGE}, ["y"])
       for op in ("Log", "Sqrt", "Reciprocal")},
    "gelu": one("Gelu", opset=20),
    "gelu by tanh": one("Gelu", opset=20, approximate="tanh"),
    "hard sigmoid": one("HardSigmoid", alpha=1 / 6),
    "prelu": one("PRelu", {"s": floats(6, 1, 1)}),
    "relu6": one("Clip", {"l": np.array(0, np.float32), "h": np.array(6, np.float32)}),
    "clip by other ends": one("Clip", {"l": np.array(-0.3, np.float32), "h": np.array(0.4, np.float32)}),
    "clip from above": model([N("Clip", ["x", "", "h"], ["y"])], {"x": IMAGE}, ["y"], {"h": np.array(0.4, np.float32)}),
    "softmax of channels": one("Softmax", axis=1),
    "softmax": one("Softmax", shape=ROW, axis=-1),
    "log softmax": one("LogSoftmax", shape=ROW, axis=-1),
    "add a constant": one("Add", {"a": floats(6, 1, 1)}),
    "subtract from": model([N("Sub", ["a", "x"], ["y"])], {"x": IMAGE}, ["y"], {"a": floats(1, 6, 8, 10)}),
    "largest of three": model([N("Max", ["x", "a", "b"], ["y"])], {"x": ROW}, ["y"], {"a": floats(12), "b": floats(1)}),
    "reshape": one("Reshape", {"s": ints(0, 12, 40)}),
    "flatten channels last": behind_conv(N("Flatten", ["c"], ["y"])),
    "flatten, then dense": behind_conv(
        N("Flatten", ["c"], ["f"]), N("Gemm", ["f", "k"], ["y"], {"transB": 1}), constants={"k": floats(3, 400)}
    ),
    "squeeze what is one": model(
        [N("GlobalAveragePool", ["x"], ["p"]), N("Squeeze", ["p", "a"], ["y"])], {"x": IMAGE}, ["y"], {"a": ints(2, 3)}
    ),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "transpose channels last": behind_conv(N("Transpose", ["c"], ["y"], {"perm": [0, 3, 1, 2]})),
    "add behind two orders": behind_conv(
        N("Conv", ["x", "v"], ["d"], {"pads": [1, 1, 1, 1]}),
        N("Add", ["c", "d"], ["y"]),
        constants={"v": W[::-1].copy()},
    ),
    "add an input": model(
        [N("Conv", ["x", "w"], ["c"], {"pads": [1, 1, 1, 1]}), N("Add", ["z", "c"], ["y"])],
        {"x": IMAGE, "z": ("n", 5, 8, 10)},
        ["y"],
        {"w": W},
    ),
    "concat channels": behind_conv(N("Concat", ["c", "x"], ["y"], {"axis": 1})),
    "concat with a constant": one("Transpose", shape=ROW, perm=[0, 1]),
    "mean kept": one("ReduceMean", axes=[2, 3], keepdims=1),
    "mean dropped": behind_conv(N("ReduceMean", ["c"], ["y"], {"axes": [2, 3], "keepdims": 0})),
    "sum of channels": behind_conv(N("ReduceSum", ["c", "a"], ["y"], {"keepdims": 0}), constants={"a": ints(1)}),
    "largest along": one("ReduceMax", axes=[3], keepdims=0),
    "slice": one("Slice", {"s": ints(1, 8), "e": ints(5, -100), "a": ints(1, 3), "t": ints(2, -2)}),
    "slice channels last": behind_conv(
        N("Slice", ["c", "s", "e", "a"], ["y"]), constants={"s": ints(-3), "e": ints(9999), "a": ints(1)}
    ),
    "slice of all samples": one("Slice", {"s": ints(0, 1), "e": ints(2**63 - 1, 4), "a": ints(0, 1)}),
    "split": model(
        [N("Split", ["x"], ["p", "q"], {"axis": 1}), N("Mul", ["p", "q"], ["y"])], {"x": IMAGE}, ["y"], opset=13
    ),
    "pad": one("Pad", {"p": ints(0, 0, 1, 2, 0, 1, 0, 3)}),
    "pad with one": one("Pad", {"p": ints(0, 0, 1, 2, 0, 1, 0, 3), "c": np.array(1, np.float32)}),
    "pad by reflection": one("Pad", {"p": ints(0, 0, 1, 2, 0, 0, 1, 3)}, mode="reflect"),
    "gather": one("Gather", {"i": ints(3, 0, -1)}, axis=1),
    "expand": one("Expand", {"s": ints(1, 6, 8, 10)}, ("n", 6, 1, 10)),
    "resize twice": model(
        [N("Resize", ["x", "", "s"], ["y"], {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                                             "nearest_mode": "floor"})],
        {"x": IMAGE}, ["y"], {"s": TWICE},
    ),
    "resize between pixels": model(
        [N("Resize", ["x", "", "s"], ["y"], {"mode": "linear"})], {"x": IMAGE}, ["y"], {"s": TWICE}
    ),
    "blocks to pixels": one("DepthToSpace", shape=("n", 8, 4, 4), blocksize=2),
    "pixels to blocks": one("SpaceToDepth", blocksize=2),
    "conv and norm": behind_conv(N("BatchNormalization", ["c", *FIVE], ["y"]), constants=FIVE),
    "conv and norm, read twice": behind_conv(
        N("BatchNormalization", ["c", *FIVE], ["q"]), N("Add", ["c", "q"], ["y"]), constants=FIVE
    ),
    "layer norm": one("LayerNormalization", {"g": floats(12), "b": floats(12)}, ("n", 4, 12), axis=-1),
    "layer norm of channels last": behind_conv(
        N("LayerNormalization", ["c", "g"], ["y"], {"axis": 2}), constants={"g": floats(8, 10)}
    ),
    **{f"gelu by erf, {name}": model(
        [N("Div", ["x", "r"], ["d"]), N("Erf", ["d"], ["e"]), N("Add", ["e", "o"], ["a"]), *ends],
        {"x": ROW}, ["y"],
        {"r": np.array(2**0.5, np.float32), "o": np.array(1, np.float32), "h": np.array(0.5, np.float32)},
    ) for name, ends in {
        "x first": [N("Mul", ["x", "a"], ["m"]), N("Mul", ["m", "h"], ["y"])],
        "a half first": [N("Mul", ["a", "h"], ["m"]), N("Mul", ["x", "m"], ["y"])],
        "half of x": [N("Mul", ["x", "h"], ["m"]), N("Mul", ["m", "a"], ["y"])],
    }.items()},
    "transposed conv": one("ConvTranspose", {"w": floats(6, 4, 2, 2), "a": floats(4)}, strides=[2, 2]),
    "transposed conv that overlaps": one("ConvTranspose", {"w": floats(6, 4, 3, 3)}, strides=[2, 2]),
    "transposed conv, same": one("ConvTranspose", {"w": floats(6, 4, 3, 3)}, pads=[1, 1, 1, 1]),
    "transposed conv, as DCGAN": one("ConvTranspose", {"w": floats(6, 4, 4, 4), "a": floats(4)}, strides=[2, 2],
                                     pads=[1, 1, 1, 1]),
    "transposed conv, one row more": one("ConvTranspose", {"w": floats(6, 4, 3, 3)}, strides=[2, 2],
                                         pads=[1, 1, 1, 1], output_padding=[1, 1]),
    "blocks to pixels, channels first": one("DepthToSpace", shape=("n", 8, 4, 4), blocksize=2, mode="CRD"),
    "norm of each channel": one("InstanceNormalization", {"g": floats(6), "b": floats(6)}),
    "norm of groups": one("GroupNormalization", {"g": floats(6), "b": floats(6)}, opset=21, num_groups=2),
    "softplus": one("Softplus"),
    "one of two": model(
        [N("Greater", ["x", "a"], ["c"]), N("Neg", ["x"], ["e"]), N("Where", ["c", "e", "x"], ["y"])],
        {"x": ROW}, ["y"], {"a": floats(12)},
    ),
    **{f"attention{more}": model(
        [N("Neg", ["x"], ["k"]), N("Abs", ["x"], ["v"]), N("Attention", ["x", "k", "v"], ["y"], options)],
        {"x": ("n", 2, 5, 4)}, ["y"], opset=23,
    ) for more, options in (("", {}), (" that looks back", {"is_causal": 1, "scale": 0.7}))},
    **{f"{op} that {name}": model(
        [N("Transpose", ["x"], ["t"], {"perm": [1, 0, 2]}),
         N(op, ["t", "w", "r", "b"], ["s", "h"], {"hidden_size": 3, **options}),
         N("Transpose", ["s"], ["u"], {"perm": [2, 0, 1, 3]}), N("Reshape", ["u", "z"], ["p"]),
         N("ReduceMean", ["h"], ["q"], {"axes": [0], "keepdims": 0}), N("Concat", ["p", "q"], ["y"], {"axis": 1})],
        {"x": ("n", 5, 4)}, ["y"],
        {"w": floats(many, gates * 3, 4), "r": floats(many, gates * 3, 3), "b": floats(many, gates * 6),
         "z": ints(-1, 5 * many * 3)},
    ) for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)) for name, many, options in (
        ("goes on", 1, {}), ("goes back", 1, {"direction": "reverse"}),
        ("does both", 2, {"direction": "bidirectional"}),
    )},
    "GRU that resets after the product": model(
        [N("Transpose", ["x"], ["t"], {"perm": [1, 0, 2]}),
         N("GRU", ["t", "w", "r", "b"], ["", "h"], {"hidden_size": 3, "linear_before_reset": 1}),
         N("Squeeze", ["h", "z"], ["y"])],
        {"x": ("n", 5, 4)}, ["y"],
        {"w": floats(1, 9, 4), "r": floats(1, 9, 3), "b": floats(1, 18), "z": ints(0)},
    ),
    "a sum of what is no data, and data": model(  # the states of a decomposed RNN begin with zeros of the batch's size
        [N("Shape", ["x"], ["s"]), N("ConstantOfShape", ["s"], ["o"]), N("MatMul", ["o", "w"], ["p"]),
         N("Add", ["p", "b"], ["q"]), N("MatMul", ["x", "w"], ["r"]), N("Add", ["q", "r"], ["y"])],
        {"x": ROW}, ["y"], {"w": floats(12, 7), "b": floats(7)},
    ),
    "two outputs": behind_conv(N("Relu", ["c"], ["r"]), N("GlobalAveragePool", ["r"], ["y"]), outputs=("y", "r")),
    "sizes by shape": model(
        [
            N("Shape", ["x"], ["s"]), N("Gather", ["s", "zero"], ["n"], {"axis": 0}),
            N("Concat", ["n", "rest"], ["t"], {"axis": 0}), N("Reshape", ["x", "t"], ["y"]),
        ],
        {"x": IMAGE}, ["y"], {"zero": ints(0), "rest": ints(-1)},
    ),
    "quantized": model(
        [
            N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("DequantizeLinear", ["q", "s", "z"], ["d"]),
            N("Conv", ["d", "w"], ["c"], {"pads": [1, 1, 1, 1]}),
            N("QuantizeLinear", ["c", "t", "z"], ["u"]), N("DequantizeLinear", ["u", "t", "z"], ["y"]),
        ],
        {"x": IMAGE}, ["y"],
        {"w": W, "s": np.array(2**-6, np.float32), "t": np.array(0.125, np.float32), "z": np.array(3, np.int8)},
    ),
}
# fmt: on


def samples(reference: Any, count: int = 5) -> Any:
    rng = np.random.default_rng(0)
    shapes = {slot.name: (count, *(n or 4 for n in slot.shape[1:])) for slot in reference.inputs}
    return make_batch({name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}, "made")


@pytest.mark.parametrize("name", CASES)
def test_the_graph_gives_what_onnxruntime_gives(name: str, tmp_path: Path) -> None:
    reference = open_onnx(save(tmp_path, CASES[name]))
    batch, model = samples(reference), reference.lower()
    real = lowered(real_graph(model.main)).real
    assert {op.op for op in model.main.operators} <= set(TRAITS)
    values = real.run(real_inputs(model, batch), _on_its_grids(real))
    for index, value in zip(model.main.outputs, reference.trace(batch).outputs, strict=True):
        ours, theirs = values[index].reshape(value.array.shape), value.array
        assert np.abs(ours - theirs).max() <= NEAR * np.abs(theirs).max()


def _on_its_grids(real: Any) -> Any:
    from quantdiff.ladder.real_graph import Setting

    return Setting({}, {}, frozenset(real.varying), frozenset(real.varying))


@pytest.mark.parametrize(("op", "parts"), [("LSTM", ("i", "o", "f", "c")), ("GRU", ("z", "r", "h")), ("RNN", ("h",))])
def test_the_kernels_of_a_recurrent_layer_are_told_by_their_gates(
    op: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    """ONNX has an LSTM's gates as i, o, f, c; TFLite says input, forget, cell, output."""
    made = CASES[f"{op} that does both"]
    numpy_helper = pytest.importorskip("onnx.numpy_helper")
    stored = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
    (layer,) = [each for each in open_onnx(save(tmp_path, made)).layers() if each.inner]
    found: dict[str, Any] = {"/".join(each.name.split("/")[-2:]): each for each in layer.inner}
    names = {"i": "input", "f": "forget", "c": "cell", "o": "output"} if op == "LSTM" else {}
    for k, side in enumerate(("forward", "backward")):
        assert found[f"{side}/input_to_gates"].kernel.shape == (3 * len(parts), 4)
        for at, part in enumerate(parts):
            rows = slice(3 * at, 3 * at + 3)
            for kind, own in (("input", stored["w"][k, rows]), ("recurrent", stored["r"][k, rows])):
                if part in names:
                    assert np.array_equal(found[f"{side}/{kind}_to_{names[part]}"].kernel, own)
            if part in names:
                assert np.array_equal(found[f"{side}/input_to_{names[part]}"].bias, stored["b"][k, rows])
    assert len(found) == (20 if op == "LSTM" else 4)


def test_rows_of_a_table_are_looked_up(tmp_path: Path) -> None:
    nodes = [N("Gather", ["t", "x"], ["e"], {"axis": 0}), N("ReduceMean", ["e"], ["y"], {"axes": [1], "keepdims": 0})]
    made = model(nodes, {"x": ("n", 4)}, ["y"], {"t": floats(9, 5)})
    made.graph.input[0].type.tensor_type.elem_type = 7
    reference = open_onnx(save(tmp_path, made))
    batch = make_batch({"x": np.arange(12).reshape(3, 4) % 9}, "made")
    lowering = reference.lower()
    assert [op.op for op in lowering.main.operators] == ["EMBEDDING_LOOKUP", "MEAN"]
    real = real_graph(lowering.main)
    (ours,) = (real.run(real_inputs(lowering, batch), _on_its_grids(real))[i] for i in lowering.main.outputs)
    theirs = reference.trace(batch).outputs[0].array
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() <= NEAR


def test_an_operator_that_has_no_words_is_named_and_the_rest_is_seen(tmp_path: Path) -> None:
    made = behind_conv(N("Mish", ["c"], ["h"]), N("Relu", ["h"], ["y"]))
    made.opset_import[0].version = 18
    reference = open_onnx(save(tmp_path, made))
    with pytest.raises(BadModel, match=r"model\.onnx: no operators of TFLite are known for Mish '/h/Mish'; ") as error:
        reference.lower()
    assert "\n" not in str(error.value)
    with reference.recorder() as recorder:
        seen = recorder.run([samples(reference).arrays["x"]])
    assert [(place.name, place.op) for place in seen.flow.places] == [
        ("x", "input"), ("/c/Conv", "CONV_2D"), ("/h/Mish", "Mish"), ("/y/Relu", "RELU"),
    ]  # fmt: skip
