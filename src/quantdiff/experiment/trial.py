"""Trials of ``run`` and of a sweep: everything that decides their numbers, as frozen values; and what they found."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from quantdiff.compare.comparison import TOLERANCE, Comparison
from quantdiff.compare.outcome import Failure
from quantdiff.errors import BadModel

DENSE = re.compile(r"dense([1-9][0-9]{0,2})")


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of one model: which, how, on what.

    ``quantize`` makes the TFLite model int8 throughout, input and output included. Without it the converter gets
    its default options, as in TensorFlow's example of quantization-aware training: the trained ranges make the
    model int8 inside, input and output stay float.

    Attributes:
        model: ``CNN``, or ``denseN``: N linear layers of 10 units on 28 × 28 pixels.
        seed: of weights and order of the data.
        data: ``mnist-small``, ``mnist`` or an ``.npz`` with ``x_train``, ``y_train``, ``x_test`` and ``y_test``.
        quantize: int8 input and output, too.
        bias: whether dense layers have biases.
        epochs: of the float training; tuning takes one more, on the first 1,000 images.

    Raises:
        BadModel: a model that the zoo does not have.
    """

    model: str = "dense4"
    seed: int = 3
    data: str = "mnist-small"
    quantize: bool = False
    bias: bool = True
    epochs: int = 1

    def __post_init__(self) -> None:
        """Refuse a model that the zoo does not have, before anything heavy is loaded."""
        depth(self.model)

    @property
    def name(self) -> str:
        """``dense4-seed3``, with ``-nobias`` where there is none."""
        return f"{self.model}-seed{self.seed}" + ("" if self.bias else "-nobias")


def depth(model: str) -> int:
    """Number of dense layers of ``denseN``; 0 for ``CNN``.

    Raises:
        BadModel: no such model in the zoo.
    """
    if model == "CNN":
        return 0
    match = DENSE.fullmatch(model)
    if match is None:
        raise BadModel(f"no model {model!r} in the zoo; there are CNN and dense1, dense2, dense3, …")
    return int(match[1])


CONDITIONS = {
    "float": "the baseline Keras model",
    "qat": "the quantization-aware model, in Keras",
    "qat-tflite": "TFLite converted from the QAT model, its trained ranges used",
    "qat-ptq": "TFLite converted from the QAT model with representative data",
    "copied-ptq": "weights of the QAT model copied into the original architecture, then quantized after training",
    "ptq": "the baseline, quantized after training",
    "qat-bias": "the QAT model with its biases snapped to the int32 grid of qat-tflite, in Keras",
}
CALIBRATED = ("qat-ptq", "copied-ptq", "ptq")  # with representative data
CALIBRATIONS = ("train", "test")


@dataclass(frozen=True, slots=True)
class Source:
    """A model or a data set: something that this package knows by name, or a file and the hash of its content.

    ``path`` says where the file is on the machine that asks, and does not belong to what the numbers depend on.
    """

    name: str
    sha256: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """The training of a float model and the tuning of its quantization-aware copy."""

    model: Source
    seed: int
    data: Source
    epochs: int = 1
    bias: bool = True
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SweepTrial:
    """One condition, evaluated on the test part of the data.

    ``calibration`` is the part of the data that a calibrated condition is quantized with, empty for the others.
    ``metric`` is the user's own function, if there is one.
    """

    training: Training
    condition: str
    calibration: str = ""
    runtimes: tuple[str, ...] = ("xnnpack",)
    tolerance: float = TOLERANCE
    metric: Source | None = None

    @property
    def label(self) -> str:
        """``ptq (train)``."""
        return f"{self.condition} ({self.calibration})" if self.calibration else self.condition

    @property
    def key(self) -> str:
        """SHA-256 of the value as canonical JSON, paths left out: the same trial has the same key anywhere."""
        value = asdict(self)
        if self.metric is None:
            del value["metric"]  # so that trials without one keep their keys
        for source in (value["training"]["model"], value["training"]["data"], value.get("metric", {})):
            source.pop("path", None)
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Score:
    """How many of ``count`` test samples an engine got wrong."""

    engine: str
    count: int
    wrong: int

    @property
    def accuracy(self) -> float:
        """Share of samples decided as labelled."""
        return (self.count - self.wrong) / self.count

    @property
    def error_rate(self) -> float:
        """Share of samples decided otherwise."""
        return self.wrong / self.count


@dataclass(frozen=True, slots=True)
class StoredRange:
    """What the file says of one quantizer, in real units; scale and zero point where there is one for all channels."""

    layer: str
    role: str
    low: float
    high: float
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a trial found; the same trial gives an equal result on every worker of one kind of machine.

    ``comparisons`` begin with those against the condition's own Keras reference.
    """

    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...] = ()
    ranges: tuple[StoredRange, ...] = ()
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of evaluating a trial: a result, or the error that it ended with, on one line."""

    result: SweepResult | None
    error: str = ""
