"""The small networks of ``float_pairs`` as Keras models, layer by layer."""

from __future__ import annotations

from typing import Any

from float_pairs import RELU, RELU6, Net, Node

from quantdiff.references.keras.frameworks import frameworks


def keras_model(net: Net) -> Any:
    """The same function. A QUANTIZE followed by DEQUANTIZE is a fake-quant."""
    layers = frameworks().keras.layers
    known = {name: layers.Input(shape[1:], name=name) for name, shape in net.inputs.items()}
    inputs = list(known.values())
    for node in net.nodes:
        given = [known[name] for name in node.inputs]
        known[node.output] = _activated(node, _layer(node)(given if node.op == "ADD" else given[0]))
    return frameworks().keras.Model(inputs, known[net.nodes[-1].output])


def _activated(node: Node, x: Any) -> Any:
    layers = frameworks().keras.layers
    ends = {RELU: None, RELU6: 6.0}
    which = node.options.get("fusedActivationFunction", 0)
    return layers.ReLU(ends[which])(x) if which in ends else x


def _layer(node: Node) -> Any:
    layers, tf = frameworks().keras.layers, frameworks().tf
    if node.kernel is not None and node.bias is not None:
        last = node.kernel.T if node.op == "FULLY_CONNECTED" else node.kernel.transpose(1, 2, 3, 0)
        how = {"name": node.output, "weights": [last, node.bias]}
        if node.op == "FULLY_CONNECTED":
            return layers.Dense(node.shape[-1], **how)
        same = layers.Conv2D if node.op == "CONV_2D" else layers.DepthwiseConv2D
        size = (node.shape[-1], 3) if node.op == "CONV_2D" else (3,)
        return same(*size, padding="same", **how)
    if node.grid is not None:
        scale, zero = node.grid
        low, high = scale * (-128 - zero), scale * (127 - zero)
        return lambda x: tf.quantization.fake_quant_with_min_max_args(x, low, high)
    return {
        "MEAN": layers.GlobalAveragePooling2D(),
        "ADD": layers.Add(),
        "RESHAPE": layers.Reshape(tuple(node.shape[1:])),
        "RELU": layers.ReLU(),
        "DEQUANTIZE": lambda x: x,
    }[node.op]
