"""One operator on the simulator: by a runtime's kernel, by a rule that has a name, or in real arithmetic.

Many samples and several runtimes share as few calls as the kernel allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from quantdiff.graph import PACKED, Graph, Operator, Tensor, dense_values
from quantdiff.ops import traits
from quantdiff.quant import Array
from quantdiff.sim.arm64 import differs, refuse_unknown
from quantdiff.sim.device import Device, Rules, kernel_by
from quantdiff.sim.enclosures import ENCLOSURES, Enclosure, joined
from quantdiff.sim.node import Kernel, Node, NoKernel, Real, fitting, kernels, node_of, real_of
from quantdiff.sim.rounding.rounded import Rounded
from quantdiff.sim.runtime import ARM64, Runtime
from quantdiff.sim.xnnpack.delegate import taken, unpacks_constants

Outputs = tuple[Array, ...]
Results = Rounded | Sequence[Outputs]
Result = TypeVar("Result")
ELEMENTS_AT_ONCE, BLOCKED_AT_ONCE = 2**19, 2**25
"""Input and output elements of the samples that go through a kernel together; more where it works in blocks itself."""
BLOCKED_TYPES = ("int8", "uint8")
OF_COMPLEX = ("COMPLEX_ABS", "IMAG", "REAL", "RFFT2D")


@dataclass(frozen=True, slots=True)
class Call:
    """An operator about to be computed: its kernel, what is fed, and the runtimes whose kernels run.

    Shapes: each feed (``count``, *shape of the tensor). ``at_once`` samples share one call of the kernel as a longer
    first axis; 0 when they must go one by one.
    """

    node: Node
    kernel: Kernel
    feeds: tuple[Array | None, ...]
    ran_by: Mapping[Runtime, Runtime]
    count: int
    at_once: int

    @property
    def runtimes(self) -> tuple[Runtime, ...]:
        """Each kernel once."""
        return tuple(dict.fromkeys(self.ran_by.values()))

    @property
    def restates(self) -> bool:
        """Whether many samples get another shape and nothing else, the same one each."""
        varying = [k for k, feed in enumerate(self.feeds) if feed is not None]
        return self.count > 1 and traits(self.node.operator.op).keeps_order and varying == [0]

    def sampled(self, y: Array) -> Array:
        """An output of the kernel with the samples along axis 0."""
        return y[:, None] if self.at_once else y[None]


def run_operator(graph: Graph, operator: Operator, values: Mapping[int, Array], runtime: Rules) -> Outputs:
    """The outputs of one operator, given its input tensors with the samples along axis 0.

    Raises:
        NoKernel: the simulator has none for this op, these types or this runtime.
    """
    if isinstance(runtime, Device):
        return run_by_rule(graph, operator, values, runtime.rule_of(node_of(graph, operator)))
    return run_operator_on_each(graph, operator, values, (runtime,))[runtime]


def ran_by(node: Node, rules: Rules) -> str:
    """The name of the kernel or rule that computes an operator."""
    if isinstance(rules, Device):
        with suppress(NoKernel):
            return rules.rule_of(node)
        return ""
    return str(kernel_of(node, rules).value)


def run_by_rule(graph: Graph, operator: Operator, values: Mapping[int, Array], rule: str) -> Outputs:
    """The same by a rule that has a name (``sim/device.py``), whoever obeys it.

    Raises:
        NoKernel: there is no such rule for this op and these types.
    """
    runtime, kernel = kernel_by(rule, node_of(graph, operator))
    return run_operator_on_each(graph, operator, values, (runtime,), kernel)[runtime]


def run_operator_on_each(
    graph: Graph,
    operator: Operator,
    values: Mapping[int, Array],
    runtimes: Sequence[Runtime],
    kernel: Kernel | None = None,
) -> dict[Runtime, Outputs]:
    """The same for several runtimes that get the same input: what they have in common is computed once.

    ``kernel`` stands in for the op's own.

    Raises:
        NoKernel: the simulator has none for this op, these types or one of the runtimes.
    """
    call = _prepared(graph, operator, values, runtimes, kernel)
    if call.restates:
        return _restated(call, graph, operator, values, kernel)
    parts = list(_calls(call, _whole))
    stacks: dict[tuple[int, ...], Array] = {}  # what the runtimes share stays one array

    def stacked(k: int, i: int) -> Array:
        arrays = [part[k][i] for part in parts]
        same = tuple(map(id, arrays))
        if same not in stacks:
            stacks[same] = _stack([call.sampled(array) for array in arrays], call.node)
        return stacks[same]

    with fitting():
        outputs = {r: tuple(stacked(k, i) for i in range(len(operator.outputs))) for k, r in enumerate(call.runtimes)}
    return {runtime: outputs[call.ran_by[runtime]] for runtime in runtimes}


def _restated(
    call: Call, graph: Graph, operator: Operator, values: Mapping[int, Array], kernel: Kernel | None
) -> dict[Runtime, Outputs]:
    """One sample says which shape; all follow."""
    x = operator.inputs[0]
    one = run_operator_on_each(graph, operator, {**values, x: values[x][:1]}, tuple(call.ran_by), kernel)
    return {runtime: (values[x].reshape(call.count, *y.shape[1:]),) for runtime, (y,) in one.items()}


def enclose_operator(graph: Graph, operator: Operator, values: Mapping[int, Array], runtime: Rules) -> Enclosure:
    """An interval for each element of the one output of an operator that has no kernel here.

    Shapes: (samples, *shape of the output).

    Raises:
        NoKernel: there is none for this op, these types or this runtime, or it is too wide to prove anything.
    """
    if isinstance(runtime, Device):
        runtime, _ = kernel_by(runtime.rule_of(node_of(graph, operator)), node_of(graph, operator))
    kernels()  # the ops register their intervals too
    function = ENCLOSURES.get(operator.op)
    if function is None:
        raise NoKernel("no interval")
    call = _prepared(graph, operator, values, (runtime,), Kernel(_no_array, batched=False, shared=False))
    (ran_by,) = call.runtimes
    return joined([function(call.node, *arguments, runtime=ran_by) for arguments in _arguments(call)])


def _no_array(node: Node, *_: Array | None, runtime: Runtime) -> Array:
    raise NoKernel(f"{node.operator.op} on {runtime.value} has intervals alone")


def compare_operator_on_each(
    graph: Graph, operator: Operator, values: Mapping[int, Array], runtimes: Sequence[Runtime]
) -> tuple[Outputs, dict[Runtime, int]]:
    """The outputs of the first runtime, and how many elements each gives otherwise; its results are not kept.

    Raises:
        NoKernel: the simulator has none for this op, these types or one of the runtimes.
    """
    call = _prepared(graph, operator, values, runtimes)
    parts = list(_calls(call, _first_and_differing))
    firsts = zip(*(first for first, _ in parts), strict=True)
    outputs = tuple(_stack([call.sampled(array) for array in arrays], call.node) for arrays in firsts)
    totals = dict(zip(call.runtimes, map(sum, zip(*(counts for _, counts in parts), strict=True)), strict=True))
    return outputs, {runtime: totals[call.ran_by[runtime]] for runtime in runtimes}


def _prepared(
    graph: Graph,
    operator: Operator,
    values: Mapping[int, Array],
    runtimes: Sequence[Runtime],
    kernel: Kernel | None = None,
) -> Call:
    kernel = kernel or kernels().get(operator.op)
    if kernel is None:
        raise NoKernel("no kernel")
    with fitting():
        held = [values.get(i) for i in operator.inputs]
        node = node_of(graph, operator)
        known = traits(operator.op)
        places = [k for k, t in enumerate(node.inputs) if t is not None and t.dtype.startswith("complex")]
        complex_ones = places or any(t is not None and t.dtype.startswith("complex") for t in node.outputs)
        moved = (known.moves or known.keeps_order) and (known.joins or all(k == known.x for k in places))
        if complex_ones and not (moved or operator.op in OF_COMPLEX):
            raise NoKernel("complex numbers")
        count = max((len(array) for array in held if array is not None), default=1)
        feeds = tuple(f if f is None or len(f) == count else np.broadcast_to(f, (count, *f.shape[1:])) for f in held)
        fed = _as_fed(node, held)
        ran_by = {runtime: kernel_of(node, runtime, fed) for runtime in runtimes}
        return Call(fed, kernel, feeds, ran_by, count, together(fed, kernel, feeds))


def _as_fed(node: Node, held: Sequence[Array | None]) -> Node:
    """The node with the shapes that its inputs have, whatever the file says of them."""
    pairs = list(zip(node.inputs, held, strict=True))
    if all(t is None or a is None or t.shape == a.shape[1:] for t, a in pairs):
        return node
    return replace(node, inputs=tuple(t if t is None or a is None else replace(t, shape=a.shape[1:]) for t, a in pairs))


def together(node: Node, kernel: Kernel, feeds: Sequence[Array | None]) -> int:
    """How many samples may share one call as a longer first axis; 0 when they must go one by one."""
    arrays = [array for array in feeds if array is not None]
    constants = [t for t, array in zip(node.inputs, feeds, strict=True) if t is not None and array is None]
    batched = kernel.batched(node) if callable(kernel.batched) else kernel.batched
    if not (batched and arrays):
        return 0
    rank = arrays[0].ndim - 1
    alike = all(a.ndim - 1 == rank and rank > 0 and a.shape[1] == 1 for a in arrays)
    fits = all(t.data is None or t.data.ndim <= rank for t in constants)
    if not (alike and fits and all(t.shape[:1] == (1,) for t in node.outputs)):
        return 0
    elements: int = sum(array[0].size for array in arrays) + sum(math.prod(t.shape) for t in node.outputs)
    blocked = kernel.shared and node.x.dtype in BLOCKED_TYPES
    return max(1, (BLOCKED_AT_ONCE if blocked else ELEMENTS_AT_ONCE) // max(1, elements))


def _calls(call: Call, take: Callable[[Results], Result]) -> Iterator[Result]:
    """What ``take`` makes of the kernel's results, an entry per runtime, for some samples after the others."""
    for arguments in _arguments(call):
        with fitting(), np.errstate(all="ignore"):
            result = take(_results(call, arguments))
        yield result


def _arguments(call: Call) -> Iterator[list[Array | None]]:
    """What each call of the kernel is given: constants, and some samples after the others."""
    step = call.at_once or 1
    for start in range(0, call.count, step):
        arguments: list[Array | None] = []
        for tensor, feed in zip(call.node.inputs, call.feeds, strict=True):
            if feed is not None:
                arguments.append(feed[start : start + step, 0] if call.at_once else feed[start])
            else:
                arguments.append(None if tensor is None else _stored(tensor))
        yield arguments


def _stored(tensor: Tensor) -> Array | None:
    """A constant as kernels take it: what the file packs below 8 bits as int8."""
    packed = tensor.dtype in PACKED and tensor.data is not None and tensor.sparsity is None
    return dense_values(tensor) if packed else tensor.data


def _results(call: Call, arguments: Sequence[Array | None]) -> Results:
    function = call.kernel.function
    for runtime in call.runtimes:
        if runtime.on_arm64:
            refuse_unknown(call.node, runtime)
    if not call.kernel.shared:
        return [_outputs(function(call.node, *arguments, runtime=runtime)) for runtime in call.runtimes]
    results = function(call.node, *arguments, runtimes=call.runtimes)
    return results if isinstance(results, Rounded) else [_outputs(result) for result in results]


def _outputs(result: Array | Outputs | Rounded) -> Outputs:
    assert not isinstance(result, Rounded)
    return result if isinstance(result, tuple) else (result,)


def _whole(results: Results) -> Sequence[Outputs]:
    return [(y,) for y in results.whole()] if isinstance(results, Rounded) else results


def _first_and_differing(results: Results) -> tuple[Outputs, Sequence[int]]:
    """The outputs of the first runtime, and how many elements each gives otherwise."""
    if isinstance(results, Rounded):
        first, counts = results.first_and_differing()
        return (first,), counts
    return results[0], [sum(map(_differing, results[0], ys)) for ys in results]


def _differing(a: Array, b: Array) -> int:
    return 0 if a is b else int(np.count_nonzero(a != b))


def _stack(parts: list[Array], node: Node) -> Array:
    """The samples' arrays behind each other."""
    if len({part.shape[1:] for part in parts}) > 1:
        raise NoKernel(f"the shape of {node.y.name!r} depends on the data")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def kernel_of(node: Node, runtime: Runtime, fed: Node | None = None) -> Runtime:
    """The runtime whose kernel computes this operator when the model runs on ``runtime``.

    ``fed`` is the node with the shapes that run, where these are not the file's.

    What the delegate unpacks when it is set up, it unpacks by LiteRT's optimized kernels (``quantization_util.cc``).
    On ARM64 it is the kernel of x86-64 wherever both give the same bits (``sim/arm64.py``).
    """
    kernel = runtime.family
    if kernel is Runtime.XNNPACK and (not taken(node) or unpacks_constants(node)):
        kernel = Runtime.BUILTIN
    return ARM64[kernel] if runtime.on_arm64 and differs(fed or node, kernel) else kernel


Choice = Callable[[Real], bool]


def everything(real: Real) -> bool:
    """Every operator that has a real function."""
    del real
    return True


def all_but_curves(real: Real) -> bool:
    """Curves as the runtime approximates them, the rest real."""
    return not real.curve


def curves_alone(real: Real) -> bool:
    """Real curves in a chain that otherwise is the runtime's."""
    return real.curve


def run_ideal(
    graph: Graph, operator: Operator, values: Mapping[int, Array], *, runtime: Rules, choice: Choice
) -> tuple[Array, ...]:
    """One operator, given its input tensors with the samples along axis 0.

    Raises:
        NoKernel: neither a real function nor a kernel for this op and these types.
    """
    real = real_of(node_of(graph, operator))
    if real is None or not choice(real):
        return run_operator(graph, operator, values, runtime)
    own = kernels().get(operator.op)
    kernel = Kernel(real, own.batched if own else False, shared=False)
    anyone = Runtime.REFERENCE  # real numbers are the same on every runtime
    return run_operator_on_each(graph, operator, values, (anyone,), kernel)[anyone]


def has_curves(graph: Graph) -> bool:
    """True when some operator is a curve that runtimes approximate."""
    found = (real_of(node_of(graph, operator)) for operator in graph.operators)
    return any(real is not None and real.curve for real in found)
