"""What names say."""

from __future__ import annotations

from quantdiff.align.choice import ALIKE, END, MENTIONED, SAME, labels_of, mentions, path_of
from quantdiff.quant import Grid, QuantParams
from quantdiff.recording import Flow, FlowValue

GRID = Grid(QuantParams((0.1,), (0,)), "int8", "t")


def test_paths_are_whole_pieces() -> None:
    name = "model/quant_bn/Fused;model/early/quant_conv/Conv2D1"
    assert mentions(name, "bn")
    assert mentions(name, "early/conv")
    assert not mentions(name, "conv2")
    assert not mentions(name, "model/conv")
    assert path_of("quant_dense#2") == path_of("dense/pre_activation") == "dense"


def test_the_last_layer_mentioned_counts_most() -> None:
    layers = tuple(
        FlowValue(i, name, op) for i, (name, op) in enumerate([("in", "input"), ("conv", "CONV_2D"), ("act", "RELU")])
    )
    tensors = (FlowValue(0, "x", "input"), FlowValue(1, "m/act/Relu;m/conv/Conv2D", "CONV_2D"))
    labels = labels_of(Flow("a", layers, (0,), (2,)), Flow("b", tensors, (0,), (1,)))
    assert labels.score(layers[2], tensors[1]) == SAME + END
    assert labels.score(layers[1], tensors[1]) == MENTIONED + ALIKE
    assert labels.score(layers[0], tensors[0]) == END + ALIKE
    assert labels.score(layers[0], tensors[1]) == 0


def test_a_quantizer_belongs_to_integers() -> None:
    layers = (FlowValue(0, "x", "input"), FlowValue(1, "quantize_layer", "QUANTIZE", (0,)))
    tensors = (FlowValue(0, "serving", "input"), FlowValue(1, "tfl.quantize", "QUANTIZE", (0,), grid=GRID))
    labels = labels_of(Flow("a", layers, (0,), (1,)), Flow("b", tensors, (0,), (1,)))
    assert labels.score(layers[1], tensors[1]) > labels.score(layers[0], tensors[1])
