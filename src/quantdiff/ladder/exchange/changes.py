"""Changes to a live Keras model that can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from quantdiff.quant import Array, Grid


@dataclass(frozen=True, slots=True)
class Change:
    """One thing of one layer that is made to be as in the file, and how to take that back."""

    layer: str
    make: Callable[[], None] = field(compare=False, repr=False)
    undo: Callable[[], None] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """All that one mechanism changes: variables, and outputs of layers that are to lie on a grid of the file."""

    changes: tuple[Change, ...] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers in which something differs between the two models."""
        return tuple(dict.fromkeys((*(change.layer for change in self.changes), *self.grids)))

    def __bool__(self) -> bool:
        return bool(self.changes or self.grids)


@contextmanager
def made(exchanges: Sequence[Exchange]) -> Iterator[None]:
    """Make the changes for as long as the block runs."""
    changes = [change for exchange in exchanges for change in exchange.changes]
    done: list[Change] = []
    try:
        for change in changes:
            change.make()
            done.append(change)
        yield
    finally:
        for change in reversed(done):
            change.undo()


def assign(layer: str, variable: Any, value: Array) -> Change:
    """Give a variable another value."""
    before = variable.numpy()
    return Change(layer, lambda: variable.assign(value.astype(before.dtype)), lambda: variable.assign(before))


def replace(layer: str, owner: Any, attribute: str, value: Any) -> Change:
    """Give an attribute another value."""
    before = getattr(owner, attribute)
    return Change(
        layer,
        lambda: object.__setattr__(owner, attribute, value),
        lambda: object.__setattr__(owner, attribute, before),
    )
