"""Trial: everything that decides the numbers of one run, as a small frozen value."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
