"""A quantization-aware model with its biases on the int32 grid of its ``.tflite``: nothing is left to round there."""

from __future__ import annotations

import numpy as np

from quantdiff.graph import Model
from quantdiff.ladder.real_graph import Setting
from quantdiff.ladder.rungs import in_slices, real_inputs
from quantdiff.ladder.switches import switches
from quantdiff.load.data import Batch
from quantdiff.quant import Trace, Value


def trace_snapped(lowering: Model, converted: Model, batch: Batch, names: tuple[str, ...]) -> Trace:
    """Outputs of the lowered model, each bias as ``converted`` stores it; a bias that the file has not stays.

    Where a batch norm is folded in, that is the folded bias. Shapes: (samples, …), float32.

    Raises:
        UnsupportedOp: a graph holds what has no real arithmetic.
    """
    found = switches(converted, lowering)
    real, plain = found.reference.real, found.lowered_setting()
    stored = {
        match.other: found.file.constants[i].reshape(real.constants[match.other].shape)
        for i, match in found.matches.items()
        if i in found.biases and match.other is not None
    }
    setting = Setting(stored, {}, plain.clipped, plain.rounded)
    values = in_slices(real, real_inputs(lowering, batch), setting, real.graph.outputs)
    arrays = (values[i].astype(np.float32) for i in real.graph.outputs)
    joined = tuple(Value(name, array.reshape(-1, *array.shape[2:])) for name, array in zip(names, arrays, strict=True))
    return Trace("qat-bias", joined)
