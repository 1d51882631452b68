"""Channels that were zero before they were quantized."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.channels import empty_channels
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import listed, weighted
from quantdiff.linting.wiring import Wiring


@check("CHAN02", Severity.INFO, Wiring)
def channel_empty(wiring: Wiring) -> Iterator[Found]:
    """All weights of a channel are 0, under a scale of its own.

    The channel was 0, or next to it, before quantization: training or pruning has switched it off. It costs time and
    memory for a constant; removing it changes nothing else.
    """
    for layer in weighted(wiring):
        empty = empty_channels(layer)
        if empty.size and layer.per_channel:
            yield Found(layer.place, f"{listed(empty, layer.weights.shape[layer.axis])} all zero")
