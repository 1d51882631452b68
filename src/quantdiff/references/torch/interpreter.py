"""Run a program node by node: operators of ATen and of PT2E's quantization, looked up by name and nothing else."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, MissingExtra, RuntimeFailed, reason_of
from quantdiff.lazy import require
from quantdiff.quant import Array
from quantdiff.references.torch.archive import DTYPES, Exported

SPACES = ("aten", "quantized_decomposed")
COUNTING = ("add", "sub", "mul", "floordiv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge", "getitem")
"""Of Python's ``operator``: what exports do with sizes."""
REFUSED = ("filename", "file")
"""Arguments by which an operator reads or writes files; what a program calls them says nothing."""
IGNORED = ("as_layout", "as_device", "as_memory_format")


class Interpreter:
    """A program that is ready to run; every operator is known before anything runs."""

    def __init__(self, program: Exported) -> None:
        self.torch = require("torch", extra="torch")
        if any(".quantized_decomposed." in str(node["target"]) for node in program.nodes):
            _register_operators()
        self.torch.set_num_threads(1)
        self.program = program
        self.functions = [self._function(node) for node in program.nodes]
        self.state = {name: self.torch.from_numpy(np.array(array)) for name, array in program.state.items()}

    def _function(self, node: Mapping[str, Any]) -> Callable[..., Any]:
        """The operator that a node names.

        Raises:
            BadModel: it names something else.
        """
        head, *path = str(node["target"]).split(".")
        if head == "_operator" and len(path) == 1 and path[0] in COUNTING:
            found: Any = getattr(operator, path[0])
            return found  # type: ignore[no-any-return]
        known = head == "torch" and len(path) == 4 and path[0] == "ops" and path[1] in SPACES  # noqa: PLR2004
        if not known:
            raise BadModel(
                f"{self.program.name}: calls {node['target']!r}, which is no operator of PyTorch's own; "
                "code of others is never run"
            )
        space, name, overload = path[1:]
        found = getattr(getattr(getattr(self.torch.ops, space), name, None), overload, None)
        if not isinstance(found, self.torch._ops.OpOverload):
            raise BadModel(f"{self.program.name}: calls {node['target']!r}, which this version of torch does not have")
        if any(each.name in REFUSED for each in found._schema.arguments):
            raise BadModel(f"{self.program.name}: calls {node['target']!r}, which opens files; it is never run")
        return found  # type: ignore[no-any-return]

    def run(self, inputs: Sequence[Array], given: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Every value by name; where one is ``given``, what follows takes that, and its own is what is returned.

        Raises:
            RuntimeFailed: torch raised an error.
        """
        torch, seen = self.torch, dict[str, Array]()
        names = [slot.name for slot in self.program.inputs]
        fed = (torch.from_numpy(np.array(array)) for array in inputs)
        held: dict[str, Any] = {**self.state, **dict(zip(names, fed, strict=True))}
        try:
            with torch.no_grad():
                for node, function in zip(self.program.nodes, self.functions, strict=True):
                    self._step(node, function, held, seen, given or {})
        except Exception as error:  # torch raises what it likes
            raise RuntimeFailed(f"{self.program.name}: torch cannot run it: {reason_of(error)}") from error
        return seen

    def _step(
        self,
        node: Mapping[str, Any],
        function: Callable[..., Any],
        held: dict[str, Any],
        seen: dict[str, Array],
        given: Mapping[str, Array],
    ) -> None:
        arguments = [(each, self._argument(each["arg"], held)) for each in node["inputs"]]
        first = [value for each, value in arguments if each.get("kind", 1) == 1]
        rest = {each["name"]: value for each, value in arguments if each.get("kind", 1) != 1}
        result = function(*first, **rest)
        for name, value in zip(names_of(node), flattened(node, result), strict=False):
            held[name] = value
            if isinstance(value, self.torch.Tensor):
                seen[name] = _numbers(value)
                if name in given:
                    held[name] = self.torch.from_numpy(np.array(given[name]))

    def _argument(self, argument: Mapping[str, Any], held: Mapping[str, Any]) -> Any:
        ((kind, value),) = argument.items()
        if kind in ("as_none", *IGNORED):
            return None
        if kind == "as_tensor":
            return held[value["name"]]
        if kind in ("as_tensors", "as_optional_tensors", "as_sym_ints"):
            return [self._one(each, held) for each in value]
        if kind in ("as_sym_int", "as_optional_tensor", "as_sym_bool", "as_sym_float"):
            return self._one(value, held)
        if kind == "as_scalar_type":
            return getattr(self.torch, DTYPES[value])
        if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string"):
            return float(value) if kind == "as_float" else value
        raise TypeError(f"an argument of kind {kind}")

    def _one(self, value: Any, held: Mapping[str, Any]) -> Any:
        """A value that is named, or a number that stands there."""
        if not isinstance(value, Mapping):
            return value
        if "name" in value:
            return held[value["name"]]
        ((kind, found),) = value.items()
        if kind == "as_name":
            return held[found]
        return held[found["name"]] if kind == "as_tensor" else None if kind == "as_none" else found


def _register_operators() -> None:
    """PT2E's operators are there once they are imported: torch's own copy, or that of torchao, which loads more."""
    try:
        require("torch.ao.quantization.fx._decomposed", extra="torch")
    except MissingExtra:
        require("torchao.quantization.pt2e", extra="torch")


def names_of(node: Mapping[str, Any]) -> list[str]:
    """The names of what a node gives; "" for what it does not name."""
    found: list[str] = []
    for each in node["outputs"]:
        ((kind, value),) = each.items()
        if kind in ("as_tensors", "as_optional_tensors"):
            found += [one.get("name") or one.get("as_tensor", {}).get("name", "") for one in value]
        else:
            found.append(value.get("name") or value.get("as_name", "") if isinstance(value, Mapping) else "")
    return found


def flattened(node: Mapping[str, Any], result: Any) -> list[Any]:
    """What a node gives, one after another, as ``names_of`` counts."""
    parts = list(result) if isinstance(result, list | tuple) else [result]
    if len(node["outputs"]) == len(parts):
        return [one for part in parts for one in (part if isinstance(part, list | tuple) else [part])]
    return parts


def _numbers(value: Any) -> Array:
    """A copy: what follows may change the tensor where it stands."""
    plain = value.detach()
    plain = plain.float() if str(plain.dtype) == "torch.bfloat16" else plain
    return np.array(plain.contiguous().numpy())
