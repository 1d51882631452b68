"""A profile predicts the device that it was learned from, and says in one line what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import float_pairs
import numpy as np
import pytest
import small_models
from click.testing import CliRunner
from scalar_rules import DEVICES
from small_device import random_images, run_device, write_network
from written_models import Op, T, write_tflite

from quantdiff.cli import main
from quantdiff.graph import Model
from quantdiff.identifying import probe as probe_of
from quantdiff.identifying.identification import Identification, identify_tensors
from quantdiff.identifying.probe import probe_for
from quantdiff.load.tflite import load_tflite
from quantdiff.quant import Array
from quantdiff.report.json.runtimes import save_profile
from quantdiff.run.inner_tensors import read_everything
from quantdiff.run.inputs import inputs_of
from quantdiff.run.runner import started

RULES = {0: DEVICES["S"], 1: DEVICES["int32 floor"], 2: DEVICES["S"], 5: DEVICES["int16 half-up"]}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The network, and the profile of a device with rules of its own; one operator stands out."""
    folder = tmp_path_factory.mktemp("profile")
    network, profile = write_network(folder / "network.tflite"), folder / "npu.toml"
    model = load_tflite(network)
    first = identified(model, random_images(40, seed=0))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(probe_of, "BATCHES", 16)
        probe = probe_for(model, first, seed=0)
    again = identified(model, inputs_of(model, probe.batch)[0])
    save_profile(again, profile)
    return network, profile


def identified(model: Model, images: Array) -> Identification:
    assert model.path is not None
    groups, missing = identify_tensors(model.main, run_device(model.path, images, RULES))
    return Identification("npu", groups, missing, inputs=(images,))


def test_other_data_are_predicted_to_the_bit(learned: tuple[Path, Path]) -> None:
    network, profile = learned
    model, held = load_tflite(network), run_device(network, random_images(30, seed=1), RULES)
    with started(f"profile:{profile}") as runner:
        reading = read_everything(model, [held[i] for i in model.main.inputs], runner)
    assert reading.values.keys() == held.keys()
    assert all(np.array_equal(reading.values[i], held[i]) for i in held)


def test_it_is_a_runtime_of_diff(learned: tuple[Path, Path]) -> None:
    network, profile = learned
    arguments = ["diff", str(network), str(network), "--data", "random:20", "--json", "--runtime", f"profile:{profile}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (comparison,) = json.loads(result.stdout)["comparisons"]
    assert comparison["candidate"] == f"tflite:profile:{profile}"


@pytest.mark.golden
def test_a_float_file_beside_it_runs_where_floats_are_known(tmp_path: Path) -> None:
    """A profile says how a device rounds; of the float file that was converted for it, it knows nothing."""
    net, rules = float_pairs.dense(), tmp_path / "npu.toml"
    pair = float_pairs.float_model(net), float_pairs.int8_model(net, float_pairs.ranges(net))
    files = [small_models.save(tmp_path, each, name) for each, name in zip(pair, ("f.tflite", "q.tflite"), strict=True)]
    asked = ["identify", files[1], "--data", "random:64", "--runtime", "builtin", "--out", rules]
    assert CliRunner().invoke(main, list(map(str, asked))).exit_code == 0
    reduce, worst = ["reduce", "--check", "max_steps>0", "--out", tmp_path / "small"], ["worst", "--for", "1s"]
    for words in (["diff"], ["explain"], reduce, [*worst, "--out", tmp_path / "worst.npz"]):
        asked = [words[0], *files, "--data", "random:64", "--json", "--runtime", f"profile:{rules}", *words[1:]]
        result = CliRunner().invoke(main, list(map(str, asked)))
        assert result.exit_code in (0, 1), result.output
        document = json.loads(result.stdout)
        if words[0] in ("diff", "worst"):
            engines = document["comparisons"][0] if words[0] == "diff" else document
            assert engines["reference"] == "tflite:xnnpack"
            assert engines["candidate"] == f"tflite:profile:{rules}"


def test_what_only_moves_values_needs_no_rule(tmp_path: Path) -> None:
    """On one grid there is nothing to round; from one to another there is."""
    rules, data = tmp_path / "npu.toml", np.arange(-6, 6)
    rules.write_text('schema = "quantdiff-profile/1"\n')
    for scale, told in ((0.5, ""), (0.25, "has no rule for PACK int8")):
        tensors = [T("x", (1, 12), scale=0.5), T("k", (1, 12), scale=scale, data=data)]
        tensors += [T("y", (2, 1, 12), scale=0.5)]
        op = Op("PACK", ["x", "k"], ["y"], {"valuesCount": 2})
        file = small_models.save(tmp_path, write_tflite(tensors, [op], ["x"], ["y"]), "pack.tflite")
        words = ["diff", file, file, "--data", "random:4", "--runtime", f"profile:{rules}"]
        result = CliRunner().invoke(main, list(map(str, words)))
        assert (result.exit_code, told in result.stderr) == (2 if told else 0, True), result.output


BAD = {
    "": "no such file",
    "= 3": "no TOML",
    'schema = "quantdiff-profile/9"': "this version reads 'quantdiff-profile/1'",
    'schema = "quantdiff-profile/1"\nrules = 3': "rules is no table",
    'schema = "quantdiff-profile/1"\n[rules]\n"CONV_2D int8" = "by feeling"': "there is no rule 'by feeling'",
    'schema = "quantdiff-profile/1"\nexceptions = [1]': "exceptions is no list of tables",
    'schema = "quantdiff-profile/1"\n[[exceptions]]\noperator = "one"': "a whole number",
    'schema = "quantdiff-profile/1"\n[rules]\n"CONV_2D int8" = "S"': "has no rule for AVERAGE_POOL_2D int8",
    'schema = "quantdiff-profile/1"\n[rules]\n"CONV_2D int8" = ""': "obeys no known rule",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_profile_is_one_line(learned: tuple[Path, Path], tmp_path: Path, text: str) -> None:
    network, profile = learned[0], tmp_path / "bad.toml"
    if text:
        profile.write_text(text)
    arguments = ["diff", str(network), str(network), "--data", "random:2", "--runtime", f"profile:{profile}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert BAD[text].lower() in result.stderr.lower()
    assert result.stderr.count("\n") <= 2
    assert "unexpected" not in result.stderr


def test_verify_holds_a_dump_against_a_profile(learned: tuple[Path, Path], tmp_path: Path) -> None:
    network, profile = learned
    held, dump = run_device(network, random_images(5, seed=2), RULES), tmp_path / "dump.npz"
    arguments = ["verify", str(network), "--runtime", f"recorded:{dump}", "--runtime", f"profile:{profile}", "--json"]
    np.savez(dump, allow_pickle=False, **{str(i): array for i, array in held.items()})
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (verdict,) = json.loads(result.stdout)["runtimes"].values()
    assert verdict["status"] == "exact"
    held[min(i for i in held if i not in load_tflite(network).main.inputs)][2, 0, 1, 1, 4] ^= 1
    np.savez(dump, allow_pickle=False, **{str(i): array for i, array in held.items()})
    assert CliRunner().invoke(main, arguments).exit_code == 1


def test_a_profile_alone_has_nothing_to_be_held_against(learned: tuple[Path, Path]) -> None:
    network, profile = learned
    result = CliRunner().invoke(main, ["verify", str(network), "--runtime", f"profile:{profile}"])
    assert result.exit_code == 1
    assert "recorded:DUMP" in result.stdout
