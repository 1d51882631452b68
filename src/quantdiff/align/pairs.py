"""A pair of a place in a Keras model and a tensor of the file; all pairs, and what found none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """``role``: ``kernel``, ``bias``, ``output``, or ``pre_activation`` where an activation is an operator of its own.

    ``fused`` are the layers that one operator computes together, the one with the kernel first; ``operator``
    makes the tensor or takes the weights (None for an input of the model). ``found_by`` is ``name``, ``structure``
    or ``values``; ``confirmed`` says whether weights agree, None where there are none to compare.
    """

    layer: str
    role: str
    tensor: int
    operator: int | None
    found_by: str
    fused: tuple[str, ...] = ()
    confirmed: bool | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """Every pair, and on each side what found no partner: (layer, role), and indices of quantized tensors."""

    pairs: tuple[Pair, ...]
    only_keras: tuple[tuple[str, str], ...] = ()
    only_tflite: tuple[int, ...] = ()

    def find(self, layer: str, role: str) -> Pair | None:
        """The pair of a layer's kernel, bias or output."""
        return next((pair for pair in self.pairs if (pair.layer, pair.role) == (layer, role)), None)
