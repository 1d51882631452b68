"""The delegate's rules for MediaPipe's own operators, which no kernel but XNNPACK's computes.

Source: LiteRT ``tflite/delegates/xnnpack/xnnpack_delegate.cc`` (``VisitMediaPipe…Node``). Their options are a struct
of C, ``TfLiteTransposeConvParams`` or ``TfLitePoolParams``; of one that is too short the rest counts as zeros.
"""

from __future__ import annotations

from struct import unpack

from quantdiff.graph import Tensor
from quantdiff.sim.node import Node
from quantdiff.sim.xnnpack.checks import static
from quantdiff.sim.xnnpack.geometry import images, padded_transposed

SAME, VALID, RELU6 = 1, 2, 3
"""Paddings; the last activation that it takes, and ignores."""
SIZE = 24
"""Bytes of the structs that are looked at: padding, strides, and of a pool filter sizes and activation."""


def transpose_conv_with_bias(node: Node) -> bool:
    """``VisitMediaPipeDeconvolutionNode``: floats, stored weights and bias."""
    padding, across, down, *_ = fields(node)
    if len(node.inputs) != 3 or not is_image(node.x, node.at(1), node.y) or min(across, down) <= 0:  # noqa: PLR2004
        return False
    stored = static(node, 1) and static(node, 2) and node.at(2).dtype == "float32" and len(node.at(2).shape) == 1
    sizes = zip((down, across), node.at(1).shape[1:3], node.x.shape[1:3], node.y.shape[1:3], strict=True)
    fits = all(padded_transposed(padding == SAME, *each) for each in sizes)
    return stored and padding in (SAME, VALID) and fits


def max_pool_with_places(node: Node) -> bool:
    """``VisitMediaPipeMaxPoolingNode``: the largest of windows side by side, and where it was."""
    if len(node.inputs) != 1 or len(node.outputs) != 2 or not is_image(node.x, node.outputs[0]):  # noqa: PLR2004
        return False
    return images(node.outputs[1]) and side_by_side(node)


def max_unpool(node: Node) -> bool:
    """``VisitMediaPipeUnpoolingNode``: values back to where they were, without padding."""
    placed = len(node.inputs) == 2 and is_image(node.x, node.y) and images(node.at(1))  # noqa: PLR2004
    return placed and fields(node)[0] == VALID and side_by_side(node)


def side_by_side(node: Node) -> bool:
    """``CheckMediaPipePoolParams``: windows as large as the strides."""
    padding, across, down, width, height, activation = fields(node)
    return padding in (SAME, VALID) and 0 < across == width and 0 < down == height and 0 <= activation <= RELU6


def fields(node: Node) -> list[int]:
    """The first integers of the options."""
    given = node.operator.custom_options
    stored = b"" if given is None else given.tobytes()
    return list(unpack("<6i", stored[:SIZE].ljust(SIZE, b"\0")))


def is_image(*tensors: Tensor) -> bool:
    """Float32 with four dimensions."""
    return images(*tensors) and all(tensor.dtype == "float32" for tensor in tensors)
