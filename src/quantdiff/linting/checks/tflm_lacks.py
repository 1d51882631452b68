"""Operators that a microcontroller does not have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.wiring import Wiring


@check("TFLM01", Severity.INFO, Wiring)
def tflm_lacks(wiring: Wiring) -> Iterator[Found]:
    """TensorFlow Lite Micro has no such operator.

    The model will not start on a microcontroller; elsewhere this does not matter. Use an op that TFLM has, or register
    a kernel of your own. The list is that of the Python package (`python_ops_resolver.cc`); newer ones may have more.
    """
    version, ops = tflm_ops()
    for node in wiring.nodes:
        if node.operator.op not in ops:
            yield Found(wiring.operator(node), f"not among the {len(ops)} ops of {version}")


@cache
def tflm_ops() -> tuple[str, frozenset[str]]:
    """Package and version, and the names of its ops; ``scripts/write_tflm_ops.py`` writes the file."""
    text = files("quantdiff.linting").joinpath("tflm_ops.txt").read_text(encoding="utf-8")
    version, *ops = text.splitlines()
    return version, frozenset(ops)
