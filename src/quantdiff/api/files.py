"""What a model's file says by itself, and what its arithmetic is on a runtime."""

from __future__ import annotations

from pathlib import Path

from quantdiff.api.settings import DEFAULTS, Settings
from quantdiff.explaining.inspection import Inspection, inspect_model
from quantdiff.explaining.lint import LintReport, lint_model
from quantdiff.load.keras import load_keras
from quantdiff.load.tflite import load_tflite


def inspect(model: str | Path, pattern: str | None = None) -> Inspection:
    """Tensors, quantization and operators of a ``.tflite``; of those that ``pattern`` names, where it is given.

    Raises:
        BadModel: no such file, or none that can be read.
        NoSuchTensor: ``pattern`` names none.
    """
    return inspect_model(load_tflite(model), pattern)


def lint(model: str | Path, reference: str | Path | None = None, settings: Settings = DEFAULTS) -> LintReport:
    """Known trouble in a ``.tflite``, and in the Keras model that it was made from; needs no data.

    Raises:
        BadModel: a model cannot be read.
    """
    keras = None if reference is None else load_keras(Path(reference), allow_lambda=settings.allow_lambda)
    return lint_model(load_tflite(model), keras)
