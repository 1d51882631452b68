"""The account adds up to the bit, the graph of the file is the reference's, and what is planted leads."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import StringIO
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from float_pairs import NETS, Files, dense, ranges, write_pair
from planted_faults import kernel_changed, range_narrow

from quantdiff import api
from quantdiff.errors import NotComparable
from quantdiff.ladder import account, attribution, rungs
from quantdiff.ladder.attribution import ENOUGH, SAMPLES, WORK, Attribution
from quantdiff.ladder.explanation import INPUT, KERNEL, MECHANISMS, STEPS, WEIGHTS, Explanation, Frontier
from quantdiff.ladder.frontier import frontier, in_real_units
from quantdiff.ladder.pair_ladder import explain_pair
from quantdiff.ladder.rungs import activations_of
from quantdiff.ladder.runtime_ladder import explain_runtimes
from quantdiff.ladder.set_up import Question
from quantdiff.ladder.switches import switches
from quantdiff.load.tflite import load_tflite
from quantdiff.references.tflite.reference import trace_tflite
from quantdiff.report.text.explanation import print_explanation, warnings
from quantdiff.report.text.terminal import Terminal
from quantdiff.run.inner_tensors import read_tensors, readable_tensors
from quantdiff.run.runner import RuntimeProcess
from quantdiff.sim.runtime import Runtime

pytestmark = pytest.mark.golden

LEADS = 0.9


@contextmanager
def asked(files: Files, single: tuple[int, int] | None = None) -> Iterator[Question]:
    reference, candidate = load_tflite(files.reference), load_tflite(files.candidate)
    with RuntimeProcess("reference") as process:
        trace = partial(trace_tflite, reference, process=process)
        yield Question("tflite:reference", trace, reference, candidate, files.batch, 0.01, single=single)


def explained(files: Files, runtime: str = "reference", single: tuple[int, int] | None = None) -> Explanation:
    with asked(files, single) as question, RuntimeProcess(runtime) as process:
        return explain_pair(question, process)


def frontier_of(explanation: Explanation) -> Frontier:
    assert explanation.frontier is not None
    return explanation.frontier


def check_account(explanation: Explanation) -> None:
    """Both ends are the real ones, every sum is exact."""
    frontier = frontier_of(explanation)
    assert explanation.closed_reference
    assert explanation.closed_candidate
    assert frontier.closes < 1e-9
    assert explanation.unexplained == 0
    assert [rung.mechanism for rung in explanation.rungs] == list(MECHANISMS)
    assert sum(rung.resolved for rung in explanation.rungs) == explanation.differing
    assert explanation.rungs[-1].differing_after == 0
    assert sum(frontier.shares.values()) == pytest.approx(1, abs=1e-9)
    assert sum(item.share for item in frontier.items) == pytest.approx(1, abs=1e-9)
    if frontier.shapley:  # all orders end at the runtime
        assert sum(frontier.shapley.values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "runtime", ["xnnpack", *(pytest.param(n, marks=pytest.mark.thorough) for n in ("reference", "builtin"))]
)
@pytest.mark.parametrize("net", NETS)
def test_every_output_adds_up_and_the_graph_is_the_reference_s(tmp_path: Path, net: str, runtime: str) -> None:
    explanation = explained(write_pair(tmp_path, NETS[net]()), runtime)
    check_account(explanation)
    assert explanation.differing
    assert explanation.rewritten is not None
    assert explanation.rewritten.max_steps < 1e-3
    assert explanation.rewritten.flips == 0
    assert not explanation.departs
    assert all(match.how == "position" and match.steps is not None for match in explanation.matching)
    assert max(match.steps or 0 for match in explanation.matching) < 0.51
    assert {STEPS, WEIGHTS} & set(frontier_of(explanation).shares)
    if net != "convolutional":  # whose mean cuts off, which other rounding may undo
        shares, mean = frontier_of(explanation).shares, frontier_of(explanation).shapley
        assert mean.get(KERNEL, 0.0) == pytest.approx(shares.get(KERNEL, 0.0), abs=0.05), (
            "the input's grid is no kernel's"
        )


def test_a_runtime_that_is_not_installed_is_simulated(tmp_path: Path) -> None:
    with asked(write_pair(tmp_path, dense())) as question:
        explanation = explain_pair(question, Runtime.TFLM)
    assert explanation.candidate == "simulator:tflm"
    assert not explanation.closed_candidate
    assert explanation.closed_reference
    assert explanation.rungs[-1].differing_after == 0


def test_a_state_by_hand(tmp_path: Path) -> None:
    """Behind both dense layers of the residual network: their sum of the runtime's tensors, the rest real."""
    net = NETS["residual"]()
    files = write_pair(tmp_path, net)
    model, lowering = load_tflite(files.candidate), load_tflite(files.reference)
    with RuntimeProcess("reference") as process:
        (reading,) = read_tensors(model, readable_tensors(model.main, Runtime.REFERENCE), files.batch, process)
    found = switches(model, lowering)
    names = {t.name: t.index for t in model.main.tensors}
    stored = {names["x"]: reading.inputs[0], **reading.values}
    recorded = in_real_units(found, stored, len(files.batch))
    inputs = [files.batch.arrays["x"].astype(np.float64)[:, None]]
    states = frontier(found, inputs, recorded, (1.0,))
    behind = [k for k, each in enumerate(states.stages) if not isinstance(each, int) and each.outputs[0] == names["h2"]]
    added = np.maximum(recorded[names["h1"]] + recorded[names["h2"]], 0)[:, 0]
    last = net.node("y")
    assert last.kernel is not None
    want = added @ last.kernel.astype(np.float64).T + last.bias
    np.testing.assert_allclose(states.at(behind[0] + 1), want, atol=1e-12)


def test_parts_of_the_data_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_pair(tmp_path, dense())
    whole = explained(files)
    monkeypatch.setattr(account, "ELEMENTS_AT_ONCE", 200)
    parts = explained(files)
    assert parts.rungs == whole.rungs
    assert parts.layers == whole.layers
    assert parts.differences == whole.differences
    assert frontier_of(parts).samples == frontier_of(whole).samples
    for mechanism, share in frontier_of(whole).shares.items():
        assert frontier_of(parts).shares[mechanism] == pytest.approx(share, abs=1e-9)


@pytest.mark.thorough
def test_what_is_held_does_not_grow_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what Python and NumPy ask for: at most the samples themselves, where they are not left on disk."""
    monkeypatch.setattr(account, "LARGEST_PART", 256)
    monkeypatch.setattr(account, "LISTED", 10)
    monkeypatch.setattr(rungs, "THREADS", 1)  # else the peak hangs on who runs beside whom
    files, peaks = write_pair(tmp_path, dense()), list[int]()
    for count in (768, 64, 512, 2560):  # the first imports what is needed
        np.save(data := tmp_path / f"{count}.npy", np.resize(files.batch.arrays["x"], (count, 12)))
        tracemalloc.start()
        api.explain(files.reference, files.candidate, data)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[3] - peaks[2] < (2560 - 512) * 12 * 4, peaks
    # Less data than a part hold less, by these samples at least: else this measures nothing.
    assert peaks[2] - peaks[1] > (256 - 64) * 12 * 4, peaks


def test_strangers_are_refused_in_one_line(tmp_path: Path) -> None:
    net, other = dense(), dense(seed=9)
    files = write_pair(tmp_path, net, ranges(other), other)
    with pytest.raises(NotComparable, match="not the same model: 0 of the 3 kernels"):
        explained(files)


def test_two_runtimes_of_one_file_are_taken_apart_too(tmp_path: Path) -> None:
    files = write_pair(tmp_path, dense(samples=400))
    with RuntimeProcess("reference") as first, RuntimeProcess("builtin") as second:
        explanation = explain_runtimes(load_tflite(files.candidate), files.batch, (first, second), 0.01)
    frontier = frontier_of(explanation)
    assert frontier.closes == 0
    assert sum(frontier.shares.values()) == pytest.approx(1, abs=1e-9)
    assert set(frontier.shares) == {"rounding"}
    assert explanation.leading == "rounding"


def test_features_that_one_grid_rounds_away_are_named(tmp_path: Path) -> None:
    net = dense()
    large = np.ones(12, np.float32)
    large[3] = 20_000
    first = net.node("h1")
    assert first.kernel is not None
    trained = net.changed("h1", kernel=first.kernel / large)
    explanation = explained(write_pair(tmp_path, replace(trained, data={"x": net.data["x"] * large})))
    check_account(explanation)
    frontier = frontier_of(explanation)
    assert explanation.leading == INPUT
    assert frontier.shares[INPUT] >= LEADS
    assert frontier.items[0].lost == (0, 1, 2, *range(4, 12))


def test_the_list_of_one_output_adds_up_to_its_difference(tmp_path: Path) -> None:
    files = write_pair(tmp_path, dense())
    explanation = explained(files, single=(70, 3))
    with RuntimeProcess("reference") as process:
        ours, theirs = (
            trace_tflite(load_tflite(path), files.batch, process).outputs[0]
            for path in (files.reference, files.candidate)
        )
    assert theirs.quant is not None
    difference = (theirs.real[70, 3].astype(np.float64) - ours.real[70, 3]) / np.float32(theirs.quant.scale[0])
    assert sum(each.steps for each in explanation.signed) == pytest.approx(float(difference), abs=1e-5)
    assert len({each.mechanism for each in explanation.signed}) > 3


@pytest.mark.parametrize("seed", range(10))
def test_the_networks_order_is_near_the_mean_over_all_orders(tmp_path: Path, seed: int) -> None:
    explanation = explained(write_pair(tmp_path, dense(seed)))
    frontier = frontier_of(explanation)
    assert sum(frontier.shapley.values()) == pytest.approx(1, abs=1e-6)
    assert frontier.order_distance is not None
    assert frontier.order_distance < 0.1
    assert f"within {frontier.order_distance:.3f} of the mean over all orders" in text_of(explanation)
    assert not any("the order matters" in line for line in warnings(explanation))


def test_an_order_that_matters_is_told(tmp_path: Path) -> None:
    """Clipping takes off what wrong weights have added: whoever comes second mends or spoils what the first did."""
    net = dense()
    changed, narrow = kernel_changed(net), range_narrow(net)
    held = {**changed.held, "h1": narrow.held["h1"]}
    explanation = explained(write_pair(tmp_path, net, held, changed.stored))
    distance = frontier_of(explanation).order_distance
    assert distance is not None
    assert distance > 0.1
    assert any(line.startswith("the order matters: in the mean over all orders") for line in warnings(explanation))


def test_the_mean_over_all_orders_by_hand() -> None:
    """Three mechanisms, six orders, a power for every set."""
    names, dice = ("a", "b", "c"), np.random.default_rng(4)
    power = {frozenset(some): float(dice.uniform()) for n in range(4) for some in combinations(names, n)}
    for name in names:
        gains = []
        for order in permutations(names):
            before = frozenset(order[: order.index(name)])
            gains.append(power[before | {name}] - power[before])
        found = attribution.Orders(names, power, {some: len(some) for some in power}, {})
        assert found.mean_gain(name) == pytest.approx(np.mean(gains), abs=1e-12)


def test_what_comes_right_in_any_order_by_hand() -> None:
    """One of two suffices, so whoever comes second finds nothing left to do."""
    names = (WEIGHTS, STEPS)
    right = {frozenset(some): 5 * bool(some) for n in range(3) for some in combinations(names, n)}
    found = attribution.Orders(names, dict.fromkeys(right, 0.0), right, {WEIGHTS: 3})
    assert [found.come_right(name) for name in names] == [(0, 5), (0, 5)]
    sets = {frozenset[str](): 0, frozenset({STEPS}): 2}
    both = attribution.joined([found, attribution.Orders((STEPS,), sets, sets, {STEPS: 1})])
    assert [found.without(name) for name in names] == [0, 0]
    assert [both.without(name) for name in names] == [0, 2]
    assert dict(both.alone) == {WEIGHTS: 3, STEPS: 1}
    assert [both.come_right(name) for name in names] == [(0, 5), (2, 7)]


def test_the_ladders_counts_lie_between_those_of_all_orders(tmp_path: Path) -> None:
    """With 64 samples or fewer both count the same outputs."""
    explanation = explained(write_pair(tmp_path, dense(samples=64)))
    between = frontier_of(explanation).come_right
    assert all(count >= 0 for count in frontier_of(explanation).without.values())  # with all, it is the runtime
    assert frontier_of(explanation).alone[WEIGHTS] > 0
    rungs = {rung.mechanism: rung for rung in explanation.rungs}
    before = dict(zip(MECHANISMS[1:], explanation.rungs, strict=False))
    exchanged = [m for m in (INPUT, WEIGHTS, STEPS) if m in between]
    assert exchanged
    for mechanism in exchanged:
        fewest, most = between[mechanism]
        assert fewest <= before[mechanism].differing_after - rungs[mechanism].differing_after <= most
    assert "in any order" in text_of(explanation)
    assert "in any order (" not in text_of(explanation)
    more = explained(write_pair(tmp_path, dense(samples=400)))
    assert frontier_of(more).samples < more.samples
    assert f"in any order ({frontier_of(more).samples} samples)" in text_of(more)  # beside counts of all of them


def test_where_outputs_seldom_differ_more_samples_are_looked_at(tmp_path: Path) -> None:
    files = write_pair(tmp_path, dense())
    pair = switches(load_tflite(files.candidate), load_tflite(files.reference))
    found = Attribution(pair, (1.0,))
    assert found.wanted(np.full(1000, 10)) == SAMPLES
    assert found.wanted(np.zeros(40, int)) == 40
    seldom = (np.arange(100_000) % 4 == 0).astype(int)
    assert found.wanted(seldom) == 4 * (ENOUGH - 1) + 1
    found.samples, found.differing = SAMPLES, ENOUGH
    assert found.wanted(seldom) == 0
    found.differing = 0
    most = WORK // (activations_of(pair.file.graph) * len(pair.file.graph.operators))
    assert found.wanted(np.zeros(most, int)) == most - SAMPLES


def text_of(explanation: Explanation) -> str:
    console = Terminal(width=200, file=StringIO())
    with console.capture() as captured:
        print_explanation(explanation, console)
    return captured.get()
