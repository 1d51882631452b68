"""IF and WHILE: their bodies are subgraphs, and each sample goes its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flatbuffers.flexbuffers import Builder, Dumps
from golden import LITERT
from written_models import Op, Sub, T, write_model

from quantdiff.compare.verification import load_and_verify
from quantdiff.graph import Model
from quantdiff.linting.lint import lint_model
from quantdiff.load.tflite import load_tflite, read_model
from quantdiff.sim.graph.simulator import Calls, simulate
from quantdiff.sim.runtime import Runtime

ONE = T("one", (), "int32", data=1)
SHAPE = (1, 4)


def counted(path: Path) -> Path:
    """``x`` doubled as often as ``n`` says."""
    n, x = T("n", (), "int32"), T("x", SHAPE, "float32")
    left, twice, zero = T("left", (), "int32"), T("twice", SHAPE, "float32"), T("zero", (), "int32", data=0)
    main = Sub(
        [n, x, T("m", (), "int32"), T("y", SHAPE, "float32")],
        [Op("WHILE", ["n", "x"], ["m", "y"], {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})],
        ["n", "x"],
        ["m", "y"],
    )
    condition = Sub([n, x, zero, T("c", (), "bool")], [Op("GREATER", ["n", "zero"], ["c"])], ["n", "x"], ["c"], "cond")
    steps = [Op("SUB", ["n", "one"], ["left"], {"fusedActivationFunction": 0})]
    steps.append(Op("ADD", ["x", "x"], ["twice"], {"fusedActivationFunction": 0}))
    body = Sub([n, x, ONE, left, twice], steps, ["n", "x"], ["left", "twice"], "body")
    path.write_bytes(write_model([main, condition, body]))
    return path


def chosen(path: Path) -> Path:
    """``-x`` or its square."""
    x, y = T("x", SHAPE, "float32"), T("y", SHAPE, "float32")
    main = Sub(
        [T("c", (), "bool"), x, y],
        [Op("IF", ["c", "x"], ["y"], {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2})],
        ["c", "x"],
        ["y"],
    )
    ways = [Sub([x, y], [Op(op, ["x"], ["y"])], ["x"], ["y"], op) for op in ("NEG", "SQUARE")]
    path.write_bytes(write_model([main, *ways]))
    return path


def composed(path: Path) -> Path:
    """A layer that stands as one word of its exporter: its decomposition adds twice and multiplies."""
    size = (1, 16_384)
    x, s, y = (T(name, size, "float32") for name in ("x", "s", "y"))
    plain = {"fusedActivationFunction": 0}
    how = {"name": b"quantdiff.product", "decompositionSubgraphIndex": 1, "compositeAttributes": list(Dumps({}))}
    word = Op("STABLEHLO_COMPOSITE", ["x", "w"], ["y"], how, "StableHLOCompositeOptions")
    weights = T("w", size, "float32", data=np.random.default_rng(3).normal(size=size))
    steps = [Op("ADD", ["x", "x"], ["s"], plain), Op("MUL", ["s", "w"], ["y"], plain)]
    w = T("w", size, "float32")
    main, body = Sub([x, weights, y], [word], ["x"], ["y"]), Sub([x, w, s, y], steps, ["x", "w"], ["y"])
    path.write_bytes(write_model([main, body]))
    return path


@pytest.mark.golden
@pytest.mark.parametrize("runtime", LITERT)
def test_a_composite_is_its_decomposition(tmp_path: Path, note: Callable[..., None], runtime: Runtime) -> None:
    """On 425,984 elements of each runtime that has the operator."""
    (v,) = load_and_verify(composed(tmp_path / "c.tflite"), [runtime.value], samples=26).verdicts.values()
    assert (v.status, v.why, v.count, v.chain_count) == ("exact", "", 26 * 16_384, 26 * 16_384)
    note("STABLEHLO_COMPOSITE", runtime, v.count, v.mismatches)


@pytest.mark.golden
@pytest.mark.parametrize("make", [counted, chosen])
def test_control_flow_is_exact(tmp_path: Path, make: object) -> None:
    path = make(tmp_path / "control.tflite")  # type: ignore[operator]
    verdicts = load_and_verify(path, ["xnnpack", "builtin", "reference"], samples=6).verdicts
    assert {name: v.status for name, v in verdicts.items()} == dict.fromkeys(
        ("xnnpack", "builtin", "reference"), "exact"
    )
    assert all(v.count >= 24 and v.chain_count >= 24 for v in verdicts.values())


def test_each_sample_goes_its_own_way(tmp_path: Path) -> None:
    model = load_tflite(counted(tmp_path / "control.tflite"))
    inputs = [np.asarray([0, 1, 3], np.int32), np.ones((3, *SHAPE), np.float32)]
    found = simulate(model.main, inputs, Runtime.REFERENCE, model.subgraphs)
    left, y = (found.values[i] for i in model.main.outputs)
    assert (left.tolist(), y[:, 0, 0].tolist()) == ([0, 0, 0], [1, 2, 8])


def test_a_loop_without_end_is_refused(tmp_path: Path) -> None:
    model = load_tflite(counted(tmp_path / "control.tflite"))
    inputs = [np.asarray([9], np.int32), np.ones((1, *SHAPE), np.float32)]
    enough = simulate(model.main, inputs, Runtime.REFERENCE, model.subgraphs, Calls(19))
    assert not enough.missing  # nine rounds of two calls, and the condition that ends them
    (missing,) = simulate(model.main, inputs, Runtime.REFERENCE, model.subgraphs, Calls(18)).missing
    assert missing.why == "it calls its subgraphs too often, or in each other more than 20 times"


def loops(*bodies: tuple[int, int]) -> Model:
    """A WHILE in each subgraph, with the numbers of its condition and its body; the last subgraph says: go on."""
    x, y, always = T("x", SHAPE, "float32"), T("y", SHAPE, "float32"), T("always", (), "bool", data=True)
    subs = []
    for condition, body in bodies:
        loop = Op("WHILE", ["x"], ["y"], {"condSubgraphIndex": condition, "bodySubgraphIndex": body})
        subs.append(Sub([x, y], [loop], ["x"], ["y"]))
    return read_model(memoryview(write_model([*subs, Sub([x, always], [], ["x"], ["always"])])))


@pytest.mark.parametrize("bodies", [[(1, 0)], [(0, 1)], [(2, 1), (2, 2)], [(3, 1), (3, 2), (3, 0)], [(1, 7)], [(9, 1)]])
def test_loops_in_themselves_in_others_and_of_nothing_end_soon(bodies: list[tuple[int, int]]) -> None:
    model = loops(*bodies)
    inputs = [np.ones((2, *SHAPE), np.float32)]
    assert simulate(model.main, inputs, Runtime.REFERENCE, model.subgraphs, Calls(1000)).missing
    assert "SHAPE01" not in {finding.code for finding in lint_model(model).findings}


def test_a_branch_that_wants_other_inputs(tmp_path: Path) -> None:
    x, y, c = T("x", SHAPE, "float32"), T("y", SHAPE, "float32"), T("c", (), "bool")
    main = Sub([c, x, y], [Op("IF", ["c", "x"], ["y"], {"thenSubgraphIndex": 1})], ["c", "x"], ["y"])
    for inputs, outputs in ((["x", "y"], ["y"]), (["x"], ["y", "y"]), (["y"], ["x"])):
        model = read_model(memoryview(write_model([main, Sub([x, y], [], inputs, outputs)])))
        fed = [np.asarray([True]), np.ones((1, *SHAPE), np.float32)]
        assert simulate(model.main, fed, Runtime.REFERENCE, model.subgraphs).missing


def test_what_a_body_lacks_is_named(tmp_path: Path) -> None:
    x, y = T("x", SHAPE, "float32"), T("y", SHAPE, "float32")
    main = Sub([T("c", (), "bool"), x, y], [Op("IF", ["c", "x"], ["y"], {"thenSubgraphIndex": 1})], ["c", "x"], ["y"])
    way = Sub([x, y], [Op("FancyNorm", ["x"], ["y"], custom=True)], ["x"], ["y"], "then")
    path = tmp_path / "control.tflite"
    path.write_bytes(write_model([main, way]))
    model = load_tflite(path)
    inputs = [np.asarray([True]), np.ones((1, *SHAPE), np.float32)]
    (missing,) = simulate(model.main, inputs, Runtime.REFERENCE, model.subgraphs).missing
    assert missing.why == "in its subgraph 'then', operator 0 CUSTOM:FancyNorm: no kernel"


def attention(path: Path, shape: tuple[int, ...], key: tuple[int, ...], numbers: dict[str, float], mask: bool) -> Path:
    """Attention as one word of its exporter; what stands as its decomposition is something else."""
    q, k, v, y = (T(name, size, "float32") for name, size in (("q", shape), ("k", key), ("v", key), ("y", shape)))
    m = [T("m", (1, 1, shape[1], key[1]), "float32")] if mask else []
    builder = Builder()
    with builder.Map():
        for name, number in numbers.items():
            builder.Key(name)
            builder.Float(number, 4)
    names = ["q", "k", "v", *(t.name for t in m)]
    how = {"name": b"odml.scaled_dot_product_attention", "decompositionSubgraphIndex": 1}
    how |= {"compositeAttributes": list(builder.Finish())}
    word = Op("STABLEHLO_COMPOSITE", names, ["y"], how, "StableHLOCompositeOptions")
    body = Sub([q, k, v, *m, y], [Op("ADD", ["q", "q"], ["y"], {"fusedActivationFunction": 0})], names, ["y"])
    path.write_bytes(write_model([Sub([q, k, v, *m, y], [word], names, ["y"]), body]))
    return path


@pytest.mark.golden
@pytest.mark.parametrize("runtime", [runtime for runtime in LITERT if runtime.family is not Runtime.REFERENCE])
@pytest.mark.parametrize("kind", [(4, 4, {}, False), (4, 1, {"scale": 0.3}, False), (4, 2, {"logit_cap": 2.0}, True)])
def test_attention_of_xnnpack(
    tmp_path: Path,
    note: Callable[..., None],
    elements: int,
    runtime: Runtime,
    kind: tuple[int, int, dict[str, float], bool],
) -> None:
    """On 43,520 elements each, or more on request; ``builtin`` goes by the decomposition."""
    heads, groups, numbers, mask = kind
    path = attention(tmp_path / "attention.tflite", (1, 17, heads, 20), (1, 33, groups, 20), numbers, mask)
    (v,) = load_and_verify(path, [runtime.value], samples=max(32, elements // 4000)).verdicts.values()
    assert (v.status, v.why) == ("exact", "")
    if runtime.family is Runtime.XNNPACK:
        note("STABLEHLO_COMPOSITE, attention", runtime, v.count, v.mismatches)


def test_numbers_that_the_delegate_reads_in_half_are_refused(tmp_path: Path) -> None:
    model = load_tflite(attention(tmp_path / "attention.tflite", (1, 2, 1, 2), (1, 2, 1, 2), {"scale": 0.3}, False))
    (word,) = model.main.operators
    damaged = replace(
        word, options={**word.options, "composite_attributes": np.frombuffer(Dumps({"scale": 0.3}), np.uint8)}
    )
    graph = replace(model.main, operators=(damaged,))
    inputs = [np.ones((1, 1, 2, 1, 2), np.float32)] * 3
    (missing,) = simulate(graph, inputs, Runtime.XNNPACK, model.subgraphs).missing
    assert "half the bytes" in missing.why
