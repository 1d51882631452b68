"""Every operator of every model of the suite with its inputs and outputs left out, one at a time: never a crash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fuzz.fuzzing import models

from quantdiff.graph import Model, Operator
from quantdiff.linting.lint import lint_model
from quantdiff.load.tflite import read_model
from quantdiff.parameters.inspection import inspect_model


def with_lost_wires(operator: Operator) -> Iterator[Operator]:
    """One input left out, all from there on gone, one output left out, no output."""
    for k in range(len(operator.inputs)):
        yield replace(operator, inputs=(*operator.inputs[:k], -1, *operator.inputs[k + 1 :]))
        yield replace(operator, inputs=operator.inputs[:k])
    for k in range(len(operator.outputs)):
        yield replace(operator, outputs=(*operator.outputs[:k], -1, *operator.outputs[k + 1 :]))
        yield replace(operator, outputs=operator.outputs[:k])


def damaged(model: Model) -> Iterator[Model]:
    """The model with one operator of its main subgraph changed."""
    for k, operator in enumerate(model.main.operators):
        for other in with_lost_wires(operator):
            operators = (*model.main.operators[:k], other, *model.main.operators[k + 1 :])
            yield replace(model, subgraphs=(replace(model.main, operators=operators), *model.subgraphs[1:]))


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(4))
def test_lint_and_inspect(part: int) -> None:
    for data in models()[part::4]:
        for model in damaged(read_model(memoryview(data))):
            lint_model(model)
            inspect_model(model)
