"""Layers by the names and in the groups in which they appear in a converted file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantdiff.layer import KERNEL_RANGES, Layer

FUSED = ("BatchNormalization", "ReLU", "Activation")


def fused_chain(layers: Sequence[Layer], first: Layer) -> tuple[Layer, ...]:
    """The layer and those after it that a converter folds into its operator: batch norm, then an activation.

    A quantizer ends the chain: what it rounds has to exist.
    """
    chain = [first]
    while not any(r.name not in KERNEL_RANGES for r in chain[-1].ranges):
        users = [layer for layer in layers if chain[-1].name in layer.inputs]
        if len(users) != 1 or users[0].kind not in FUSED or users[0].inputs != (chain[-1].name,):
            break
        chain.append(users[0])
    return tuple(chain)


def owners(name: str, layers: Mapping[str, Layer]) -> tuple[Layer, ...]:
    """The layers named in a tensor's name; ``layers`` as ``by_name`` gives them."""
    parts = (part for path in name.split(";") for part in path.split("/"))
    return tuple(dict.fromkeys(layers[part] for part in parts if part in layers))


def by_name(layers: Sequence[Layer]) -> dict[str, Layer]:
    """Every name under which a layer may appear: its own, and with or without TFMOT's ``quant_``."""
    others = {other: layer for layer in layers for other in (layer.plain, f"quant_{layer.plain}")}
    return others | {layer.name: layer for layer in layers}
