"""Calls of ATen's operators on their way into ONNX's words: arguments by name, layers by the path of their module.

And of PyTorch's quantizers: q and dq of PT2E, and fake-quant, which is both at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantdiff.ops import TrainedRange
from quantdiff.quant import Array, Grid, QuantParams
from quantdiff.references.onnx.program import Node
from quantdiff.references.torch.archive import DTYPES
from quantdiff.references.torch.interpreter import names_of


@dataclass(frozen=True, slots=True)
class Integers:
    """What lies between the two halves of fake-quant, which gives floats: ``of`` these the integers on a grid."""

    of: str
    grid: Grid
    trained: TrainedRange | None

    def values(self, floats: Array) -> Array:
        """The integers that floats restate."""
        scale, zero = self.grid.params.along(floats.ndim)
        return np.asarray(np.rint(floats / scale.astype(np.float64)) + zero, self.grid.dtype)


@dataclass(slots=True)
class Call:
    """One node in the making: its arguments by name, tensors as the names of their values.

    ``constants``, ``like`` and ``integers`` are what the words need besides: new constants, the values that new ones
    are shaped like, and what fake-quant keeps to itself. ``state`` are parameters and buffers by name.
    """

    op: str
    name: str
    outputs: tuple[str, ...]
    given: Mapping[str, Any]
    constants: dict[str, Array] = field(default_factory=dict)
    like: dict[str, str] = field(default_factory=dict)
    integers: dict[str, Integers] = field(default_factory=dict)
    state: Mapping[str, Array] = field(default_factory=dict)

    def array(self, name: str) -> Array:
        """An argument as an array: numbers, or a parameter or buffer."""
        given = self.given[name]
        return np.asarray(self.state[given] if isinstance(given, str) else given)

    def constant(self, value: Any, dtype: str = "float32") -> str:
        """A new constant."""
        name = f"{self.outputs[0]}/{len(self.constants)}"
        self.constants[name] = np.array(value, dtype)
        return name

    def between(self, word: str, like: str) -> str:
        """The name of a value on the way, shaped like another one."""
        name = f"{self.outputs[0]}/{word}"
        self.like[name] = like
        return name

    def get(self, *names: str, default: Any = None) -> Any:
        """The first argument of these names that is there."""
        return next((self.given[name] for name in names if self.given.get(name) is not None), default)

    def say(self, op: str, *inputs: str, outputs: tuple[str, ...] = (), **options: Any) -> Node:
        """The node."""
        return Node(op, self.name, tuple(inputs), outputs or self.outputs, options)

    def number(self, name: str) -> str:
        """An operand: a value, or a number as a constant."""
        value = self.given[name]
        return value if isinstance(value, str) else self.constant(value)


@dataclass(frozen=True, slots=True)
class Said:
    """Nodes in ONNX's words, constants that they need, and by new value the one that it is shaped like."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    like: Mapping[str, str]
    integers: Mapping[str, Integers]


def said(nodes: tuple[Mapping[str, Any], ...], state: Mapping[str, Array]) -> Said:
    """Every node; one that has no words keeps its own name."""
    found, constants, like, integers = list[Node](), dict[str, Array](), dict[str, str](), dict[str, Integers]()
    names = _module_names(nodes)
    for k, node in enumerate(nodes):
        if not any(kind.startswith(("as_tensor", "as_optional")) for each in node["outputs"] for kind in each):
            continue  # a size, which what it leads to shows
        call = _call(node, names[k])
        call.state = state
        found += WORDS[call.op](call) if call.op in WORDS else [_unknown(node, call)]
        constants |= call.constants
        like |= call.like
        integers |= call.integers
    return Said(tuple(found), constants, like, integers)


def _call(node: Mapping[str, Any], name: str) -> Call:
    op = str(node["target"]).rpartition("torch.ops.")[2].split(".")
    given = {each["name"]: _plain(each["arg"]) for each in node["inputs"]}
    plain = op[1] if len(op) > 1 else op[0]
    if plain not in WORDS and plain.endswith("_"):  # in place: the value is the same
        plain = plain[:-1]
    return Call(plain, name, tuple(names_of(node)), given)


def _unknown(node: Mapping[str, Any], call: Call) -> Node:
    """It stands for itself, with all tensors that it reads."""
    names = [n for v in call.given.values() for n in (v if isinstance(v, list) else [v]) if isinstance(n, str)]
    return Node(str(node["target"]).removeprefix("torch.ops."), call.name, tuple(names), call.outputs)


def _plain(argument: Mapping[str, Any]) -> Any:
    """An argument as it is; tensors by name, sizes that hang on the data as None."""
    ((kind, value),) = argument.items()
    if kind in ("as_tensor", "as_optional_tensor"):
        return value.get("name") or value.get("as_tensor", {}).get("name")
    if kind in ("as_tensors", "as_optional_tensors"):
        return [one.get("name") or one.get("as_tensor", {}).get("name", "") for one in value]
    if kind == "as_sym_ints":
        return [one.get("as_int") for one in value]
    if kind == "as_sym_int":
        return value.get("as_int")
    return None if kind == "as_none" else _Text(value) if kind == "as_string" else value


class _Text(bytes):
    """Words among the arguments, which are not the names of values."""

    def __new__(cls, value: str) -> _Text:
        return super().__new__(cls, value.encode())


def _module_names(nodes: tuple[Mapping[str, Any], ...]) -> list[str]:
    """The path of the module that called each operator, where it called but that one; else with its own name.

    A quantizer bears the name of what it quantizes.
    """
    paths = ["" if _is_quantizer(node) else _path(node) for node in nodes]
    alone = {path for path in paths if path and paths.count(path) == 1}
    found, known = list[str](), dict[str, str]()
    for node, path in zip(nodes, paths, strict=True):
        own, first = (names_of(node) or [""])[0], _plain(node["inputs"][0]["arg"]) if node["inputs"] else ""
        if _is_quantizer(node):
            before = known.get(str(first), str(first)).removesuffix("/quantize")
            found.append(f"{before}/{'de' if 'dequantize' in str(node['target']) else ''}quantize")
        else:
            found.append(path if path in alone else f"{path}/{own}" if path else own)
        known[own] = found[-1]
    return found


def _is_quantizer(node: Mapping[str, Any]) -> bool:
    return any(word in str(node["target"]) for word in (".quantized_decomposed.", "fake_quant"))


def _path(node: Mapping[str, Any]) -> str:
    stack = str(node.get("metadata", {}).get("nn_module_stack", ""))
    parts = stack.rpartition(";")[2].split(",")
    return parts[1] if len(parts) > 1 else ""


Word = Callable[[Call], list[Node]]
WORDS: dict[str, Word] = {}


def word(*ops: str) -> Callable[[Word], Word]:
    """Register how operators are said."""

    def register(function: Word) -> Word:
        WORDS.update(dict.fromkeys(ops, function))
        return function

    return register


def text(value: Any, default: str) -> str:
    """A string of the program; ``default`` where it says none."""
    return value.decode() if isinstance(value, bytes) else default


WIDTHS = {(-128, 127): "int8", (0, 255): "uint8", (-32768, 32767): "int16"}
"""The first and the last integer of a type."""


@word("quantize_per_tensor", "dequantize_per_tensor", "quantize_per_channel", "dequantize_per_channel")
def quantize(call: Call) -> list[Node]:
    """Onto a grid, or off it; its numbers stand in the call, or are tensors."""
    op = "DequantizeLinear" if call.op.startswith("de") else "QuantizeLinear"
    scale, zero = call.get("scale", "scales"), call.get("zero_point", "zero_points")
    scale = scale if isinstance(scale, str) else call.constant(scale)
    zero = zero if isinstance(zero, str) else call.constant(zero, DTYPES.get(call.given["dtype"], "int64"))
    return [call.say(op, call.given["input"], scale, zero, axis=call.get("axis", default=0))]


@word("fused_moving_avg_obs_fake_quant")
def fake_quantize(call: Call) -> list[Node]:
    """Onto a grid and off it at once; what an observer has learned of its range stands in the call, too."""
    x, out, low, high = call.given["self"], call.outputs[0], call.given["quant_min"], call.given["quant_max"]
    if isinstance(call.given.get("fake_quant_on"), str) and not call.array("fake_quant_on").any():
        return [call.say("Identity", x, outputs=(out,))]
    dtype = next((name for (first, last), name in WIDTHS.items() if first <= low and high <= last), None)
    if dtype is None:
        return [call.say("aten.fake_quantize to more than 16 bits", x, outputs=(out,))]
    scale, zero = call.array("scale").reshape(-1), call.array("zero_point").reshape(-1)
    axis = int(call.get("axis", "ch_axis", default=0)) if scale.size > 1 else None
    grid = Grid(QuantParams(tuple(map(float, scale)), tuple(map(int, zero)), axis), dtype, out)
    learned = None
    if "running_min" in call.given:
        first, last = (tuple(map(float, call.array(name).reshape(-1))) for name in ("running_min", "running_max"))
        learned = TrainedRange(
            "output", first, last, "FusedMovingAvgObsFakeQuantize", np.dtype(dtype).itemsize * 8, low == -high, grid
        )
    name = f"{out}/integers"
    call.integers[name] = Integers(out, grid, learned)
    by_channel = axis is not None
    steps = call.constant(scale if by_channel else scale[0]), call.constant(zero if by_channel else zero[0], dtype)
    there = call.say("QuantizeLinear", x, *steps, outputs=(name,), axis=axis or 0)
    back = f"{call.name.removesuffix('quantize')}dequantize"
    return [there, Node("DequantizeLinear", back, (name, *steps), (out,), {"axis": axis or 0})]
