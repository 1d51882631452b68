"""Faults planted in small pairs, each large enough to be nine tenths of the error, and what must lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from float_pairs import RELU, RELU6, Ends, Net, Node, ranges

from quantdiff.ladder.explanation import BIAS, CLIPPING, GRAPH, INPUT, WEIGHTS
from quantdiff.quant import Array


@dataclass(frozen=True)
class Plant:
    """A network as it was trained, the one that the file holds, the file's ranges; what leads, and where.

    ``scales`` multiply those that the file states for its kernels. ``departs``: a pattern of the words on the graph.
    """

    trained: Net
    stored: Net
    held: Mapping[str, Ends]
    mechanism: str
    tensor: str
    scales: Mapping[str, Array] | None = None
    departs: str = ""


def range_narrow(net: Net) -> Plant:
    """One tensor holds a fifth of what the data reach."""
    held = ranges(net)
    low, high = held["h1"]
    return Plant(net, net, {**held, "h1": (low, 0.2 * high)}, CLIPPING, "h1")


def kernel_changed(net: Net) -> Plant:
    """Some weights of another sign, six times as large."""
    kernel = np.array(net.node("h2").kernel)
    kernel.reshape(-1)[3 :: kernel.size // 3] *= -6
    stored, held = net.changed("h2", kernel=kernel), ranges(net)
    wide = {name: (4 * low, 4 * high) for name, (low, high) in held.items() if name not in net.inputs}
    return Plant(net, stored, {**held, **_joined(ranges(stored), wide)}, WEIGHTS, "h2")


def bias_wrong(net: Net) -> Plant:
    """One bias off by half of what the layer reaches."""
    bias = np.array(net.node("h1").bias)
    bias[2] += 0.5 * ranges(net)["h1"][1]
    stored = net.changed("h1", bias=bias)
    return Plant(net, stored, _joined(ranges(net), ranges(stored)), BIAS, "h1")


def scale_doubled(net: Net) -> Plant:
    """One channel's scale twice as large."""
    kernel = np.array(net.node("y").kernel)
    kernel[1] *= 2
    doubled = np.ones(len(kernel), np.float32)
    doubled[1] = 2
    held = _joined(ranges(net), ranges(net.changed("y", kernel=kernel)))
    return Plant(net, net, held, WEIGHTS, "y", {"y": doubled})


def activation_replaced(net: Net) -> Plant:
    """Trained with a ReLU that ends at 6, after sums that go beyond; the file holds a ReLU without an end."""
    options = net.node("h1").options
    kernel, bias = _times(net.node("h1"), 12)
    trained, stored = (
        net.changed("h1", kernel=kernel, bias=bias, options={**options, "fusedActivationFunction": each})
        for each in (RELU6, RELU)
    )
    return Plant(
        trained,
        stored,
        _joined(ranges(trained), ranges(stored)),
        GRAPH,
        "h1",
        departs=r"\w+ \d+ \(h1\) is the first",
    )


def quantizer_removed(net: Net) -> Plant:
    """The reference rounds coarsely between a layer and its ReLU, which the file has made one."""
    first = net.node("h1")
    apart = [
        replace(first, output="sum", options={**first.options, "fusedActivationFunction": 0}),
        Node("QUANTIZE", ["sum"], "stored", first.shape, grid=(ranges(net)["h1"][1] / 6, 0)),
        Node("DEQUANTIZE", ["stored"], "again", first.shape),
        Node("RELU", ["again"], "h1", first.shape),
    ]
    nodes = [each for node in net.nodes for each in (apart if node is first else [node])]
    return Plant(
        replace(net, nodes=nodes), net, ranges(net), GRAPH, "h1", departs=r"the converter fused \w+ and RELU \("
    )


def ranges_swapped(net: Net) -> Plant:
    """Two tensors hold each other's range, one thirty times as large as the other; the inputs where there are two."""
    one, other = list(net.inputs) if len(net.inputs) > 1 else ("h1", "h2")
    if len(net.inputs) == 1:
        kernel, bias = _times(net.node("h1"), 1 / 30)
        net = net.changed("h1", kernel=kernel, bias=bias)
        net = net.changed("h2", kernel=_times(net.node("h2"), 30)[0])
        one, other = other, one
    held = ranges(net)
    (narrow, *_) = sorted((one, other), key=lambda name: -held[name][1])
    mechanism = INPUT if narrow in net.inputs else CLIPPING
    return Plant(net, net, {**held, one: held[other], other: held[one]}, mechanism, narrow)


def _times(node: Node, factor: float) -> tuple[Array, Array]:
    """Kernel and bias of a node, scaled."""
    assert node.kernel is not None
    assert node.bias is not None
    return (node.kernel * factor).astype(np.float32), (node.bias * factor).astype(np.float32)


def _joined(a: Mapping[str, Ends], b: Mapping[str, Ends]) -> dict[str, Ends]:
    return {name: (min(a[name][0], b[name][0]), max(a[name][1], b[name][1])) if name in b else a[name] for name in a}


PLANTED: list[Callable[[Net], Plant]] = [
    range_narrow,
    kernel_changed,
    bias_wrong,
    scale_doubled,
    ranges_swapped,
    quantizer_removed,
    activation_replaced,
]
