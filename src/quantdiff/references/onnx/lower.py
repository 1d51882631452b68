"""A program as a float graph of TFLite operators, operator by operator, as converters do it.

Values keep the order of axes in which they were computed, channels last behind a convolution, and are moved where an
operator wants another. Where the program rounds itself, QUANTIZE and DEQUANTIZE say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quantdiff.errors import BadModel
from quantdiff.graph import Model
from quantdiff.ops import Layer
from quantdiff.references.onnx import elements, images, recurrent, shapes
from quantdiff.references.onnx.builder import TRANSLATIONS, Builder, Order, Untranslated, plain
from quantdiff.references.onnx.program import Node, Program, simplified

__all__ = ["Translated", "translated"]
LOADED = (elements, images, recurrent, shapes)
"""They register their translations when they are imported."""
INSIDE = {
    "If": "its condition depends on the data; nobody looks into its branches",
    "Loop": "nobody looks into its body",
    "Scan": "nobody looks into its body",
}
"""What is to be said of operators that hold graphs."""
AT_MOST = 3
"""Operators that a message names."""


@dataclass(frozen=True, slots=True)
class Translated:
    """The graph, and where in it the program's values are.

    Attributes:
        model: float operators of TFLite; one that TFLite does not have keeps its own name.
        values: by tensor the program's value that it holds first, and the order of axes.
        unknown: what could not be said, a few words for each operator.
        inner: by value the sums of products inside the operator that gives it.
    """

    model: Model
    values: Mapping[int, tuple[str, Order]]
    unknown: tuple[str, ...]
    inner: Mapping[str, Sequence[Layer]] = field(default_factory=dict)

    def whole(self, name: str) -> Model:
        """The graph.

        Raises:
            BadModel: some operators have no words in TFLite; the first of them are named.
        """
        if self.unknown:
            more = f" and {len(self.unknown) - AT_MOST} more" if len(self.unknown) > AT_MOST else ""
            raise BadModel(
                f"{name}: no operators of TFLite are known for {'; '.join(self.unknown[:AT_MOST])}{more}; "
                "`quantdiff diff --layers` compares without them"
            )
        return self.model


def translated(program: Program) -> Translated:
    """Every operator in its turn; one that cannot be said stands as it is, so that the rest can be seen."""
    simple = simplified(program)
    b = Builder(simple, names=_names(simple))
    for slot in simple.inputs:
        shape = b.shape(slot.name)
        signature = (-1 if slot.shape[:1] == (None,) else shape[0], *shape[1:]) if shape else None
        b.hold(slot.name, b.tensor(slot.name, shape, slot.dtype, shape_signature=signature), plain(len(shape)))
    for node in simple.nodes:
        if all(name in simple.constants for name in node.outputs if name):
            continue
        _translate(b, node)
    model = b.model()
    return Translated(model, _values(b, model), tuple(b.unknown), b.inner)


def _translate(b: Builder, node: Node) -> None:
    try:
        if node.op not in TRANSLATIONS:
            raise Untranslated(INSIDE.get(node.op, ""))
        TRANSLATIONS[node.op](b, node)
    except (Untranslated, KeyError, ValueError, IndexError, TypeError) as error:
        _stands(b, node, error)


def _values(b: Builder, model: Model) -> dict[int, tuple[str, Order]]:
    """By tensor the value that was computed there, and those that are outputs in the program's own order."""
    values: dict[int, tuple[str, Order]] = {}
    for name, forms in b.forms.items():
        if b.fixed(name) is None and name not in b.program.unseen:
            order, tensor = next(iter(forms.items()))
            values.setdefault(tensor, (name, order))
    for name, tensor in model.signatures[0].outputs:
        values.setdefault(tensor, (name, plain(b.rank(name))))
    return values


def _stands(b: Builder, node: Node, error: Exception) -> None:
    """An operator in its own words, from all that it reads to all that it gives."""
    said = f" ({error})" if str(error) and isinstance(error, Untranslated) else ""
    b.unknown.append(f"{node.op} {node.name!r}{said}")
    inputs = [b.take(name, b.order(name)) for name in node.inputs if name in b.forms and b.fixed(name) is None]
    names = [name for name in node.outputs if name and name not in b.forms]
    outputs = [b.tensor(b.names.get(name, name), b.shape(name), b.program.examples[name].dtype.name) for name in names]
    b.append(node.op, inputs, outputs, {})
    for name, tensor in zip(names, outputs, strict=True):
        b.hold(name, tensor, plain(b.rank(name)))


def _names(program: Program) -> dict[str, str]:
    """What a node gives bears the node's name, where that is its alone; else the value's own."""
    count: dict[str, int] = {}
    for node in program.nodes:
        count[node.name] = count.get(node.name, 0) + len(node.outputs)
    return {
        node.outputs[0]: node.name for node in program.nodes if node.name and node.outputs and count[node.name] == 1
    }
