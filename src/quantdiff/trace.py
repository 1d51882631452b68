"""Trace: what a model gave for one batch, tensor by tensor, and who computed it."""

from __future__ import annotations

from dataclasses import dataclass, field

from quantdiff.quant import Array, Grid, QuantParams, dequantize


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor as the engine gave it: integers with their map to real values, or floats.

    ``array`` has the samples along axis 0. ``grid`` is the integer grid that the values lie on: the tensor's
    own parameters for integers; for floats those of the last quantized tensor before them, or None.
    """

    name: str
    array: Array = field(compare=False, repr=False)
    quant: QuantParams | None = None
    grid: Grid | None = None

    @property
    def real(self) -> Array:
        """The values in real units, float32 (integers without a scale stay as they are)."""
        return self.array if self.quant is None else dequantize(self.array, self.quant)


@dataclass(frozen=True, slots=True)
class Trace:
    """Outputs of one run on one batch, in the model's own order; ``engine`` names who ran it.

    ``engine`` is ``float``, ``qat``, ``tflite:<runtime>`` or ``simulator:<runtime>``; ``notes`` say what a
    reader should know about the run, such as samples that were run one by one.
    """

    engine: str
    outputs: tuple[Value, ...]
    notes: tuple[str, ...] = ()
