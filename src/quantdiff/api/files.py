"""What a model's file says by itself, and what its arithmetic is on a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantdiff.api.settings import DEFAULTS, Settings
from quantdiff.layer import Layer
from quantdiff.linting.lint import LintReport, lint_model
from quantdiff.load.tflite import load_tflite
from quantdiff.parameters.inspection import Inspection, inspect_model
from quantdiff.references.keras.layers import read_layers
from quantdiff.references.keras.model import load_keras


def inspect(model: str | Path, pattern: str | None = None) -> Inspection:
    """Tensors, quantization and operators of a ``.tflite``; of those that ``pattern`` names, where it is given.

    Scales and bounds are in real units, zero points in integers.

    Args:
        model: the ``.tflite`` file.
        pattern: part of a tensor's name, or a shell pattern such as ``*/kernel``.

    Returns:
        What the file stores, and the bounds that follow from scale and zero point beside the stored ones.

    Raises:
        BadModel: no such file, or none that can be read.
        NoSuchTensor: ``pattern`` names none.
    """
    return inspect_model(load_tflite(model), pattern)


def lint(model: str | Path, reference: str | Path | None = None, settings: Settings = DEFAULTS) -> LintReport:
    """Known trouble in a ``.tflite``, and in the trained model that it was made from; needs no data.

    Args:
        model: the ``.tflite`` file.
        reference: the trained model, for the checks that want both; of a ``.tflite`` they ask nothing.
        settings: whether Lambda layers of the reference may run.

    Returns:
        The findings, each with its code, place and evidence; ``docs/reference/lint-codes.md`` explains the codes.

    Raises:
        BadModel: a model cannot be read.
    """
    opened = None if reference is None else _opened(Path(reference), settings)
    return lint_model(load_tflite(model), opened)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A reference as far as lint asks."""

    kind: str
    found: tuple[Layer, ...] = ()

    def layers(self) -> tuple[Layer, ...]:
        return self.found


def _opened(path: Path, settings: Settings) -> _Opened:
    if path.suffix == ".tflite":
        load_tflite(path)  # to refuse what is none; a file of operators has no layers
        return _Opened("tflite")
    keras = load_keras(path, allow_lambda=settings.allow_lambda)
    return _Opened(keras.kind, read_layers(keras))
