"""Unknown devices: the rule that one obeys is among those named, a rule named alone is told from all others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scalar_rules import DEVICES
from small_device import random_images, run_device, write_network

from quantdiff.graph import Graph, Operator
from quantdiff.identifying.identification import Group, identify_tensors
from quantdiff.identifying.probe import load_and_identify
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.run import emulation
from quantdiff.sim.graph.operators import kernel_of
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.node import node_of
from quantdiff.sim.runtime import ARM64, Runtime

CONVOLUTIONS, DENSE = (0, 1, 2), 5
IMAGES = random_images(8, seed=0)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("device") / "network.tflite")


def groups_of(path: Path, held: dict[int, Array]) -> dict[str, Group]:
    """What was found, by kind, where no operator stands out."""
    groups, missing = identify_tensors(load_tflite(path).main, held)
    assert not missing
    assert all(group.usual for group in groups)
    return {group.kind: group for group in groups}


def fitting(group: Group) -> set[str]:
    return {rule for each in group.rules for rule in each}


@pytest.mark.parametrize("rule", DEVICES)
def test_the_rule_of_a_device_is_among_those_named(network: Path, rule: str) -> None:
    rules = dict.fromkeys((*CONVOLUTIONS, DENSE), DEVICES[rule])
    found = groups_of(network, run_device(network, IMAGES, rules))["CONV_2D int8"]
    name = f"{rule}, scale double" if rule == "X" or rule.startswith("float32") else rule
    assert name in fitting(found)
    refuted = {each.fit.rule: each for each in found.refuted}
    assert refuted.keys().isdisjoint(fitting(found))
    assert all(each.fit.mismatches > 0 and each.fit.example is not None for each in found.refuted)
    assert len(found.rules) == 1 or found.status == "undecided"


def test_a_counter_example_is_one(network: Path) -> None:
    held = run_device(network, IMAGES, dict.fromkeys(CONVOLUTIONS, DEVICES["S"]))
    graph = load_tflite(network).main
    found = groups_of(network, held)["CONV_2D int8"]
    by_g = next(each for each in found.refuted if each.fit.rule == "G")
    example = by_g.fit.example
    assert example is not None
    assert example.total is not None
    operator = graph.operators[by_g.operator]
    y, w, x = (graph.tensors[i] for i in (operator.outputs[0], operator.inputs[1], operator.inputs[0]))
    assert held[y.index][example.element] == example.device
    assert w.quant and x.quant and y.quant  # noqa: PT018
    scale = np.float64(np.float32(x.quant.scale[0])) * np.float32(w.quant.scale[example.element[-1]])
    z = y.quant.zero_point[0]
    assert (
        DEVICES["G"](example.total, float(scale / np.float32(y.quant.scale[0]))) + z == example.rule != example.device
    )


def true_rules(path: Path, group: Group, runtime: Runtime) -> set[str]:
    """The kernels that a runtime has for the operators of a group."""
    graph = load_tflite(path).main
    return {kernel_of(node_of(graph, graph.operators[k]), runtime).value for k in group.operators}


@pytest.mark.golden
@pytest.mark.parametrize("runtime", Runtime)
def test_the_rules_of_every_runtime(network: Path, runtime: Runtime) -> None:
    if runtime.on_arm64 and emulation.root() is None:
        pytest.skip(f"nothing emulates ARM64 here: {emulation.BRINGS}")
    found = load_and_identify(network, runtime.value, samples=16)
    assert found.faithful
    assert not found.missing
    assert all(group.usual and true_rules(network, group, runtime) <= fitting(group) for group in found.groups)


@pytest.mark.parametrize("runtime", ARM64.values())
def test_the_rules_of_arm64_where_nothing_emulates_it(network: Path, runtime: Runtime) -> None:
    model = load_tflite(network)
    held = simulate(model.main, [IMAGES], runtime).values
    found = groups_of(network, dict(held)).values()
    assert all(true_rules(network, group, runtime) <= fitting(group) for group in found)
    convolution = next(group for group in found if group.op == "CONV_2D")
    assert any(rule == "builtin@arm64" for rule in fitting(convolution)) == (runtime is Runtime.BUILTIN_ARM64)


def test_operators_that_stand_out_are_named(network: Path) -> None:
    """One of three convolutions computed by another rule, as a broken kernel would."""
    rules = {0: DEVICES["S"], 1: DEVICES["int32 floor"], 2: DEVICES["S"]}
    groups, _ = identify_tensors(load_tflite(network).main, run_device(network, IMAGES, rules))
    convolutions = [group for group in groups if group.op == "CONV_2D"]
    assert [(group.operators, group.usual) for group in convolutions] == [((0, 2), True), ((1,), False)]
    assert "S" in fitting(convolutions[0])
    assert "int32 floor" in fitting(convolutions[1])
    assert "S" not in fitting(convolutions[1])


def test_no_name_is_forced(network: Path) -> None:
    def broken(total: int, scale: float) -> int:
        return DEVICES["R"](total, scale) + (total % 977 == 0)

    rules = {0: DEVICES["R"], 1: broken, 2: DEVICES["R"]}
    groups, _ = identify_tensors(load_tflite(network).main, run_device(network, IMAGES, rules))
    (group,) = (group for group in groups if group.status == "unknown")
    nearest = group.nearest
    assert nearest is not None
    assert (group.operators, group.rule, nearest.fit.rule) == ((1,), "", "builtin")
    by_r = next(each.fit for each in group.refuted if each.fit.rule == "R")
    assert by_r.example is not None
    assert by_r.example.total is not None
    assert by_r.example.total % 977 == 0
    assert by_r.example.device == by_r.example.rule + 1
    assert 0 < by_r.mismatches < group.count / 100


def test_what_was_not_recorded(network: Path) -> None:
    held = run_device(network, IMAGES[:4], {})
    graph = load_tflite(network).main
    for name in ("y1", "flat"):
        del held[next(t.index for t in graph.tensors if t.name == name)]
    groups, missing = identify_tensors(graph, held)
    assert [item.index for item in missing] == [1, 2]  # its maker and its reader; what is only moved is known
    assert {group.kind for group in groups} >= {"FULLY_CONNECTED int8", "RESHAPE int8", "CONV_2D int8"}


def test_runtimes_are_named_before_letters(network: Path) -> None:
    found = groups_of(network, run_device(network, IMAGES, {}))
    assert all(group.rule in {runtime.value for runtime in Runtime} for group in found.values())


def test_an_operator_that_gives_nothing_obeys_nothing() -> None:
    graph = Graph("main", (), (Operator(0, "CALL_ONCE", (), ()),), (), ())
    assert identify_tensors(graph, {}) == ((), ())
