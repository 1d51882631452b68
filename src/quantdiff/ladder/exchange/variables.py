"""Variables of a live Keras layer by the last part of their name; TFMOT's wrapper and the layer inside alike."""

from __future__ import annotations

from typing import Any


def variable_of(layer: Any, *names: str) -> Any | None:
    """The first variable called one of ``names``; None where there is none."""
    return next((v for v in layer.weights if last_name(v.name) in names), None)


def last_name(name: str) -> str:
    """``kernel`` of ``quant_dense/kernel:0``."""
    return name.rpartition("/")[2].partition(":")[0]
