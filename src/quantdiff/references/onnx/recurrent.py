"""Recurrent layers written out step by step, as converters do it: one product for all inputs, one for each state.

ONNX's LSTM, GRU and RNN (https://onnx.ai/onnx/operators), and PyTorch's, whose gates stand in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from quantdiff.ops import Layer, gates
from quantdiff.quant import Array
from quantdiff.references.onnx.builder import Builder, Untranslated, translates
from quantdiff.references.onnx.program import Node

LONGEST = 400
"""Steps that are written out; the graph of a longer sequence says nothing to anybody."""
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
PYTORCH = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""ONNX's gates i, o, f, c and z, r, h in PyTorch's order: i, f, g, o and r, z, n."""
USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
ACTIVATIONS = {"Tanh": "TANH", "Relu": "RELU"}
TIME_FIRST = (1, 0, 2)
SIDES = ("forward", "backward")


@dataclass(frozen=True, slots=True)
class Direction:
    """One pass over a sequence; gates stand in PyTorch's order along axis 0 of all arrays.

    Attributes:
        cell: ``LSTM``, ``GRU`` or ``RNN``.
        kernels: for the input and for the state, (gates * units, depth) and (gates * units, units).
        biases: of both, (gates * units,).
        names: of the kernels.
        reverse: whether the last step comes first.
        resets_first: a GRU whose reset gate acts on the state before the product.
        activation: of an RNN.
    """

    cell: str
    kernels: tuple[Array, Array]
    biases: tuple[Array, Array]
    names: tuple[str, str]
    reverse: bool = False
    resets_first: bool = False
    activation: str = "TANH"

    @property
    def units(self) -> int:
        """The size of the state."""
        return int(self.kernels[1].shape[1])

    def layers(self, path: str) -> Iterator[Layer]:
        """Its kernels by their paths."""
        return gates(path, self.cell, self.kernels, self.biases)


class Steps:
    """The operators of a layer in the making; one sample, time along axis 1 of its input."""

    def __init__(self, b: Builder, found: Direction, name: str) -> None:
        self.b, self.found, self.name, self.at = b, found, name, name

    def emit(self, op: str, *inputs: int, width: int = 0, **options: object) -> int:
        """An operator on rows of units."""
        return self.b.emit(op, inputs, (1, width or self.found.units), self.at, **options)

    def product(self, x: int, at: int, shape: Sequence[int], rows: slice = slice(None)) -> int:
        """FULLY_CONNECTED by the kernel of the input (0) or of the state (1), all gates or some."""
        kernel = self.b.constant(self.found.kernels[at][rows], self.found.names[at])
        inputs = (x, kernel, self.b.constant(self.found.biases[at][rows]))
        options = {"keep_num_dims": True, "fused_activation_function": "NONE"}
        return self.b.emit("FULLY_CONNECTED", inputs, shape, self.at, **options)

    def part(self, x: int, gate: int) -> int:
        """The rows of one gate."""
        n = self.found.units
        return self.emit("SLICE", x, self.b.integers(0, gate * n), self.b.integers(1, n))

    def run(self, x: int, state: int | None, cell: int | None) -> tuple[list[int], int | None]:
        """The states of all steps in the order of time, and the last cell."""
        steps, width = self.b.tensors[x].shape[1], len(self.found.kernels[0])
        if steps > LONGEST:
            raise Untranslated(f"a sequence of {steps} steps")
        given = self.product(x, 0, (1, steps, width))
        states: dict[int, int] = {}
        for t in reversed(range(steps)) if self.found.reverse else range(steps):
            self.at = f"{self.name}/{t}"
            begin, size = self.b.integers(0, t, 0), self.b.integers(1, 1, width)
            row = self.b.emit("SLICE", (given, begin, size), (1, 1, width), self.at)
            now = self.emit("RESHAPE", row, self.b.integers(1, width), width=width)
            state, cell = getattr(self, f"_{self.found.cell.lower()}")(now, state, cell)
            states[t] = state
        return [states[t] for t in range(steps)], cell

    def _before(self, state: int | None, width: int, rows: slice = slice(None)) -> int:
        """What the state before contributes: its product, or the bias alone where there was none."""
        if state is not None:
            return self.product(state, 1, (1, width), rows)
        return self.b.constant(self.found.biases[1][None, rows])

    def _rnn(self, now: int, state: int | None, cell: int | None) -> tuple[int, int | None]:
        return self.emit(self.found.activation, self.emit("ADD", now, self._before(state, self.found.units))), cell

    def _lstm(self, now: int, state: int | None, cell: int | None) -> tuple[int, int | None]:
        """``c' = σ(f) c + σ(i) tanh(g)``, ``h' = σ(o) tanh(c')``."""
        width = 4 * self.found.units
        gates = self.emit("ADD", now, self._before(state, width), width=width)
        i, f, o = (self.emit("LOGISTIC", self.part(gates, k)) for k in (0, 1, 3))
        new = self.emit("MUL", i, self.emit("TANH", self.part(gates, 2)))
        cell = new if cell is None else self.emit("ADD", self.emit("MUL", f, cell), new)
        return self.emit("MUL", o, self.emit("TANH", cell)), cell

    def _gru(self, now: int, state: int | None, cell: int | None) -> tuple[int, int | None]:
        """``n = tanh(W x + r (R h + b))``, or ``R (r h)``; ``h' = (h - n) z + n``."""
        n = self.found.units
        first, last = slice(0, 2 * n), slice(2 * n, None)
        if self.found.resets_first:
            before = self._before(state, 2 * n, first)
            r, z = (self._gate(now, before, k) for k in (0, 1))
            inner = self._before(None if state is None else self.emit("MUL", r, state), n, last)
        else:
            before = self._before(state, 3 * n)
            r, z = (self._gate(now, before, k) for k in (0, 1))
            inner = self.emit("MUL", r, self._part_of(before, 2))
        new = self.emit("TANH", self.emit("ADD", self.part(now, 2), inner))
        if state is None:
            state = self.b.constant(np.zeros((1, n), np.float32))
        return self.emit("ADD", self.emit("MUL", self.emit("SUB", state, new), z), new), cell

    def _gate(self, now: int, before: int, gate: int) -> int:
        return self.emit("LOGISTIC", self.emit("ADD", self.part(now, gate), self._part_of(before, gate)))

    def _part_of(self, before: int, gate: int) -> int:
        """A gate of what the state contributes, which may be a constant."""
        held, n = self.b.tensors[before].data, self.found.units
        return self.part(before, gate) if held is None else self.b.constant(held[:, gate * n : (gate + 1) * n])


def _sequence(b: Builder, states: Sequence[int], name: str) -> int:
    """States one behind the other: (1, steps, units)."""
    units = b.tensors[states[0]].shape[1]
    rows = [b.emit("RESHAPE", (each, b.integers(1, 1, units)), (1, 1, units), name) for each in states]
    return b.emit("CONCATENATION", rows, (1, len(rows), units), name, axis=1)


def _initial(b: Builder, name: str, k: int) -> int | None:
    """The state that a direction begins with; None for zeros. Values are (directions, samples, units)."""
    if not name:
        return None
    held = b.fixed(name)
    if held is not None:
        return b.constant(held[k], name) if held.any() else None
    x = b.take(name, TIME_FIRST)
    units = b.tensors[x].shape[2]
    row = b.emit("SLICE", (x, b.integers(0, k, 0), b.integers(1, 1, units)), (1, 1, units), name)
    return b.emit("RESHAPE", (row, b.integers(1, units)), (1, units), name)


def _hold_last(b: Builder, name: str, rows: Sequence[int]) -> None:
    """The last states of all directions: (directions, samples, units)."""
    if name and len(rows) == 1:
        units = b.tensors[rows[0]].shape[1]
        b.hold(name, b.emit("RESHAPE", (rows[0], b.integers(1, 1, units)), (1, 1, units), name), TIME_FIRST)
    elif name:
        b.hold(name, _sequence(b, rows, name), TIME_FIRST)


@translates("LSTM", "GRU", "RNN")
def by_onnx(b: Builder, node: Node) -> None:
    """X (steps, samples, depth) -> Y (steps, directions, samples, units), and the last states."""
    get, cell = node.options.get, node.op
    kernels, recurrent = b.need(node.inputs[1]), b.need(node.inputs[2])
    activation = _check(b, node, len(kernels))
    name = next(each for each in node.outputs if each)
    biases = b.need(node.at(3)) if node.at(3) else np.zeros((len(kernels), 2 * kernels.shape[1]), np.float32)
    x, wide, hidden, cells = b.take(node.inputs[0], TIME_FIRST), [], [], []
    for k in range(len(kernels)):
        first, second = (_turned(cell, each) for each in np.split(biases[k], 2))
        found = Direction(
            cell,
            (_turned(cell, kernels[k]), _turned(cell, recurrent[k])),
            (first, second),
            (node.inputs[1], node.inputs[2]),
            reverse=k == 1 or get("direction", "forward") == "reverse",
            resets_first=cell == "GRU" and not get("linear_before_reset", 0),
            activation=activation,
        )
        path = node.name or name
        b.inner.setdefault(name, []).extend(found.layers(f"{path}/{SIDES[k]}" if len(kernels) > 1 else path))
        states, last = Steps(b, found, name).run(x, _initial(b, node.at(5), k), _initial(b, node.at(6), k))
        hidden.append(states[0] if found.reverse else states[-1])
        cells += [] if last is None else [last]
        shape = (1, len(states), 1, found.units)
        wide.append(b.emit("RESHAPE", (_sequence(b, states, f"{name}/{k}"), b.integers(*shape)), shape, name))
    if node.outputs[0]:
        shape = (*shape[:2], len(wide), shape[3])
        y = wide[0] if len(wide) == 1 else b.emit("CONCATENATION", wide, shape, name, axis=2)
        b.hold(node.outputs[0], y, (2, 0, 1, 3))
    for place, rows in ((1, hidden), (2, cells)):
        _hold_last(b, node.outputs[place] if place < len(node.outputs) else "", rows)


def _turned(cell: str, array: Array) -> Array:
    """Gates along axis 0 in PyTorch's order."""
    parts = np.split(array, GATES[cell])
    return np.concatenate([parts[k] for k in PYTORCH[cell]])


def _check(b: Builder, node: Node, directions: int) -> str:
    """The activation of an RNN.

    Raises:
        Untranslated: what TFLite has no words for.
    """
    get, usual = node.options.get, USUAL[node.op] * directions
    activations = [str(each) for each in get("activations") or usual]
    lengths = b.need(node.at(4)) if node.at(4) else None
    steps = b.shape(node.inputs[0])[0]
    odd = get("clip") or get("input_forget", 0) or get("layout", 0) or node.at(7)
    if odd or (lengths is not None and (lengths != steps).any()):
        raise Untranslated("with clipping, peepholes, coupled gates, another layout or sequences of their own length")
    if node.op == "RNN" and set(activations) <= set(ACTIVATIONS) and len(set(activations)) == 1:
        return ACTIVATIONS[activations[0]]
    if activations != usual:
        raise Untranslated(f"activations {', '.join(activations)}")
    return "TANH"


@translates("aten.lstm", "aten.gru", "aten.rnn_tanh", "aten.rnn_relu")
def by_pytorch(b: Builder, node: Node) -> None:
    """Inputs: x, the first states, then the parameters of all directions of all layers, PyTorch's order."""
    cell = {"aten.lstm": "LSTM", "aten.gru": "GRU"}.get(node.op, "RNN")
    options, name = node.options, node.outputs[0]
    states = 2 if cell == "LSTM" else 1
    parameters = node.inputs[1 + states :]
    directions, each = 1 + int(options["bidirectional"]), 4 if options["has_biases"] else 2
    order = (0, 1, 2) if options["batch_first"] else TIME_FIRST
    x, hidden, cells = b.take(node.inputs[0], order), list[int](), list[int]()
    for layer in range(len(parameters) // each // directions):
        sides = []
        for k in range(directions):
            at = layer * directions + k
            names = parameters[at * each : (at + 1) * each]
            kernel, recurrent, *biases = (b.need(one) for one in names)
            first, second = biases or [np.zeros(len(kernel), np.float32)] * 2
            activation = "RELU" if node.op == "aten.rnn_relu" else "TANH"
            found = Direction(
                cell, (kernel, recurrent), (first, second), (names[0], names[1]), k == 1, False, activation
            )
            module = (node.name or name).rpartition("/")[0] or name
            path = f"{module}/l{layer}{'_reverse' if k else ''}"  # as PyTorch names their parameters
            b.inner.setdefault(name, []).extend(found.layers(path))
            begins = [_initial(b, node.inputs[1 + s], at) for s in range(states)]
            made, last = Steps(b, found, f"{name}/{at}").run(x, begins[0], begins[1] if states > 1 else None)
            hidden.append(made[0] if found.reverse else made[-1])
            cells += [] if last is None else [last]
            sides.append(_sequence(b, made, name))
        shape = (1, len(made), directions * found.units)
        x = sides[0] if directions == 1 else b.emit("CONCATENATION", sides, shape, name, axis=2)
    b.hold(name, x, order)
    for place, rows in ((1, hidden), (2, cells)):
        _hold_last(b, node.outputs[place] if place < len(node.outputs) else "", rows)
