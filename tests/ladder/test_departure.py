"""Where two graphs part it is said which operators stand there, on both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from float_pairs import RELU6, Net, Node, convolutional, dense, float_model, residual

from quantdiff.ladder.departure import departure
from quantdiff.ladder.switches import switches
from quantdiff.load.data import Batch
from quantdiff.load.tflite import read_model


def parts(trained: Net, stored: Net) -> str:
    reference, file = (read_model(memoryview(float_model(net))) for net in (trained, stored))
    return departure(switches(file, reference), Batch(dict(trained.data)))


def with_end(net: Net, op: str) -> Net:
    return replace(net, nodes=[*net.nodes, Node(op, [net.nodes[-1].output], "end", net.nodes[-1].shape)])


def largest(net: Net) -> Net:
    """The largest value in place of the mean."""
    return replace(net, nodes=[replace(n, op="REDUCE_MAX", options={}) if n.op == "MEAN" else n for n in net.nodes])


def without_sum(net: Net) -> Net:
    """What goes around is left out."""
    nodes = [replace(n, inputs=["h2"]) if n.inputs == ["s"] else n for n in net.nodes if n.output != "s"]
    return replace(net, nodes=[replace(n, shared="") for n in nodes])


def other_clamp(net: Net) -> Net:
    return net.changed("h1", options={**net.node("h1").options, "fusedActivationFunction": RELU6})


@pytest.mark.parametrize(
    ("trained", "stored", "words"),
    [
        (
            convolutional(),
            largest(convolutional()),
            "the reference has MEAN 2 (m), the file REDUCE_MAX 2 (m) before it",
        ),
        (residual(), without_sum(residual()), "the reference has ADD 2 (s), the file nothing before it"),
        (with_end(dense(), "SOFTMAX"), dense(), "at the end the reference has SOFTMAX 3 (end), the file nothing"),
        (
            with_end(dense(), "SOFTMAX"),
            with_end(dense(), "LOGISTIC"),
            "at the end the reference has SOFTMAX 3 (end), the file LOGISTIC 3 (end)",
        ),
        (
            replace(dense(), data={"x": 9 * dense().data["x"]}),
            other_clamp(dense()),
            "with RELU in the reference, RELU6 in the file",
        ),
        (dense(), dense(), ""),
    ],
)
def test_the_operators_of_both_are_named(trained: Net, stored: Net, words: str) -> None:
    found = parts(trained, stored)
    assert found.endswith(words), found
    assert bool(found) == bool(words)
