"""What a model's file says by itself, and its arithmetic on a runtime: identified, recorded, written out."""

from __future__ import annotations

from pathlib import Path

from quantdiff.api.engines import DEFAULTS, Settings, open_model
from quantdiff.identifying.identification import Identification
from quantdiff.identifying.probe import load_and_identify
from quantdiff.linting.lint import LintReport, lint_model
from quantdiff.load.data import Batch
from quantdiff.load.dumps.forms import Manifest
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.work import Question, load_and_work
from quantdiff.paper.working import Working
from quantdiff.parameters.inspection import Inspection, inspect_model
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inputs import inputs_of, load_data
from quantdiff.run.record import record as write_record
from quantdiff.run.runner import started
from quantdiff.run.runtimes import check_installed


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


def identify(
    model: str | Path, runtime: str = "xnnpack", data: str | Path | Batch | None = None, timeout: float = TIMEOUT
) -> Identification:
    """The rule that a device obeys, kind of operator by kind, from its own inputs and outputs.

    What the names of rules mean stands in ``docs/reference/rules.md``.

    Args:
        model: the ``.tflite`` file.
        runtime: the device: a runtime, or ``recorded:DUMP``.
        data: samples along axis 0, in real units; left out, those of the dump, or seeded random input.
        timeout: seconds that the runtime may say nothing.

    Returns:
        The rules that fit every element, and for each other one how many elements contradict it.

    Raises:
        QuantdiffError: the model or the data cannot be read, do not fit each other, or the runtime fails.
    """
    given = Path(data) if isinstance(data, str) else data
    return load_and_identify(Path(model), runtime, given, timeout=timeout)


def record(
    model: str | Path,
    data: str | Path | Batch,
    out: str | Path,
    runtime: str = "xnnpack",
    timeout: float = TIMEOUT,
    *,
    every_tensor: bool = False,
) -> Manifest:
    """Run a model and write what its tensors hold; ``recorded:OUT`` is a runtime from then on.

    Args:
        model: the ``.tflite`` file.
        data: samples along axis 0, in real units.
        out: the ``.npz`` to write.
        runtime: what runs it.
        timeout: seconds that it may say nothing.
        every_tensor: inner tensors too, not inputs and outputs alone.

    Returns:
        What the dump says of itself, such as the sha256 of the file and which array is which tensor.

    Raises:
        QuantdiffError: the model or the data cannot be read, do not fit each other, or the runtime fails.
    """
    check_installed([runtime])
    loaded = load_tflite(model)
    batch = load_data(data, model)
    with started(runtime, timeout) as runner:
        runner.attend(loaded, inputs_of(loaded, batch))
        return write_record(loaded, batch, runner, Path(out), every_tensor=every_tensor)


def work(
    model: str | Path, data: str | Path, op: int, element: tuple[int, ...], settings: Settings = DEFAULTS
) -> Working:
    """The arithmetic of one output element (sample first) of operator ``op``, on the first runtime of ``settings``.

    The sum is split as in Jacob et al., arXiv 1712.05877, section 2.3; the roundings are those of the runtime.

    Args:
        model: the ``.tflite`` file.
        data: samples along axis 0, in real units.
        op: the operator's index in the file.
        element: the place in its output, the sample first.
        settings: the runtime, its first one, and the time limit, in seconds.

    Returns:
        Every step with its integers, the result, and what the other runtimes would have given.

    Raises:
        QuantdiffError: no such element, an op that cannot be written out, a runtime that gave something else, or a
            model or data that cannot be read.
    """
    question = Question(op, element, settings.runtimes[0])
    return load_and_work(Path(model), Path(data), question, settings.timeout)
