"""Frozen values as they travel between processes: JSON and arrays. Nothing that comes from there is unpickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff import flow, graph, layer, quant, recording, trace
from quantdiff.load import data
from quantdiff.quant import Array
from quantdiff.tally.rows import RowSums

VALUES: Mapping[str, type] = {
    each.__name__: each
    for each in (
        *(flow.Flow, flow.FlowValue, layer.Layer, layer.BatchNorm, layer.TrainedRange, quant.QuantParams, quant.Grid),
        *(trace.Trace, trace.Value, data.Slot, data.Batch, recording.Comparand, recording.ErrorStats, RowSums),
        *(graph.Model, graph.Graph, graph.Tensor, graph.Operator, graph.Signature, graph.Metadata),
        *(graph.BlockQuant, graph.Sparsity, graph.SparseDimension),
    )
}
"""The values that cross the seam, field by field; all others are refused."""

Sent = Any
"""What JSON can say."""


class Encoder:
    """Turns values into JSON; ``arrays`` are what it points to, each once."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self._numbers: dict[int, int] = {}

    def encode(self, value: Any) -> Sent:
        """What ``decode`` turns back. A list comes back as a tuple.

        Raises:
            TypeError: a value of another kind.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list | tuple):
            return [self.encode(each) for each in value]
        kind, content = self._tagged(value)
        return {kind: content}

    def _tagged(self, value: Any) -> tuple[str, Sent]:
        if isinstance(value, np.ndarray):
            return "array", self._number(value)
        if isinstance(value, Path):
            return "path", str(value)
        if isinstance(value, Mapping):
            return "map", [[self.encode(k), self.encode(v)] for k, v in value.items()]
        if isinstance(value, AbstractSet):
            return "set", [self.encode(each) for each in value]
        if is_dataclass(value) and VALUES.get(name := type(value).__name__) is type(value):
            return name, [self.encode(getattr(value, each.name)) for each in fields(value) if each.init]
        raise TypeError(f"a {type(value).__name__} does not travel between processes")

    def _number(self, array: Array) -> int:
        if id(array) not in self._numbers:
            self._numbers[id(array)] = len(self.arrays)
            self.arrays.append(array)  # which keeps its id
        return self._numbers[id(array)]


def decode(sent: Sent, arrays: Sequence[Array]) -> Any:
    """The value that was encoded.

    Raises:
        TypeError, ValueError, LookupError: nothing of the kind was.
    """
    if isinstance(sent, list):
        return tuple(decode(each, arrays) for each in sent)
    if not isinstance(sent, dict):
        return sent
    ((kind, content),) = sent.items()
    if kind in PLAIN:
        return PLAIN[kind](content, arrays)
    return VALUES[kind](*(decode(each, arrays) for each in content))


PLAIN: Mapping[str, Callable[[Any, Sequence[Array]], Any]] = {
    "array": lambda number, arrays: arrays[number],
    "path": lambda text, _: Path(text),
    "map": lambda pairs, arrays: {decode(key, arrays): decode(value, arrays) for key, value in pairs},
    "set": lambda items, arrays: frozenset(decode(each, arrays) for each in items),
}
