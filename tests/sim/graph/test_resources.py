"""Streaming models: the state lives on from sample to sample, on every runtime and in the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from golden import Dice
from written_models import Op, Sub, T, write_model

from quantdiff.cli import main
from quantdiff.compare.verification import load_and_verify
from quantdiff.load.tflite import read_model
from quantdiff.run.runtimes import RUNTIMES
from quantdiff.sim.graph.chains import compare_rounding, simulate_each
from quantdiff.sim.graph.simulator import simulate
from quantdiff.sim.runtime import Runtime

FRAMES, CHANNELS = 3, 40
STATE = (1, FRAMES, 20, CHANNELS)


def handle(name: str, variable: str = "state") -> tuple[T, Op]:
    options = {"container": b"", "sharedName": variable.encode()}
    return T(name, (), "resource"), Op("VAR_HANDLE", [], [name], options, "VarHandleOptions")


def assign(name: str, value: str) -> Op:
    return Op("ASSIGN_VARIABLE", [name, value], [], {}, "AssignVariableOptions")


def read(name: str, value: str) -> Op:
    return Op("READ_VARIABLE", [name], [value], {}, "ReadVariableOptions")


def sliding(dice: Dice, first: bool = True, dtype: str = "int8") -> bytes:
    """The last frames and a new one, smoothed; the frames move on. CALL_ONCE fills them when ``first``."""
    frame, window = (1, 1, *STATE[2:]), (1, FRAMES + 1, *STATE[2:])
    quant = (dice.scale(), dice.zero_point(dtype) if dtype == "int8" else 0)
    tensor, operator = handle("h")
    tensors = [
        tensor,
        T("x", frame, dtype, *quant),
        T("old", STATE, dtype, *quant),
        T("all", window, dtype, *quant),
        T("b", (4,), "int32", data=[0, 1, 0, 0]),
        T("n", (4,), "int32", data=STATE),
        T("new", STATE, dtype, *quant),
        T("y", (1, *STATE[2:]), dtype, dice.near(quant[0]), quant[1]),
        T("axis", (1,), "int32", data=[1]),
    ]
    operators = [
        operator,
        *([Op("CALL_ONCE", [], [], {"initSubgraphIndex": 1}, "CallOnceOptions")] if first else []),
        read("h", "old"),
        Op("CONCATENATION", ["old", "x"], ["all"], {"axis": 1}),
        Op("SLICE", ["all", "b", "n"], ["new"], {}, "SliceOptions"),
        assign("h", "new"),
        Op("MEAN", ["all", "axis"], ["y"], {}, "ReducerOptions"),
    ]
    other, again = handle("h2")
    start = T("start", STATE, dtype, *quant, data=dice.integers(STATE, dtype))
    return write_model(
        [
            Sub(tensors, operators, ["x"], ["y"]),
            Sub([other, start], [again, assign("h2", "start")], [], [], "init"),
        ]
    )


def verified(path: Path, model: bytes, runtimes: Sequence[str], samples: int = 20) -> dict[str, str]:
    path.write_bytes(model)
    verdicts = load_and_verify(path, runtimes, samples=samples).verdicts
    for verdict in verdicts.values():
        if verdict.status == "exact":
            assert verdict.chain_count == samples * STATE[2] * CHANNELS
    return {name: verdict.status for name, verdict in verdicts.items()}


@pytest.mark.golden
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_frames_go_on_from_sample_to_sample(tmp_path: Path, dtype: str) -> None:
    model = sliding(Dice(), dtype=dtype)
    assert verified(tmp_path / "m.tflite", model, ["all"]) == dict.fromkeys(RUNTIMES, "exact")


@pytest.mark.golden
def test_only_tflm_starts_without_a_value(tmp_path: Path) -> None:
    """XNNPACK reads memory that nobody wrote, so its verdict may be anything but exact."""
    statuses = verified(tmp_path / "m.tflite", sliding(Dice(), first=False), ["all"])
    assert statuses.pop("xnnpack") != "exact"
    assert statuses == {"builtin": "unavailable", "reference": "unavailable", "tflm": "exact"}


def test_parts_do_not_add_up_where_a_sample_depends_on_those_before(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(sliding(Dice()))
    words = ["verify", str(tmp_path / "m.tflite"), "--samples", "8", "--jobs", "2", "--runtime", "reference"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "depends on those before it, so parts do not add up; give one data file" in result.stderr


def test_a_variable_without_a_value_is_refused() -> None:
    model = read_model(memoryview(sliding(Dice(), first=False)))
    simulation = simulate(model.main, [np.zeros((2, 1, 1, *STATE[2:]), np.int8)], Runtime.BUILTIN, model.subgraphs)
    assert "nothing was assigned" in simulation.missing[0].why
    assert len(simulation.skipped) == 4


@pytest.mark.parametrize("first", [True, False])
def test_several_runtimes_each_keep_their_own_state(first: bool) -> None:
    dice = Dice()
    model = read_model(memoryview(sliding(dice, first)))
    inputs, runtimes = [dice.integers((7, 1, 1, *STATE[2:]))], tuple(Runtime)
    together = simulate_each(model.main, inputs, runtimes, model.subgraphs)
    for runtime in runtimes:
        alone = simulate(model.main, inputs, runtime, model.subgraphs)
        assert (together[runtime].missing, together[runtime].skipped) == (alone.missing, alone.skipped)
        assert together[runtime].values.keys() == alone.values.keys()
        for index, value in alone.values.items():
            np.testing.assert_array_equal(together[runtime].values[index], value)
    results, simulation = compare_rounding(model.main, inputs, runtimes, model.subgraphs)
    alone = simulate(model.main, inputs, runtimes[0], model.subgraphs)
    assert [result.op for result in results] == (["CONCATENATION", "SLICE", "MEAN"] if first else [])
    assert ([m.op for m in simulation.missing], simulation.skipped) == ([m.op for m in alone.missing], alone.skipped)
    for index, value in alone.values.items():
        np.testing.assert_array_equal(simulation.values[index], value)
