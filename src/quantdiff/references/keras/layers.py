"""The layers of a Keras model as values: weights, ranges that training left behind, who feeds whom.

The sums of products inside a layer, too: the gates of recurrent layers, the projections of attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, reason_of
from quantdiff.ops import BATCH_NORM, DENSE, INTO_INTEGERS, KERNEL_RANGES, BatchNorm, Layer, TrainedRange, gates
from quantdiff.quant import Array
from quantdiff.references.keras.frameworks import quiet, real_kernel
from quantdiff.references.keras.model import KerasModel, named_layers

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
OPTIONS = (
    "strides",
    "padding",
    "dilation_rate",
    "data_format",
    "max_value",
    "negative_slope",
    "threshold",
    "groups",
    "quantization_mode",
)
OPS = {
    "Dense": "FULLY_CONNECTED",
    "Conv1D": "CONV_2D",
    "Conv2D": "CONV_2D",
    "Conv3D": "CONV_3D",
    "DepthwiseConv1D": "DEPTHWISE_CONV_2D",
    "DepthwiseConv2D": "DEPTHWISE_CONV_2D",
    "SeparableConv1D": "CONV_2D",
    "SeparableConv2D": "CONV_2D",
    "Conv1DTranspose": "TRANSPOSE_CONV",
    "Conv2DTranspose": "TRANSPOSE_CONV",
    "Flatten": "RESHAPE",
    "Reshape": "RESHAPE",
    "Permute": "TRANSPOSE",
    "MaxPooling2D": "MAX_POOL_2D",
    "AveragePooling2D": "AVERAGE_POOL_2D",
    "GlobalAveragePooling2D": "MEAN",
    "Concatenate": "CONCATENATION",
    "Add": "ADD",
    "Multiply": "MUL",
    "Subtract": "SUB",
    "ZeroPadding2D": "PAD",
    "ReLU": "RELU",
    "Softmax": "SOFTMAX",
    "LSTM": "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "Embedding": "GATHER",
    "BatchNormalization": BATCH_NORM,
    "QuantizeLayer": INTO_INTEGERS,
    **dict.fromkeys(
        ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "Identity"), "IDENTITY"
    ),
}
"""Class → the operator that a converter makes of it."""
SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
ACTIVATIONS = {"sigmoid": "LOGISTIC", "swish": "MUL", "silu": "MUL", "hard_silu": "HARD_SWISH", "linear": "IDENTITY"}


def read_layers(model: KerasModel) -> tuple[Layer, ...]:
    """All layers in the model's order, those of nested models included; () for a bare serving signature."""
    paths = {id(layer): path for path, layer in named_layers(model.model)}
    return tuple(part for path, layer in named_layers(model.model) for part in parts_of(path, layer, paths))


def unwrapped(layer: Any) -> Any:
    """The layer inside TFMOT's wrapper, or the layer itself."""
    return layer.layer if type(layer).__name__.startswith("QuantizeWrapper") else layer


def parts_of(path: str, layer: Any, paths: Mapping[int, str]) -> tuple[Layer, ...]:
    """A layer, in the order of its operators; ``paths`` are those of all layers, by identity."""
    return tuple(_read(path, layer, paths))


def op_of_activation(name: str) -> str:
    """The operator that computes an activation by itself."""
    return ACTIVATIONS.get(name, name.upper())


def _read(path: str, layer: Any, paths: Mapping[int, str]) -> Iterator[Layer]:
    inner, own = unwrapped(layer), _weights(layer)
    kind, inputs = type(inner).__name__, tuple(dict.fromkeys(_feeders(layer, paths)))
    options = {name: getattr(inner, name) for name in OPTIONS if hasattr(inner, name)}
    if kind in SEPARABLE and "depthwise_kernel" in own:
        depthwise = _in_tflite_axes("Depthwise", own.pop("depthwise_kernel"))
        yield Layer(f"{path}/depthwise", kind, inputs, kernel=depthwise, options=options, op="DEPTHWISE_CONV_2D")
        inputs, options = (f"{path}/depthwise",), {}
    kernel = next((own[name] for name in KERNELS if name in own), None)
    if options.get("quantization_mode"):
        kernel = real_kernel(inner)
    yield Layer(
        name=path,
        kind=kind,
        inputs=inputs,
        activation=_activation(layer, inner),
        ranges=tuple(_ranges(layer)),
        kernel=None if kernel is None or kind not in OPS else _in_tflite_axes(kind, kernel),
        bias=own.get("bias") if kind in OPS and np.ndim(own.get("bias", 0)) == 1 else None,
        norm=_norm(inner, own) if "moving_variance" in own else None,
        options=options,
        op=op_of_activation(_activation(layer, inner)) if kind == "Activation" else OPS.get(kind, ""),
        inner=tuple(inner_layers(path, inner)),
    )


def _in_tflite_axes(kind: str, kernel: Array) -> Array:
    """Output channels first, for a depthwise kernel last, along the height a one where there is a width alone."""
    if "1D" in kind and kernel.ndim == 3:  # noqa: PLR2004 (width, in, out)
        kernel = kernel[None]
    if kind.startswith("Depthwise"):
        kernel = kernel[None] if kernel.ndim == 3 else kernel  # noqa: PLR2004
        return kernel.reshape(1, *kernel.shape[:2], -1)
    if kind.endswith("Transpose"):  # (height, width, out, in)
        return kernel.transpose(2, 0, 1, 3)
    return kernel if kind == "Conv3D" else np.moveaxis(kernel, -1, 0)


def _weights(layer: Any) -> dict[str, Array]:
    """The layer's own variables by their last names; those of layers inside it would hide each other."""
    inside = {id(v) for part in _sublayers(layer) for v in part.weights}
    own = unwrapped(layer) is not layer or not inside
    return {_last(v.name): np.asarray(v) for v in _variables(layer) if own or id(v) not in inside}


def _sublayers(layer: Any) -> Iterator[Any]:
    flat = getattr(layer, "_flatten_layers", None)
    return iter(()) if flat is None else (part for part in flat() if part is not layer)


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _feeders(layer: Any, paths: Mapping[int, str]) -> Iterator[str]:
    for node in getattr(layer, "_inbound_nodes", ()):
        for parent in getattr(node, "parent_nodes", ()):
            source: Any = getattr(parent, "layer", None) or getattr(parent, "operation", None)
            while getattr(source, "layers", None):  # a nested model gives what its last layer gives
                source = source.layers[-1]
            if id(source) in paths:
                yield paths[id(source)]


def _activation(layer: Any, inner: Any) -> str:
    aware = getattr(layer, "_quantize_activations", None)
    function = aware[0].activation if aware else getattr(inner, "activation", None)
    return "linear" if function is None else name_of(function)


def name_of(function: Any) -> str:
    """The name of an activation: of the function, of the layer that serves as one, inside TFMOT's wrapper."""
    function = getattr(function, "activation", function)
    name = str(getattr(function, "__name__", type(function).__name__))
    return {"NoOpActivation": "linear", "ReLU": "relu"}.get(name, name)


def _norm(inner: Any, weights: Mapping[str, Array]) -> BatchNorm:
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    gamma, beta = weights.get("gamma", np.ones_like(mean)), weights.get("beta", np.zeros_like(mean))
    return BatchNorm(gamma, beta, mean, variance, float(inner.epsilon))


def _variables(layer: Any) -> list[Any]:
    """The weights that hold numbers; Keras counts the words of a vocabulary among them."""
    return [each for each in layer.weights if hasattr(each, "name")]


def _ranges(layer: Any) -> Iterator[TrainedRange]:
    """Every pair of variables ``…_min`` and ``…_max``, with the quantizer that owns it."""
    variables = {_last(variable.name): np.asarray(variable).ravel() for variable in _variables(layer)}
    owners = dict(_quantizers(layer))
    for name, low in variables.items():
        stem = name.removesuffix("_min")
        if name.endswith("_min") and f"{stem}_max" in variables:
            owner = owners.get(stem)
            yield TrainedRange(
                "quantize_layer" if type(layer).__name__ == "QuantizeLayer" else stem,
                tuple(low.tolist()),
                tuple(variables[f"{stem}_max"].tolist()),
                type(owner).__name__,
                getattr(owner, "num_bits", 8),
                bool(getattr(owner, "narrow_range", stem in KERNEL_RANGES)),
            )


def _quantizers(layer: Any) -> Iterator[tuple[str, Any]]:
    """Stem of the variables' names → quantizer, from the places where TFMOT keeps them."""
    for weight, quantizer, _ in getattr(layer, "_weight_vars", ()):
        yield _last(weight.name), quantizer
    for activation in getattr(layer, "_quantize_activations", ()):
        yield from ((when, activation.quantizer) for when in ("pre_activation", "post_activation"))
    for quantizer in getattr(layer, "_output_quantizers", ()):
        yield "output", quantizer
    if hasattr(layer, "quantizer"):
        yield layer.name, layer.quantizer


def written_with(model: KerasModel, variables: Mapping[str, Mapping[str, Array]]) -> Array:
    """The bytes of an ``.h5`` of a model with other values in its variables; the model itself stays as it is.

    ``variables``: by layer and by the last part of their names; the range of a QuantizeLayer is ``quantize_layer``'s.

    Raises:
        BadModel: Keras cannot write it so.
    """
    import h5py  # noqa: PLC0415 (comes with the extra)

    held = list[tuple[Any, Array]]()
    try:
        for path, layer in named_layers(model.model):
            for variable in _variables(layer) if path in variables else ():
                name = _last(variable.name)
                if type(layer).__name__ == "QuantizeLayer" and name.endswith(("_min", "_max")):
                    name = f"quantize_layer{name[-4:]}"
                if name in variables[path]:
                    held.append((variable, np.asarray(variable)))
                    variable.assign(variables[path][name].reshape(variable.shape))
        with quiet(), h5py.File("settled.h5", "w", driver="core", backing_store=False) as file:
            model.model.save(file)
            file.flush()
            return np.frombuffer(file.id.get_file_image(), np.uint8)
    except (ValueError, TypeError, NotImplementedError, AttributeError, OSError) as error:
        raise BadModel(f"{model.name}: Keras cannot write it as .h5: {reason_of(error)}") from error
    finally:
        for variable, value in held:
            variable.assign(value)


RECURRENT = ("LSTM", "GRU", "SimpleRNN")


def inner_layers(path: str, layer: Any) -> Iterator[Layer]:
    """What stands inside a layer, by paths of its own; kernels as (units, depth), as TFLite has them."""
    kind = type(layer).__name__.removesuffix("Cell")
    if kind in RECURRENT and hasattr(cell := getattr(layer, "cell", layer), "recurrent_kernel"):
        yield from _recurrent(path, kind, cell)
        return
    for part in _parts(layer):
        if type(part).__name__ == "EinsumDense":
            yield _projection(f"{path}/{part.name}", part)
        else:
            yield from inner_layers(f"{path}/{part.name}", part)


def _parts(layer: Any) -> list[Any]:
    """The layers directly inside, each once: of Keras 2 and of Keras 3."""
    found = getattr(layer, "_flatten_layers", None)
    inside = found(recursive=False, include_self=False) if found is not None else ()
    return list({id(part): part for part in inside if part.weights}.values())


def _recurrent(path: str, kind: str, cell: Any) -> Iterator[Layer]:
    """``bias`` of a GRU that resets after the product has a row for each of the two kernels."""
    kernels = [np.asarray(each).T for each in (cell.kernel, cell.recurrent_kernel)]
    bias = None if getattr(cell, "bias", None) is None else np.atleast_2d(np.asarray(cell.bias))
    return gates(path, kind, kernels, [None if bias is None or row >= len(bias) else bias[row] for row in (0, 1)])


def _projection(path: str, part: Any) -> Layer:
    """``abc,cde->abde`` sums over what the first two share."""
    data, _, rest = part.equation.partition(",")
    summed = sum(letter in data for letter in rest.partition("->")[0])
    own, bias = real_kernel(part), getattr(part, "bias", None)
    kernel = np.asarray(part.kernel) if own is None else own
    flat: Array = kernel.reshape(int(np.prod(kernel.shape[:summed])), -1).T
    return Layer(path, "EinsumDense", (), kernel=flat, bias=None if bias is None else np.ravel(bias), op=DENSE)
