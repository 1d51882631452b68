"""A dump in every form is taken as a runtime; what is no dump of this model is refused in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from recorded_device import SAMPLES, Device, recorded_device
from small_models import float_dense, save
from written_models import Op, T, write_tflite

from quantdiff.cli import main
from quantdiff.load.npz import MANIFEST

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    return recorded_device(tmp_path_factory.mktemp("device"))


def verified(device: Device, dump: Path | str, *options: str) -> Result:
    return CliRunner().invoke(main, ["verify", str(device.model), "--runtime", f"recorded:{dump}", *options])


def in_numbers(device: Device) -> dict[str, list[str]]:
    """Each tensor of each sample as a C program prints it."""
    rows = dict[str, list[str]]()
    for name in ("image", "net/conv2:0", "logits"):
        for sample in device.arrays[name]:
            rows.setdefault(name, []).append(", ".join(map(str, sample.reshape(-1))))
    return rows


def as_text(device: Device, path: Path) -> Path:
    """With lines of the device besides, one tensor wrapped as C arrays are, and one with a number a line."""
    lines = ["I (345) main: started", "Invoke took 12 ms"]
    for name, rows in in_numbers(device).items():
        for row in rows:
            half = row.split(", ")
            if name == "logits":
                lines += [
                    f"const int8_t {name}[10] = {{",
                    f"  {', '.join(half[:5])},",
                    f"  {', '.join(half[5:])}",
                    "};",
                ]
            elif name == "image":
                lines += ["net ready:", f"{name}:", *half, "done"]
            else:
                lines.append(f"{name}: {row}")
    path.write_text("\n".join([*lines, ""]))
    return path


def as_npys(device: Device, path: Path) -> Path:
    """Named as files can be: net_conv2_0 for net/conv2:0."""
    path.mkdir()
    for name, stem in (("image", "input"), ("net/conv2:0", "net_conv2_0"), ("logits", "output_0")):
        np.save(path / f"{stem}.npy", device.arrays[name])
    return path


def as_raw(device: Device, path: Path) -> Path:
    path.mkdir()
    rows = ["tensor,dtype,file"]
    for tensor, name in (("0", "image"), ("net/conv2:0", "net/conv2:0"), ("t13", "logits")):
        file = f"{name.replace('/', '-').replace(':', '-')}.bin"
        (path / file).write_bytes(device.arrays[name].tobytes())
        rows.append(f"{tensor}, int8, {file}")
    (path / "tensors.csv").write_text("\n".join(rows))
    return path


def as_npz(device: Device, path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), allow_pickle=False, **device.arrays)
    return path.with_suffix(".npz")


def as_lost_digits(device: Device, path: Path) -> Path:
    """Real values of half precision, the other endianness, and names as people write them."""
    scales = {"image": (2**-6, 1), "net/conv2:0": (2**-6, 4), "logits": (2**-5, 3)}
    real = {name: (device.arrays[name].astype(np.float32) - z) * s for name, (s, z) in scales.items()}
    held = {"Image": real["image"].astype(np.float16), "g_net_conv2_data": real["net/conv2:0"].astype(">f4")}
    held["net-conv2"] = held.pop("g_net_conv2_data").astype("<f4").byteswap()
    np.savez(path.with_suffix(".npz"), allow_pickle=False, **held, output=np.moveaxis(real["logits"], 0, -1))
    return path.with_suffix(".npz")


def as_samples(device: Device, path: Path) -> Path:
    """A file for each sample."""
    path.mkdir()
    for name, stem in (("image", "input"), ("net/conv2:0", "t6"), ("logits", "output")):
        for k, sample in enumerate(device.arrays[name]):
            np.save(path / f"{stem}_{k}.npy", sample)
    return path


def as_log(device: Device, path: Path) -> Path:
    """With figures of other things between."""
    rows = in_numbers(device)
    lines = []
    for k in range(SAMPLES):
        lines += [f"I ({k}) main: heap: {40_000 - k}", *(f"I ({k}) tflm: {name}: {rows[name][k]}" for name in rows)]
    path.write_text("\n".join(lines))
    return path


FORMS: list[Callable[[Device, Path], Path]] = [as_text, as_npys, as_raw, as_npz, as_lost_digits, as_samples, as_log]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken(device: Device, tmp_path: Path, form: Callable[[Device, Path], Path]) -> None:
    result = verified(device, form(device, tmp_path / "dump"), "--json")
    assert result.exit_code == 0, result.output
    (verdict,) = json.loads(result.stdout)["runtimes"].values()
    assert verdict["status"] == "exact"
    assert verdict["device"]["first"] is None
    found = [(each["tensor"], each["nearest"]) for each in verdict["device"]["tensors"]]
    assert (13, "reference") in found
    assert verdict["chain"] == {"count": SAMPLES * 10, "mismatches": 0}


def test_what_was_recorded_is_exact_by_the_rules_that_it_names(device: Device) -> None:
    result = verified(device, device.dump)
    assert result.exit_code == 0, result.output
    assert "all 5 tensors are what the device's own inputs give" in result.stdout
    said = json.loads(np.load(device.dump)[MANIFEST].tobytes())
    assert (said["runtime"], said["samples"], len(said["sha256"])) == ("reference", SAMPLES, 64)
    assert {each["name"] for each in said["tensors"]} == {*device.arrays}


def cut(device: Device, path: Path) -> Path:
    path.write_bytes(device.dump.read_bytes()[:-700])
    return path


def with_array(name: str, shape: tuple[int, ...]) -> Callable[[Device, Path], Path]:
    def written(device: Device, path: Path) -> Path:
        del device
        np.savez(path, allow_pickle=False, **{name: np.zeros(shape, np.int8)})
        return path

    return written


def of_text(text: str) -> Callable[[Device, Path], Path]:
    def written(device: Device, path: Path) -> Path:
        del device
        path = path.with_suffix(".txt")
        path.write_text(text)
        return path

    return written


def with_a_damaged_manifest(device: Device, path: Path) -> Path:
    held = dict(np.load(device.dump))
    np.savez(path, allow_pickle=False, **{**held, MANIFEST: held[MANIFEST][:-9]})
    return path


def with_manifest(**changed: Any) -> Callable[[Device, Path], Path]:
    def written(device: Device, path: Path) -> Path:
        held = dict(np.load(device.dump))
        said = json.loads(held[MANIFEST].tobytes())
        held[MANIFEST] = np.frombuffer(json.dumps({**said, **changed}).encode(), np.uint8)
        np.savez(path, allow_pickle=False, **held)
        return path

    return written


def with_other_weights(device: Device, path: Path) -> Path:
    np.savez(path, allow_pickle=False, **device.arrays, w2=np.zeros((8, 3, 3, 8), np.int8))
    return path


def with_no_numbers(device: Device, path: Path) -> Path:
    np.savez(path, allow_pickle=False, logits=np.full(device.arrays["logits"].shape, np.inf))
    return path


def of_a_folder(table: str, content: bytes = b"") -> Callable[[Device, Path], Path]:
    def written(device: Device, path: Path) -> Path:
        del device
        folder = path.with_suffix("")
        folder.mkdir()
        (folder / "t.csv").write_text(table)
        (folder / "a.bin").write_bytes(content)
        return folder

    return written


def two_in_one(device: Device, path: Path) -> Path:
    np.savez(path, allow_pickle=False, logits=device.arrays["logits"], w2=device.arrays["logits"])
    return path.rename(path.with_suffix(".npy"))


REFUSED: dict[str, tuple[Callable[[Device, Path], Path], str]] = {
    "cut off": (cut, "not a readable .npz"),
    "no file": (lambda device, path: path, "no such dump"),
    "an unknown name": (with_array("net/conv9:0", (6, 10)), "has no tensor 'net/conv9:0'; did you mean 'net/conv"),
    "a size": (with_array("logits", (6, 7)), "42 numbers are no whole number of samples of shape [1, 10]"),
    "a shape": (with_array("net/conv1:0", (6, 9, 32)), "shape [6, 9, 32], the tensor has [1, 6, 6, 8]"),
    "another model": (
        with_manifest(sha256="0" * 64),
        "recorded from another file (model.tflite, sha256 000000000000…)",
    ),
    "another version": (with_manifest(schema="quantdiff/9"), "is of another version than quantdiff/1"),
    "other samples": (with_manifest(samples=99), "holds 6 samples, its own list says 99"),
    "no such tensor": (
        with_manifest(tensors=[{"index": 99, "name": "a", "array": "t0"}]),
        "says that 't0' is tensor 99, which is none",
    ),
    "a damaged manifest": (with_a_damaged_manifest, "quantdiff.json is damaged"),
    "other weights": (with_other_weights, "not the constant 'w2' of this file; the dump is of another model"),
    "nothing in text": (of_text("Booting\nready\n"), "holds no tensors"),
    "letters": (of_text("logits: 1, 2, x3\n"), "line 1: '1, 2, x3' are not numbers"),
    "text that ends early": (of_text("logits: 1, 2, 3\nlogits: 1,\n"), "with 1 and 3 numbers; is it cut off?"),
    "numbers beyond": (of_text("logits: " + "999 " * 10 + "\n"), "holds 999 to 999, a tensor of int8 cannot"),
    "no numbers": (with_no_numbers, "holds NaN or infinity, the tensor int8"),
    "digits without end": (of_text("logits: " + "9" * 200_000 + "x\n"), "holds no tensors"),
    "spaces without end": (of_text("logits" + " " * 200_000 + "x\n"), "holds no tensors"),
    "minus infinity": (of_text("logits: " + "-inf " * 10 + "\n"), "holds NaN or infinity, the tensor int8"),
    "fractions and hex": (of_text("logits: " + "0x1f 0.3 " * 5 + "\n"), "holds fractions that are no steps"),
    "two in an .npy": (two_in_one, "holds 2 arrays, a .npy has one; call it .npz"),
    "a cell without end": (of_a_folder("logits,int8," + "a" * 200_000), "not a CSV file that can be read"),
    "a type": (of_a_folder("logits,int7,a.bin"), "no type 'int7'"),
    "cells": (of_a_folder("logits,int8"), "2 cells; give three: tensor, dtype, file"),
    "a way out": (of_a_folder("logits,int8,../a.bin"), "'../a.bin' is no file beside the table"),
    "half a number": (of_a_folder("logits,int32,a.bin", b"123"), "3 bytes are no whole number of int32"),
    "a file that is not there": (of_a_folder("logits,int32,b.bin"), "b.bin: no such dump"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_dump_of_this_model_is_one_line(device: Device, tmp_path: Path, kind: str) -> None:
    make, message = REFUSED[kind]
    result = verified(device, make(device, tmp_path / "dump.npz"), "--data", str(device.data))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr, result.stderr
    assert "unexpected" not in result.stderr


def test_other_widths_are_named(device: Device, tmp_path: Path) -> None:
    np.savez(tmp_path / "dump.npz", t6=np.zeros(4 * 1728, np.int8), logits=device.arrays["logits"])
    result = verified(device, tmp_path / "dump.npz", "--data", str(device.data))
    assert (result.exit_code, "or are its elements 4 times as wide?" in result.stderr) == (2, True)


def test_pickles_in_a_dump_are_never_loaded(device: Device, tmp_path: Path) -> None:
    np.savez(tmp_path / "dump.npz", logits=np.array([{}], object))
    result = verified(device, tmp_path / "dump.npz", "--data", str(device.data))
    assert (result.exit_code, "pickled" in result.stderr) == (2, True)


KILLED = """import os, signal
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from quantdiff.cli import console
console()"""


def test_a_record_that_is_killed_leaves_nothing(device: Device, tmp_path: Path) -> None:
    """Killed when all is written and nothing in its place; the next one sweeps what the dead left."""
    out = tmp_path / "dump.npz"
    words = ["record", str(device.model), "--data", "random:40", "--runtime", "reference", "--out", str(out)]
    child = subprocess.run([sys.executable, "-P", "-c", KILLED, *words, "--every-tensor"], check=False)
    assert child.returncode == -signal.SIGKILL
    assert any(tmp_path.glob(".unfinished-*"))
    assert not out.exists()
    record = ["record", str(device.model), "--data", str(device.data), "--out", str(out)]
    assert CliRunner().invoke(main, record).exit_code == 0
    assert os.listdir(tmp_path) == ["dump.npz"]  # noqa: PTH208 (hidden ones count)


def test_what_was_recorded_is_data_too(device: Device, tmp_path: Path) -> None:
    """The integers of the dump are what the file is given; another file cannot be."""
    first, again = tmp_path / "first.npz", tmp_path / "again.npz"
    for data, out in (("random:3", first), (first, again)):
        words = ["record", device.model, "--data", data, "--runtime", "reference", "--out", out]
        assert CliRunner().invoke(main, list(map(str, words))).exit_code == 0
    with np.load(first) as ours, np.load(again) as theirs:
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files if name != MANIFEST)
    other = save(tmp_path, float_dense(), "other.tflite")
    refused = CliRunner().invoke(main, ["verify", str(other), "--data", str(first)])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert f"recorded from another file ({device.model.name}," in refused.stderr


def test_record_says_what_it_cannot_write(device: Device, tmp_path: Path) -> None:
    words = ["record", str(device.model), "--data", str(device.data), "--out"]
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "dump.npz", tmp_path):
        result = CliRunner().invoke(main, [*words, str(out)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert "unexpected" not in result.stderr


def test_record_makes_the_folder_as_other_commands_do(device: Device, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder" / "dump.npz"
    record = ["record", str(device.model), "--data", str(device.data), "--out", str(out)]
    assert CliRunner().invoke(main, record).exit_code == 0
    assert out.is_file()


def test_an_output_that_is_a_constant(tmp_path: Path) -> None:
    """It is there for each sample, and its name is that of a constant of the file."""
    constant = T("c", (1, 3), "float32", data=np.arange(3, dtype=np.float32))
    tensors = [T("x", (1, 3), "float32"), constant, T("y", (1, 3), "float32")]
    model, dump = tmp_path / "model.tflite", tmp_path / "dump.npz"
    model.write_bytes(write_tflite(tensors, [Op("ADD", ["x", "c"], ["y"])], ["x"], ["y", "c"]))
    data = "--data", "random:3"
    run = CliRunner().invoke
    assert run(main, ["record", str(model), *data, "--runtime", "reference", "--out", str(dump)]).exit_code == 0
    result = run(main, ["diff", str(model), str(model), *data, "--runtime", f"recorded:{dump}"])
    assert (result.exit_code, result.stderr) == (0, "")
