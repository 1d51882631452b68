"""Keras files into which something is planted that would act while they are opened; the act is a file ``marker``."""

from __future__ import annotations

import base64
import json
import marshal
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from quantdiff.references.keras.frameworks import frameworks, quiet

h5py = pytest.importorskip("h5py")  # comes with [keras]

MARKER = "marker"
FORMATS = ("plain.h5", "plain_2.keras", "plain_3.h5", "plain_3.keras")
Layer = dict[str, Any]


def code() -> list[Any]:
    """A marshalled function that makes the marker when it is called."""
    function = compile(f"lambda *_: open({MARKER!r}, 'w').close()", "planted", "eval").co_consts[0]
    return [base64.encodebytes(marshal.dumps(function)).decode(), None, None]


def layer(name: str, config: Mapping[str, Any], module: str | None = None, **more: Any) -> Layer:
    """A layer on the model's input, as a file describes it; with a module as ``.keras`` files do."""
    whole = {"class_name": name, "name": "planted", "config": {"name": "planted", **config}, **more}
    return whole if module is None else {**whole, "module": module, "registered_name": None}


def dense(**config: Any) -> Layer:
    return layer("Dense", {"units": 3, **config}, "keras.layers")


def function(module: str, name: str) -> Layer:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


CALL = "keras.src.layers.core.tf_op_layer"
CELL = {"class_name": "SimpleRNNCell", "config": {"name": "c", "units": 4}}
WRITE: Layer = {"inbound_nodes": [["_CONSTANT_VALUE", -1, MARKER, {"contents": "planted"}]]}
ON_MARKER: Layer = {"inbound_nodes": [[["_CONSTANT_VALUE", -1, f"touch {MARKER}", {}]]]}
LAMBDA = {"function_type": "lambda", "module": None, "output_shape": None, "output_shape_type": "raw"}
LAYERS: dict[str, Callable[[], Layer]] = {
    "lambda": lambda: layer("Lambda", {"function": code(), **LAMBDA}),
    "lambda by name": lambda: layer(
        "Lambda", {**LAMBDA, "function": function("os", "system"), "function_type": "function"}, **ON_MARKER
    ),
    "lambda of keras 3": lambda: dense(activation={"class_name": "__lambda__", "config": {"value": code()}}),
    "write_file": lambda: layer("TFOpLambda", {"function": "io.write_file"}, **WRITE),
    "write_file with module": lambda: layer("TFOpLambda", {"function": "io.write_file"}, CALL, **WRITE),
    "raw write": lambda: layer("TFOpLambda", {"function": "raw_ops.WriteFile"}, **WRITE),
    "old write": lambda: layer("TFOpLambda", {"function": "compat.v1.write_file"}, **WRITE),
    "slicing": lambda: layer("SlicingOpLambda", {"function": "io.gfile.remove"}, **WRITE),
    "class method": lambda: layer("ClassMethod", {"cls_symbol": "io.gfile.GFile", "method_name": "write"}),
    "instance method": lambda: layer("InstanceMethod", {"attr_name": "__reduce_ex__"}),
    "old op layer": lambda: layer("TensorFlowOpLayer", {"node_def": {"name": "w", "op": "WriteFile"}, "constants": {}}),
    "residual": lambda: layer(
        "RNN",
        {"cell": layer("ResidualWrapper", {"cell": CELL, "residual_fn": code(), "residual_fn_type": "lambda"})},
        inbound_nodes=[[["three_steps", 0, 0, {}]]],
    ),
    "dropout": lambda: layer(
        "RNN", {"cell": layer("DropoutWrapper", {"cell": CELL, "dropout_fn": code(), "dropout_fn_type": "lambda"})}
    ),
    "function of python": lambda: dense(activation=function("os", "system")),
    "function of builtins": lambda: dense(activation=function("builtins", "exec")),
    "get_file": lambda: dense(activation=function("keras.utils", "get_file")),
    "load_model": lambda: dense(kernel_initializer=function("keras.saving", "load_model")),
    "name in another": lambda: dense(activation={**function("os", "relu"), "registered_name": "system"}),
    "text": lambda: dense(activation="deserialize_keras_object"),
    "module beside": lambda: layer("Dense", {"units": 3}, "planted_module"),
    "function beside": lambda: dense(activation=function("planted_module", "relu")),
    "value beside": lambda: dense(
        kernel_initializer={"class_name": "__tuple__", "module": "planted_module", "config": {}}
    ),
    "type beside": lambda: dense(
        kernel_initializer={
            "class_name": "__typespec__",
            "spec_name": "TensorSpec",
            "module": "planted_module",
            "registered_name": None,
            "config": [],
        }
    ),
    "registered": lambda: {**dense(), "registered_name": "Custom>SharpnessAwareMinimization2"},
    "deserialize": lambda: layer("deserialize", {"config": dense(activation=function("os", "system"))}),
    "loader": lambda: layer("TFSMLayer", {"filepath": "elsewhere"}, "keras.layers"),
    "vocabulary": lambda: layer("TextVectorization", {"vocabulary": "/etc/passwd"}, "keras.layers"),
    "nested": lambda: layer("TimeDistributed", {"layer": layer("Bidirectional", {"layer": LAYERS["lambda"]()})}),
    "compiled within": lambda: {**dense(), "compile_config": {"loss": function("os", "system")}},
}
"""What a file may plant as one more layer, by a name for the test."""


def write_plain(folder: Path) -> None:
    """A model 8 → 3 in each format, its input first and then a reshape to steps, for recurrent layers."""
    import keras

    for used, names in ((frameworks().keras, FORMATS[:2]), (keras, FORMATS[2:])):
        given = used.Input((8,), name="given")
        steps = used.layers.Reshape((2, 4), name="three_steps")(given)
        model = used.Model(given, used.layers.Dense(3)(used.layers.Flatten()(steps)))
        with quiet():
            for name in names:
                model.save(folder / name)


def plant(plain: Path, path: Path, planted: Layer, *, escape: bool = False) -> Path:
    """The same model with one more layer; ``escape`` writes every L of its JSON as a number."""

    def edited(text: str | bytes) -> str:
        config = json.loads(text)
        inbound = {"inbound_nodes": [[["given", 0, 0, {}]]]}
        config["config"]["layers"].append({**inbound, **planted})
        whole = json.dumps(config)
        return whole.replace("L", "\\u004c") if escape else whole

    if path.suffix == ".h5":
        shutil.copy(plain, path)
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = edited(file.attrs["model_config"])
        return path
    rewrite_zip(plain, path, {"config.json": lambda text: edited(text).encode()})
    return path


def rewrite_zip(plain: Path, path: Path, edits: Mapping[str, Callable[[bytes], bytes]]) -> None:
    """A copy of a zip with some entries changed."""
    with zipfile.ZipFile(plain) as given, zipfile.ZipFile(path, "w") as file:
        for name in given.namelist():
            content = given.read(name)
            file.writestr(name, edits[name](content) if name in edits else content)
