"""Layers and tensors found by name, structure and value, on layers and files written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from written_models import Op, Sig, Sub, T, write_model

from quantdiff.align.alignment import align
from quantdiff.align.chains import fused_chain
from quantdiff.align.weights import tflite_layout
from quantdiff.graph import Model
from quantdiff.layer import BatchNorm, Layer, TrainedRange
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array

NONE = {"fusedActivationFunction": 0}
DICE = np.random.default_rng(0)
CONV, DENSE, SAME_SHAPE = DICE.normal(size=(3, 3, 2, 4)), DICE.normal(size=(4, 5)), DICE.normal(size=(4, 5))
FACTOR = np.array([0.5, 2, 3, 0.1])
NORM = BatchNorm(FACTOR, np.zeros(4), np.zeros(4), np.ones(4), 0.0)
SCALE = 0.04
LAYERS = (
    Layer("quantize_layer", "QuantizeLayer", (), ranges=(TrainedRange("quantize_layer", (0.0,), (1.0,), "A"),)),
    Layer("quant_conv", "Conv2D", ("quantize_layer",), kernel=CONV, bias=np.zeros(4)),
    Layer("quant_bn", "BatchNormalization", ("quant_conv",), norm=NORM),
    Layer("quant_act", "ReLU", ("quant_bn",), ranges=(TrainedRange("output", (-1.0,), (1.0,), "A"),)),
    Layer("quant_pool", "GlobalAveragePooling2D", ("quant_act",)),
    Layer("quant_dense", "Dense", ("quant_pool",), kernel=DENSE, bias=np.zeros(5)),
)


def integers(values: Array) -> Array:
    return np.clip(np.rint(values / SCALE), -127, 127).astype(np.int8)


def model(folder: Path, *, folded: bool = True, named: bool = True, signed: bool = False) -> Model:
    """Conv, mean, dense; ``named`` gives the tensors the names that a converter leaves."""
    conv = CONV * FACTOR if folded else CONV
    names = {"c": "model/quant_conv/Conv2D;x", "h": "model/quant_act/Relu;model/quant_bn/F;model/quant_conv/C1"}
    names |= {"p": "model/quant_pool/Mean", "d": "model/quant_dense/MatMul;y"}

    def name(key: str) -> str:
        return names[key] if named else key

    tensors = [
        T("x", (1, 3, 3, 2), scale=0.5),
        T(name("c"), (4, 3, 3, 2), scale=SCALE, data=integers(np.moveaxis(conv, -1, 0))),
        T("cb", (4,), "int32", scale=0.1, data=[1, 2, 3, 4]),
        T(name("h"), (1, 1, 1, 4), scale=0.5),
        T("axes", (2,), "int32", data=[1, 2]),
        T(name("p"), (1, 4), scale=0.5),
        T(name("d"), (5, 4), scale=SCALE, data=integers(DENSE.T)),
        T("y", (1, 5), scale=0.5),
        T("spare", (1, 5), scale=0.5),
    ]
    operators = [
        Op("CONV_2D", ["x", name("c"), "cb"], [name("h")], {"strideW": 1, "strideH": 1, "padding": 1}),
        Op("MEAN", [name("h"), "axes"], [name("p")], options_type="ReducerOptions"),
        Op("FULLY_CONNECTED", [name("p"), name("d"), None], ["y"], NONE),
        Op("RELU", ["y"], ["spare"]),
    ]
    signatures = [Sig("serve", {"x": "x"}, {"quant_dense": "y"})] if signed else []
    path = folder / "model.tflite"
    path.write_bytes(write_model([Sub(tensors, operators, ["x"], ["y"])], signatures))
    return load_tflite(path)


def found(aligned: Model, layers: tuple[Layer, ...] = LAYERS) -> dict[tuple[str, str], tuple[int, str]]:
    return {(p.layer, p.role): (p.tensor, p.found_by) for p in align(layers, aligned).pairs}


def test_by_name_and_structure(tmp_path: Path) -> None:
    pairs = found(model(tmp_path))
    assert pairs == {
        ("quant_conv", "kernel"): (1, "name"),
        ("quant_conv", "bias"): (2, "name"),
        ("quantize_layer", "output"): (0, "structure"),
        ("quant_act", "output"): (3, "name"),
        ("quant_pool", "output"): (5, "name"),
        ("quant_dense", "kernel"): (6, "name"),
        ("quant_dense", "output"): (7, "structure"),
    }


def test_what_has_no_partner_is_listed(tmp_path: Path) -> None:
    alignment = align(LAYERS, model(tmp_path))
    assert alignment.only_keras == (("quant_dense", "bias"),)
    assert [*alignment.only_tflite] == [8]


def test_without_names_the_weights_tell(tmp_path: Path) -> None:
    pairs = found(model(tmp_path, named=False))
    assert pairs["quant_conv", "kernel"] == (1, "values")
    assert pairs["quant_act", "output"] == (3, "structure")
    assert pairs["quant_dense", "kernel"] == (6, "values")


def test_the_reference_before_quantize_model_has_other_names(tmp_path: Path) -> None:
    plain = tuple(
        replace(each, name=each.plain, inputs=tuple(i[6:] for i in each.inputs), ranges=()) for each in LAYERS
    )
    pairs = found(model(tmp_path), plain[1:])
    assert pairs["conv", "kernel"] == (1, "name")
    assert pairs["act", "output"] == (3, "name")


def test_a_name_alone_is_not_confirmed_but_better_values_are(tmp_path: Path) -> None:
    other = replace(LAYERS[-1], kernel=SAME_SHAPE)
    alone = align((*LAYERS[:-1], other), model(tmp_path)).find("quant_dense", "kernel")
    assert alone is not None
    assert (alone.found_by, alone.confirmed) == ("name", False)
    twin = replace(LAYERS[-1], name="twin")
    assert found(model(tmp_path), (*LAYERS[:-1], other, twin))["twin", "kernel"] == (6, "values")


@pytest.mark.parametrize(
    ("folded", "fused"), [(True, ("quant_conv", "quant_bn", "quant_act")), (False, ("quant_conv",))]
)
def test_the_values_tell_whether_batch_norm_is_folded(tmp_path: Path, folded: bool, fused: tuple[str, ...]) -> None:
    pair = align(LAYERS, model(tmp_path, folded=folded)).find("quant_conv", "kernel")
    assert pair is not None
    assert (pair.fused, pair.confirmed) == (fused, True)


def test_a_sum_before_a_softmax_is_not_the_layers_output(tmp_path: Path) -> None:
    aligned = model(tmp_path)
    softmax = replace(aligned.main.tensors[8], name="model/quant_dense/Softmax")
    graph = replace(aligned.main, tensors=(*aligned.main.tensors[:8], softmax), outputs=(8,))
    tensors = [replace(t, name="model/quant_dense/BiasAdd") if t.index == 7 else t for t in graph.tensors]
    pairs = found(replace(aligned, subgraphs=(replace(graph, tensors=tuple(tensors)),)))
    assert pairs["quant_dense", "output"] == (8, "name")
    assert pairs["quant_dense", "pre_activation"] == (7, "structure")


def test_a_quantizer_ends_a_chain() -> None:
    assert [each.name for each in fused_chain(LAYERS, LAYERS[1])] == ["quant_conv", "quant_bn", "quant_act"]
    stopped = replace(LAYERS[1], ranges=(TrainedRange("post_activation", (0.0,), (1.0,), "A"),))
    assert fused_chain((LAYERS[0], stopped, *LAYERS[2:]), stopped) == (stopped,)


def test_a_branch_ends_a_chain() -> None:
    branch = Layer("quant_add", "Add", ("quant_conv", "quant_act"))
    assert len(fused_chain((*LAYERS, branch), LAYERS[1])) == 1


def test_layouts() -> None:
    kernel = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    assert tflite_layout(Layer("a", "Conv2D", ()), kernel)[6, 1, 2, 4] == kernel[1, 2, 4, 6]
    assert tflite_layout(Layer("a", "Conv2DTranspose", ()), kernel)[4, 1, 2, 6] == kernel[1, 2, 4, 6]
    assert tflite_layout(Layer("a", "DepthwiseConv2D", ()), kernel)[0, 1, 2, 4 * 7 + 6] == kernel[1, 2, 4, 6]
    assert tflite_layout(Layer("a", "Conv1D", ()), kernel[0])[6, 0, 2, 4] == kernel[0, 2, 4, 6]
    assert tflite_layout(Layer("a", "Dense", ()), kernel[0, 0])[6, 4] == kernel[0, 0, 4, 6]
