"""What hangs on no data: a reference computes it, a converter may have folded it into a constant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written_models import Op, T, write_tflite
from written_pairs import explained, saved

from quantdiff import api
from quantdiff.ladder.explanation import WEIGHTS
from quantdiff.load.data import Batch

pytestmark = pytest.mark.golden

DICE = np.random.default_rng(8)
KERNEL, STATE = (DICE.normal(size=(4, 6)).astype(np.float32) / 3 for _ in range(2))
BIAS = np.array([0.8, -0.53, 0.31, 0.127], np.float32)
X = DICE.uniform(-1, 1, (40, 6)).astype(np.float32)


def first_step_of_a_cell() -> bytes:
    """``x k + (0 u + b)``, the zeros of a state that is filled as it runs."""
    tensors = [
        T("x", (1, 6), "float32"),
        T("s", (2,), "int32"),
        T("v", (), "float32", data=0),
        T("zeros", (1, 6), "float32"),
        T("k", (4, 6), "float32", data=KERNEL),
        T("u", (4, 6), "float32", data=STATE),
        T("b", (4,), "float32", data=BIAS),
        T("a", (1, 4), "float32"),
        T("c", (1, 4), "float32"),
        T("y", (1, 4), "float32"),
    ]
    operators = [
        Op("SHAPE", ["x"], ["s"], {"outType": 2}),
        Op("FILL", ["s", "v"], ["zeros"], version=2),
        Op("FULLY_CONNECTED", ["x", "k"], ["a"], {}),
        Op("FULLY_CONNECTED", ["zeros", "u", "b"], ["c"], {}),
        Op("ADD", ["a", "c"], ["y"], {}, "AddOptions"),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def folded_in_integers() -> bytes:
    """The same with ``b`` as a constant of int8, on steps of a tenth."""
    scale = float(np.abs(KERNEL).max() / 127)
    tensors = [
        T("x", (1, 6), "int8", 1 / 127),
        T("k", (4, 6), "int8", scale, data=np.rint(KERNEL / scale)),
        T("a", (1, 4), "int8", 3 / 127),
        T("c", (1, 4), "int8", 0.1, data=np.rint(BIAS[None] / 0.1)),
        T("y", (1, 4), "int8", 4 / 127),
    ]
    operators = [
        Op("FULLY_CONNECTED", ["x", "k"], ["a"], {}, version=4),
        Op("ADD", ["a", "c"], ["y"], {}, "AddOptions", version=2),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def test_what_a_converter_folded_is_a_constant_of_the_reference(tmp_path: Path) -> None:
    told = explained(saved(tmp_path, first_step_of_a_cell(), folded_in_integers()), X)
    assert told.rewritten is not None
    assert told.rewritten.max_steps < 1e-3
    assert not told.departs
    (match,) = [each for each in told.matching if each.tensor == "c"]
    assert (match.reference, match.how) == ("c", "position")
    assert told.frontier is not None
    first = told.frontier.items[0]
    assert (first.op, first.mechanism) == ("ADD", WEIGHTS)
    assert told.closed_reference
    assert told.closed_candidate


def filled() -> bytes:
    """The input times what FILL makes of constants: four values, of which the file says that it is one."""
    tensors = [
        T("x", (1, 4), "int8", 1 / 127),
        T("dims", (1,), "int32", data=np.array([4])),
        T("one", (), "int8", 1 / 100, data=np.array(50)),
        T("halves", (1,), "int8", 1 / 100),
        T("y", (1, 4), "int8", 1 / 200),
    ]
    operators = [
        Op("FILL", ["dims", "one"], ["halves"], {}, "FillOptions", version=3),
        Op("MUL", ["x", "halves"], ["y"], {}, "MulOptions", version=2),
    ]
    return write_tflite(tensors, operators, ["x"], ["y"])


def halved() -> bytes:
    tensors = [
        T("x", (1, 4), "float32"),
        T("halves", (4,), "float32", data=np.full(4, 0.5)),
        T("y", (1, 4), "float32"),
    ]
    return write_tflite(tensors, [Op("MUL", ["x", "halves"], ["y"], {}, "MulOptions")], ["x"], ["y"])


def test_what_is_made_of_constants_is_written_in_its_own_shape(tmp_path: Path) -> None:
    files = saved(tmp_path, halved(), filled())
    found = api.advise(*files, Batch({"x": X[:, :4]}), settings=api.Settings(runtimes=("reference",)))
    assert found.considered == len(found.alone) > 0
    assert max(each.then.figures.sqnr_db for each in found.alone) > found.now.figures.sqnr_db + 3
