"""What the data leave undecided, a probe decides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from small_device import write_network

from quantdiff.cli import main
from quantdiff.identifying import probe as probe_of

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("probe") / "network.tflite")


def identified(*arguments: str) -> dict[str, dict[str, object]]:
    result = CliRunner().invoke(main, ["identify", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    return {"": document, **{each["kind"]: each for each in document["kinds"]}}


def test_from_undecided_to_decided(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_of, "BATCHES", 6)
    probe, profile = tmp_path / "probe.npz", tmp_path / "tflm.toml"
    first = identified(
        str(network), "--runtime", "tflm", "--samples", "1", "--probe", str(probe), "--out", str(profile)
    )
    assert first["FULLY_CONNECTED int8"]["status"] == "undecided"
    assert "not told apart from" in profile.read_text()
    assert np.load(probe)["x"].shape[1:] == (6, 6, 12)
    told = {tuple(each["rules"]) for each in first[""]["probe"]["told"]}  # type: ignore[index]
    again = identified(str(network), "--runtime", "tflm", "--data", str(probe))
    left = [each[0] for each in again["FULLY_CONNECTED int8"]["rules"]]  # type: ignore[attr-defined]
    assert told
    assert len(left) < len(first["FULLY_CONNECTED int8"]["rules"])  # type: ignore[arg-type]
    assert not {pair for pair in told if {*pair} <= {*left}}


def test_a_dump_is_a_device(network: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump.npz"
    arguments = [
        "record",
        str(network),
        "--data",
        "random:6",
        "--runtime",
        "builtin",
        "--every-tensor",
        "--out",
        str(dump),
    ]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    document = identified(str(network), "--runtime", f"recorded:{dump}")
    assert any("builtin" in each for each in document["CONV_2D int8"]["rules"])  # type: ignore[attr-defined]
    assert (document[""]["samples"], document[""]["missing"]) == (6, [])


def test_nothing_is_written_where_it_cannot_be(network: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["identify", str(network), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "unexpected" not in result.stderr


def test_the_table_names_rules_and_counter_examples(network: Path) -> None:
    result = CliRunner().invoke(main, ["identify", str(network), "--runtime", "reference", "--samples", "8"])
    assert result.exit_code == 0
    assert "CONV_2D int8" in result.stdout
    assert "of the sum" in result.stdout
    assert "it makes" in result.stdout
