"""What a stranger's ``.h5`` or ``.keras`` may name: every attack is planted here and leaves no marker."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import small_models
from click.testing import CliRunner
from planted import (
    CELL,
    FORMATS,
    LAMBDA,
    LAYERS,
    MARKER,
    code,
    dense,
    function,
    h5py,
    layer,
    plant,
    rewrite_zip,
    write_plain,
)

from quantdiff.cli import main
from quantdiff.errors import BadModel
from quantdiff.references.keras import model as keras_model
from quantdiff.references.keras.admission import admit
from quantdiff.references.keras.frameworks import frameworks
from quantdiff.references.keras.model import load_keras

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    write_plain(folder)
    small_models.save(folder, small_models.float_dense(), "dense.tflite")
    np.save(folder / "x.npy", np.zeros((4, 8), np.float32))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the marker would be, with a module beside the model that leaves one when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "planted_module.py").write_text(f"open({MARKER!r}, 'w').close()\ndef relu(x): return x\nDense = relu\n")
    return tmp_path


def refused(here: Path, *command: str) -> str:
    """The one line with which a command refuses a file, which did nothing."""
    result = CliRunner().invoke(main, list(command))
    assert not (here / MARKER).exists()
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "unexpected" not in line
    return line


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("attack", LAYERS)
def test_what_is_planted_does_not_act(plain: Path, here: Path, name: str, attack: str) -> None:
    path = plant(plain / name, here / name, LAYERS[attack]())
    line = refused(here, "lint", str(path), str(plain / "dense.tflite"))
    assert line.startswith(f"error: {path}: layer ")
    assert "on no list" in line or "code" in line or "file to read" in line


@pytest.mark.parametrize("name", FORMATS)
def test_json_is_decoded_before_it_is_looked_through(plain: Path, here: Path, name: str) -> None:
    path = plant(plain / name, here / name, LAYERS["lambda"](), escape=True)
    line = refused(here, "diff", str(path), str(plain / "dense.tflite"), "--data", str(plain / "x.npy"))
    assert "layer planted: a Lambda layer" in line
    assert "--allow-lambda" in line


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("plain.h5", "lambda"),
        ("plain.h5", "write_file"),
        ("plain.h5", "residual"),
        ("plain_2.keras", "write_file with module"),
        ("plain_2.keras", "lambda by name"),
        ("plain_2.keras", "function beside"),
    ],
)
def test_the_same_acts_where_nothing_looks(
    plain: Path, here: Path, monkeypatch: pytest.MonkeyPatch, name: str, attack: str
) -> None:
    """These files are live: only the look beforehand stands between them and the marker."""
    path = plant(plain / name, here / name, LAYERS[attack]())
    monkeypatch.setattr(keras_model, "admit", lambda *_, **__: "2")
    with suppress(BadModel):
        load_keras(path, allow_lambda=True)
    assert (here / MARKER).exists()


def test_a_lambda_layer_that_may_run_is_all_that_may(plain: Path, here: Path) -> None:
    path = plant(plain / "plain.h5", here / "m.h5", LAYERS["lambda"]())
    load_keras(path, allow_lambda=True)
    assert (here / MARKER).exists()
    (here / MARKER).unlink()
    smuggled = layer("Lambda", {**LAMBDA, "function": [function("os", "system"), None, None]}, "keras.layers")
    for planted in (*(LAYERS[attack]() for attack in LAYERS if attack not in ("lambda", "nested")), smuggled):
        path = plant(plain / "plain_2.keras", here / "m.keras", planted)
        refused(here, "lint", str(path), str(plain / "dense.tflite"), "--allow-lambda")


OWN = """
import tensorflow as tf
import tf_keras as keras
from shutil import rmtree
from tensorflow.io import write_file
from tf_keras.utils import get_file

wave = tf.math.sin

class Twice(keras.layers.Activation):
    pass

@keras.saving.register_keras_serializable("mine")
class Thrice(keras.layers.Activation):
    pass

def twice(x):
    return x + x
"""


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_what_the_user_names_may_be_named(plain: Path, here: Path, name: str) -> None:
    (here / "own.py").write_text(OWN)
    base = plain / ("plain.h5" if name == "m.h5" else "plain_2.keras")
    for planted in (
        {**layer("Twice", {"activation": "relu"}, "somewhere"), "registered_name": "Twice"},
        layer("mine>Thrice" if name == "m.h5" else "Thrice", {"activation": "relu"}, registered_name="mine>Thrice"),
        layer("Activation", {"activation": "twice"}),
        layer("Activation", {"activation": "twice" if name == "m.h5" else function("builtins", "twice")}),
    ):
        frameworks().keras.saving.get_custom_objects().pop("mine>Thrice", None)  # a process keeps what is registered
        path = plant(base, here / name, planted)
        with pytest.raises(BadModel, match=r"layer planted.* on no list .*--custom-objects FILE.py"):
            load_keras(path)
        assert load_keras(path, custom_objects=here / "own.py").kind == "float"


def test_what_the_file_of_the_user_imports_for_itself_is_not_named(plain: Path, here: Path) -> None:
    (here / "own.py").write_text(OWN)
    for name in ("rmtree", "write_file", "get_file"):
        path = plant(plain / "plain.h5", here / "m.h5", dense(activation=name))
        with pytest.raises(BadModel, match=rf"layer planted: activation '{name}' is on no list"):
            load_keras(path, custom_objects=here / "own.py")
    path = plant(plain / "plain.h5", here / "m.h5", layer("Activation", {"activation": "wave"}))
    assert load_keras(path, custom_objects=here / "own.py").kind == "float"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("attack", ["lambda", "write_file", "loader", "deserialize"])
def test_the_name_of_the_user_is_no_mask(plain: Path, here: Path, name: str, attack: str) -> None:
    """Older forms are found by their class, newer ones by what they are registered as: both must be the user's."""
    (here / "own.py").write_text(OWN)
    for masked in ({"registered_name": "Twice"}, {"registered_name": "mine>Thrice", "module": None}):
        path = plant(plain / name, here / name, {**LAYERS[attack](), **masked})
        refused(here, "lint", str(path), str(plain / "dense.tflite"), "--custom-objects", str(here / "own.py"))


def test_a_class_of_the_user_brings_nothing_else(plain: Path, here: Path) -> None:
    (here / "own.py").write_text(OWN)
    planted = {**layer("Twice", {"units": 3, "activation": function("os", "system")}), "registered_name": "Twice"}
    with pytest.raises(BadModel, match=r"the function 'os.system' is on no list"):
        load_keras(plant(plain / "plain_2.keras", here / "m.keras", planted), custom_objects=here / "own.py")


def test_what_the_model_was_compiled_with_is_not_made(plain: Path, here: Path) -> None:
    """It may be a loss of the person who trained the model, so it is neither asked for nor loaded."""
    path = here / "m.keras"
    loss = {"compile_config": {"loss": function("mine.losses", "sharp"), "optimizer": "adam"}}
    rewrite_zip(
        plain / "plain_2.keras", path, {"config.json": lambda t: json.dumps({**json.loads(t), **loss}).encode()}
    )
    assert load_keras(path).kind == "float"
    shutil.copy(plain / "plain.h5", here / "m.h5")
    with h5py.File(here / "m.h5", "r+") as file:
        file.attrs["training_config"] = json.dumps({"loss": "sharp", "optimizer_config": LAYERS["lambda"]()})
    assert load_keras(here / "m.h5").kind == "float"


def test_cells_without_code_of_their_own(plain: Path, here: Path) -> None:
    wrapped = layer("ResidualWrapper", {"cell": layer("DropoutWrapper", {"cell": CELL})})
    planted = layer("RNN", {"cell": wrapped}, inbound_nodes=[[["three_steps", 0, 0, {}]]])
    assert admit(plant(plain / "plain.h5", here / "m.h5", planted), {}, allow_lambda=False) == "2"
    del wrapped["config"]["cell"]
    wrapped["config"] |= {"cell": CELL, "residual_fn": code(), **LAMBDA}
    with pytest.raises(BadModel, match=r"ResidualWrapper holds a function as marshalled code"):
        load_keras(plant(plain / "plain.h5", here / "m.h5", planted))


def test_what_a_stranger_writes_is_cut(plain: Path, here: Path) -> None:
    planted = layer("no\n" * 10_000, {"name": "name\x1b[31m " * 10_000})
    path = plant(plain / "plain.h5", here / "m.h5", planted)
    line = refused(here, "lint", str(path), str(plain / "dense.tflite"))
    assert len(line) < 2_000
    assert line.isprintable()


def test_a_deep_configuration_is_no_crash(plain: Path, here: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    rewrite_zip(plain / "plain_2.keras", here / "m.keras", {"config.json": lambda _: f'{{"config": {deep}}}'.encode()})
    assert "m.keras: not a .keras model file" in refused(here, "lint", "m.keras", str(plain / "dense.tflite"))
