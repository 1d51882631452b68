"""Kernels and biases found by name, structure and value, on layers and files written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from written_models import Op, Sig, Sub, T, write_model

from quantdiff.align.alignment import TensorPair
from quantdiff.align.constants import bias_moved, constant_pairs, fit_between, fused_chain, kernels_agree
from quantdiff.compare.layers.report import notes_of
from quantdiff.graph import Model
from quantdiff.load.tflite import load_tflite
from quantdiff.ops import BatchNorm, Layer, TrainedRange
from quantdiff.quant import Array
from quantdiff.recording import FlowValue, tflite_flow

NONE = {"fusedActivationFunction": 0}
DICE = np.random.default_rng(0)
CONV, DENSE, SAME_SHAPE = DICE.normal(size=(4, 3, 3, 2)), DICE.normal(size=(5, 4)), DICE.normal(size=(5, 4))
FACTOR = np.array([0.5, 1.2, 1.5, 0.1])
NORM = BatchNorm(FACTOR, np.zeros(4), np.zeros(4), np.ones(4), 0.0)
SCALE = 0.04
LAYERS = (
    Layer("quantize_layer", "QuantizeLayer", (), ranges=(TrainedRange("quantize_layer", (0.0,), (1.0,), "A"),)),
    Layer("quant_conv", "Conv2D", ("quantize_layer",), kernel=CONV, bias=np.zeros(4), op="CONV_2D"),
    Layer("quant_bn", "BatchNormalization", ("quant_conv",), norm=NORM),
    Layer("quant_act", "ReLU", ("quant_bn",), op="RELU", ranges=(TrainedRange("output", (-1.0,), (1.0,), "A"),)),
    Layer("quant_pool", "GlobalAveragePooling2D", ("quant_act",)),
    Layer("quant_dense", "Dense", ("quant_pool",), kernel=DENSE, bias=np.zeros(5), op="FULLY_CONNECTED"),
)


def integers(values: Array) -> Array:
    return np.clip(np.rint(values / SCALE), -127, 127).astype(np.int8)


def model(folder: Path, *, folded: bool = True, named: bool = True, signed: bool = False) -> Model:
    """Conv, mean, dense; ``named`` gives the tensors the names that a converter leaves."""
    conv = CONV * FACTOR.reshape(-1, 1, 1, 1) if folded else CONV
    names = {"c": "model/quant_conv/Conv2D;x", "h": "model/quant_act/Relu;model/quant_bn/F;model/quant_conv/C1"}
    names |= {"p": "model/quant_pool/Mean", "d": "model/quant_dense/MatMul;y"}

    def name(key: str) -> str:
        return names[key] if named else key

    tensors = [
        T("x", (1, 3, 3, 2), scale=0.5),
        T(name("c"), (4, 3, 3, 2), scale=SCALE, data=integers(conv)),
        T("cb", (4,), "int32", scale=0.1, data=[1, 2, 3, 4]),
        T(name("h"), (1, 1, 1, 4), scale=0.5),
        T("axes", (2,), "int32", data=[1, 2]),
        T(name("p"), (1, 4), scale=0.5),
        T(name("d"), (5, 4), scale=SCALE, data=integers(DENSE)),
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


def pairs_in(aligned: Model, layers: tuple[Layer, ...] = LAYERS) -> dict[tuple[str, str], TensorPair]:
    operators = [(place, ()) for place in tflite_flow(aligned, "tflite").places]
    return {(pair.layer, pair.role): pair for pair in constant_pairs(layers, operators)}


def found(aligned: Model, layers: tuple[Layer, ...] = LAYERS) -> dict[tuple[str, str], tuple[int, str]]:
    return {key: (pair.tensor, pair.found_by) for key, pair in pairs_in(aligned, layers).items()}


def test_by_name(tmp_path: Path) -> None:
    assert found(model(tmp_path)) == {
        ("quant_conv", "kernel"): (1, "name"),
        ("quant_conv", "bias"): (2, "name"),
        ("quant_dense", "kernel"): (6, "name"),
    }


def test_without_names_the_weights_tell(tmp_path: Path) -> None:
    pairs = found(model(tmp_path, named=False))
    assert pairs["quant_conv", "kernel"] == (1, "values")
    assert pairs["quant_dense", "kernel"] == (6, "values")


def test_the_reference_before_quantize_model_has_other_names(tmp_path: Path) -> None:
    plain = tuple(
        replace(each, name=each.plain, inputs=tuple(i[6:] for i in each.inputs), ranges=()) for each in LAYERS
    )
    assert found(model(tmp_path), plain[1:])["conv", "kernel"] == (1, "name")


def test_a_name_alone_is_not_confirmed_but_better_values_are(tmp_path: Path) -> None:
    other = replace(LAYERS[-1], kernel=SAME_SHAPE)
    alone = pairs_in(model(tmp_path), (*LAYERS[:-1], other))["quant_dense", "kernel"]
    assert (alone.found_by, alone.confirmed) == ("name", False)
    twin = replace(LAYERS[-1], name="twin")
    assert found(model(tmp_path), (*LAYERS[:-1], other, twin))["twin", "kernel"] == (6, "values")


def test_layers_of_submodels_with_one_last_name_are_told_apart(tmp_path: Path) -> None:
    early, late = (
        replace(LAYERS[-1], name=f"{part}/dense", kernel=k) for part, k in (("early", SAME_SHAPE), ("late", DENSE))
    )
    pairs = found(model(tmp_path, named=False), (early, late))
    assert pairs == {("late/dense", "kernel"): (6, "values")}


def test_weights_that_are_off_by_more_than_rounding_are_not_the_files(tmp_path: Path) -> None:
    """Another checkpoint comes near in its whole, but not weight by weight."""
    noise = DICE.normal(size=DENSE.shape) * 0.1 * np.abs(DENSE).max()
    for size, agrees in ((0.0, True), (1.0, False)):
        other = replace(LAYERS[-1], kernel=DENSE + size * noise)
        pair = pairs_in(model(tmp_path), (*LAYERS[:-1], other))["quant_dense", "kernel"]
        assert pair.confirmed is agrees


def test_a_kernel_behind_dequantize_is_the_stored_one(tmp_path: Path) -> None:
    half = DENSE.astype(np.float16)
    tensors = [T("x", (1, 4), "float32"), T("w16", (5, 4), "float16", data=half), T("w", (5, 4), "float32")]
    tensors.append(T("y", (1, 5), "float32"))
    operators = [Op("DEQUANTIZE", ["w16"], ["w"]), Op("FULLY_CONNECTED", ["x", "w", None], ["y"], NONE)]
    path = tmp_path / "half.tflite"
    path.write_bytes(write_model([Sub(tensors, operators, ["x"], ["y"])]))
    pair = pairs_in(load_tflite(path), LAYERS[-1:])["quant_dense", "kernel"]
    assert (pair.tensor, pair.operator, pair.confirmed) == (1, 1, True)


@pytest.mark.parametrize(
    ("folded", "fused"), [(True, ("quant_conv", "quant_bn", "quant_act")), (False, ("quant_conv",))]
)
def test_the_values_tell_whether_batch_norm_is_folded(tmp_path: Path, folded: bool, fused: tuple[str, ...]) -> None:
    pair = pairs_in(model(tmp_path, folded=folded))["quant_conv", "kernel"]
    assert (pair.fused, pair.confirmed) == (fused, True)


def test_a_segment_of_several_kernels_agrees_where_each_has_its_own(tmp_path: Path) -> None:
    places = [place for place in tflite_flow(model(tmp_path), "tflite").places if place.is_weighted]
    mine = FlowValue(0, "block", "Block", layers=LAYERS)
    assert kernels_agree([mine], places) is True
    assert kernels_agree([mine], places[:1]) is None
    other = replace(LAYERS[-1], kernel=SAME_SHAPE)
    assert kernels_agree([replace(mine, layers=(*LAYERS[:-1], other))], places) is False


def test_a_quantizer_ends_a_chain() -> None:
    assert [each.name for each in fused_chain(LAYERS, LAYERS[1])] == ["quant_conv", "quant_bn", "quant_act"]
    stopped = replace(LAYERS[1], ranges=(TrainedRange("post_activation", (0.0,), (1.0,), "A"),))
    assert fused_chain((LAYERS[0], stopped, *LAYERS[2:]), stopped) == (stopped,)


def test_a_branch_ends_a_chain() -> None:
    branch = Layer("quant_add", "Add", ("quant_conv", "quant_act"))
    assert len(fused_chain((*LAYERS, branch), LAYERS[1])) == 1


@pytest.mark.parametrize(("stored", "moved"), [(0, True), (1, False)])
def test_a_bias_of_less_than_a_step_is_rounded_away_not_added_later(tmp_path: Path, stored: int, moved: bool) -> None:
    """Nets that were never trained have such biases, and layers behind a batch norm whose mean is near 0."""
    step = 0.1

    def operator(data: int) -> FlowValue:
        tensors = [T("x", (1, 4), scale=0.5), T("w", (5, 4), scale=SCALE, data=integers(DENSE))]
        tensors += [T("b", (5,), "int32", scale=step, data=[data] * 5), T("y", (1, 5), scale=0.5)]
        sub = Sub(tensors, [Op("FULLY_CONNECTED", ["x", "w", "b"], ["y"], NONE)], ["x"], ["y"])
        path = tmp_path / "model.tflite"
        path.write_bytes(write_model([sub]))
        return next(place for place in tflite_flow(load_tflite(path), "tflite").places if place.is_weighted)

    def layer(bias: float) -> FlowValue:
        kept = Layer("dense", "Dense", (), kernel=DENSE, bias=np.full(5, bias), op="FULLY_CONNECTED")
        return FlowValue(0, "dense", "FULLY_CONNECTED", layers=(kept,))

    assert bias_moved([layer(20 * step)], operator(stored)) is moved
    assert not bias_moved([layer(0.4 * step)], operator(stored))


def test_the_kernels_inside_an_lstm(tmp_path: Path) -> None:
    """An operator with eight kernels and four biases, a layer with none of its own: values decide."""
    kernels = {f"{kind}{gate}": DICE.normal(size=(4, 3 if kind == "w" else 4)) for kind in "wr" for gate in "ifco"}
    tensors = [T(name, each.shape, scale=SCALE, data=integers(each)) for name, each in kernels.items()]
    tensors += [T(f"b{gate}", (4,), "int32", SCALE / 2, data=DICE.integers(9, size=4)) for gate in "ifco"]
    tensors += [T("x", (1, 2, 3), scale=0.5), T("y", (1, 2, 4), scale=1 / 128)]
    tensors += [T("h", (1, 4), scale=1 / 128, is_variable=True), T("c", (1, 4), "int16", 2**-11, is_variable=True)]
    names = ["x", *kernels, None, None, None, *(f"b{gate}" for gate in "ifco"), None, None, "h", "c"]
    op = Op("UNIDIRECTIONAL_SEQUENCE_LSTM", names, ["y"], {}, "UnidirectionalSequenceLSTMOptions")
    (tmp_path / "lstm.tflite").write_bytes(write_model([Sub(tensors, [op], ["x"], ["y"])]))
    read = load_tflite(tmp_path / "lstm.tflite")
    inner = tuple(
        Layer(f"lstm/{name}", "LSTM", (), kernel=kernels[name], bias=np.zeros(4), op="FULLY_CONNECTED")
        for name in sorted(kernels, reverse=True)
    )
    flow = tflite_flow(read, "tflite")
    pairs = constant_pairs([Layer("lstm", "LSTM", (), inner=inner)], [(place, ()) for place in flow.places])
    found = {(pair.layer, pair.role): read.main.tensors[pair.tensor].name for pair in pairs}
    assert {name[5:]: tensor for (name, role), tensor in found.items() if role == "kernel"} == {w: w for w in kernels}
    assert {name: tensor for (name, role), tensor in found.items() if role == "bias"} == {
        f"lstm/w{gate}": f"b{gate}" for gate in "ifco"
    }


def dense(tmp_path: Path, weights: Array) -> FlowValue:
    tensors = [
        T("x", (1, 4), scale=0.5),
        T("w", (5, 4), scale=SCALE, data=integers(weights)),
        T("y", (1, 5), scale=0.5),
    ]
    path = tmp_path / "model.tflite"
    path.write_bytes(write_model([Sub(tensors, [Op("FULLY_CONNECTED", ["x", "w", None], ["y"], NONE)], ["x"], ["y"])]))
    return next(place for place in tflite_flow(load_tflite(path), "tflite").places if place.is_weighted)


@pytest.mark.parametrize(
    ("weights", "scaled"),
    [(DENSE * [0.5, 1.0, -1.4, 0.8], True), (DENSE * 1.5, False), (SAME_SHAPE, False), (DENSE, False)],
    ids=["a factor for each input", "one factor", "others", "its own"],
)
def test_a_scale_in_front_may_be_in_the_kernel(tmp_path: Path, weights: Array, scaled: bool) -> None:
    """A norm's gamma, say. One factor for all is a fault that must be told."""
    place, layers, own = dense(tmp_path, weights), LAYERS[-1:], weights is DENSE
    (pair,) = constant_pairs(layers, [(place, layers)])
    assert (pair.confirmed, pair.scaled) == (scaled or own, scaled)
    reference = [FlowValue(0, "dense", "FULLY_CONNECTED", layers=layers)]
    fit = fit_between(reference, place)
    assert (fit is not None and fit.scaled) is scaled
    assert kernels_agree(reference, [place]) is (scaled or own)
    assert ("its weights hold a scale of their inputs, channel by channel" in notes_of(reference, [place])) is scaled


@pytest.mark.parametrize(
    ("behind", "slope", "found"),
    [("within", 0.2, True), ("next", 0.2, True), ("next", 1 / 6, True), ("next", 0.25, False), ("none", 0.2, False)],
)
def test_the_slope_of_a_hard_sigmoid_may_be_in_the_kernel(
    tmp_path: Path, behind: str, slope: float, found: bool
) -> None:
    """The converter makes MINIMUM and RELU of the rest. Another factor, or one without a reason, is a fault."""
    layer = replace(
        LAYERS[-1], kernel=1.5 * DENSE / slope, activation="hard_sigmoid" if behind == "within" else "linear"
    )
    activation = Layer("activation", "Activation", (layer.name,), "hard_sigmoid", op="HARD_SIGMOID")
    layers = [layer, activation] if behind == "next" else [layer]
    place = dense(tmp_path, 1.5 * DENSE)
    (pair,) = constant_pairs(layers, [(place, layers)])
    assert (pair.confirmed, pair.slope) == (found, slope if found else pair.slope)
    reference = [FlowValue(0, "dense", "FULLY_CONNECTED", layers=tuple(layers))]
    assert kernels_agree(reference, [place]) is found
    assert any("the slope of its activation" in note for note in notes_of(reference, [place])) is found
