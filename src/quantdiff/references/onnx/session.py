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
    """A model that is ready to run."""

    def __init__(self, name: str, proto: Any) -> None:
        ort = require("onnxruntime", extra="onnx")
        self.name = name
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

    def run(self, inputs: Sequence[Array], rows: int | None) -> dict[str, Array]:
        """All outputs by name, samples along axis 0, ``rows`` at once; None for all of them.

        Raises:
            RuntimeFailed: onnxruntime raised an error.
        """
        return in_runs(lambda some, _: self._once(some), inputs, {}, rows)

    def _once(self, inputs: Sequence[Array]) -> dict[str, Array]:
        try:
            fed = dict(zip(self.inputs, map(np.ascontiguousarray, inputs), strict=True))
            found = self._session.run(self.outputs, fed)
            return {name: np.asarray(each) for name, each in zip(self.outputs, found, strict=True)}
        except Exception as error:  # it has a dozen kinds of its own
            raise RuntimeFailed(f"{self.name}: onnxruntime cannot run it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What it says after its own code."""
    return reason_of(ValueError(str(error).rpartition("] : ")[2].partition(" : ")[2] or str(error)))
