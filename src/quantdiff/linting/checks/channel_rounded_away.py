"""Channels that a shared scale has rounded to nothing."""

from __future__ import annotations

from collections.abc import Iterator

from quantdiff.linting.channels import empty_channels
from quantdiff.linting.finding import Found, Severity
from quantdiff.linting.registry import check
from quantdiff.linting.weighted import listed, weighted
from quantdiff.linting.wiring import Wiring


@check("CHAN01", Severity.WARNING, Wiring)
def channel_rounded_away(wiring: Wiring) -> Iterator[Found]:
    """All weights of a channel are 0 under a scale that it shares with others.

    Its weights were below half a step of a scale made for the widest channel: the channel now gives its bias, whatever
    the input. Quantize weights per channel (the default for convolutions; for dense layers in newer converters), or
    bring the channels to one range. If the channel is 0 in the float model too, remove it.
    """
    for layer in weighted(wiring):
        empty = empty_channels(layer)
        if empty.size and not layer.per_channel:
            yield Found(layer.place, f"{listed(empty, layer.weights.shape[layer.axis])} all zero")
