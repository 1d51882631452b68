"""onnxruntime: one thread, nothing rewritten, so that every value is that of the operator as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, RuntimeFailed, reason_of
from quantdiff.lazy import require
from quantdiff.quant import Array
from quantdiff.references.onnx.translated import in_runs

QUIET = 4
"""onnxruntime's level of messages: fatal errors alone."""


class Session:
    """A model that is ready to run; ``rows`` is how many samples it takes at once, None for any number."""

    def __init__(self, name: str, proto: Any, rows: int | None) -> None:
        ort = require("onnxruntime", extra="onnx")
        self.name, self._rows = name, rows
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute, options.log_severity_level = True, QUIET
        try:
            self._session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has a dozen kinds of its own
            raise BadModel(f"{name}: onnxruntime refuses it: {_reason(error)}") from error
        self.inputs = [each.name for each in self._session.get_inputs()]
        self.outputs = [each.name for each in self._session.get_outputs() if each.type.startswith("tensor(")]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """All outputs, samples along axis 0; a model of a fixed number of samples runs as often as it must.

        Raises:
            RuntimeFailed: onnxruntime raised an error.
        """
        named = in_runs(lambda rows, _: dict(enumerate(self._once(rows))), inputs, {}, self._rows)
        return list(named.values())

    def _once(self, inputs: Sequence[Array]) -> list[Array]:
        try:
            fed = dict(zip(self.inputs, map(np.ascontiguousarray, inputs), strict=True))
            return [np.asarray(each) for each in self._session.run(self.outputs, fed)]
        except Exception as error:  # it has a dozen kinds of its own
            raise RuntimeFailed(f"{self.name}: onnxruntime cannot run it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What it says after its own code."""
    return reason_of(ValueError(str(error).rpartition("] : ")[2].partition(" : ")[2] or str(error)))
