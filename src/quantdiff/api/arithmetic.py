"""A model's arithmetic: held against the runtimes, or written out for one element."""

from __future__ import annotations

from pathlib import Path

from quantdiff.api.engines import DEFAULTS, Settings
from quantdiff.identifying.identification import Identification
from quantdiff.identifying.load import load_and_identify
from quantdiff.load.data import Batch
from quantdiff.load.dumps.forms import Manifest
from quantdiff.load.tflite import load_tflite
from quantdiff.paper.work import Question, load_and_work
from quantdiff.paper.working import Working
from quantdiff.run.conversation import TIMEOUT
from quantdiff.run.inputs import inputs_of, load_data
from quantdiff.run.record import record as write_record
from quantdiff.run.runner import started
from quantdiff.run.runtimes import check_installed


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
