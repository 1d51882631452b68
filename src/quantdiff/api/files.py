"""What a model's file says by itself, and what its arithmetic is on a runtime."""

from __future__ import annotations

from pathlib import Path

from quantdiff.api.engines import DEFAULTS, Settings, open_model
from quantdiff.linting.lint import LintReport, lint_model
from quantdiff.load.tflite import load_tflite
from quantdiff.parameters.inspection import Inspection, inspect_model


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
        reference: the trained model, for the checks that want both.
        settings: whether Lambda layers of the reference may run.

    Returns:
        The findings, each with its code, place and evidence; ``docs/reference/lint-codes.md`` explains the codes.

    Raises:
        BadModel: a model cannot be read.
    """
    opened = None if reference is None else open_model(reference, settings).engines[0]
    return lint_model(load_tflite(model), opened)
