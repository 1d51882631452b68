"""The lists against the installed packages: each name exists, nothing of theirs is missing, nothing that acts is in."""

from __future__ import annotations

import builtins
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from quantdiff.errors import BadModel
from quantdiff.lazy import require
from quantdiff.references.keras.admission import names, operations
from quantdiff.references.keras.admission.configuration import Rules, check_configuration
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot

pytestmark = pytest.mark.keras

KINDS = {
    "layers": names.LAYERS,
    "initializers": names.INITIALIZERS,
    "regularizers": names.REGULARIZERS,
    "constraints": names.CONSTRAINTS,
    "optimizers": names.OPTIMIZERS,
    "losses": names.LOSSES,
    "metrics": names.METRICS,
}
CODE = {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"}
"""Layers that run somebody's code or load somebody's file."""
NO_OBJECTS = {"Reduction", "OptimizerMap", "Input"}
ACTING = {
    "keras.utils": "get_file load_img img_to_array plot_model",
    "keras.saving": "load_model save_model deserialize_keras_object register_keras_serializable",
    "keras.models": "load_model model_from_json save_model",
    "keras.layers": "Lambda TFSMLayer deserialize",
    "keras.config": "enable_unsafe_deserialization",
    "os": "system",
    "builtins": "exec eval open compile",
}


def used() -> tuple[Any, Any]:
    import keras

    return frameworks().keras, keras


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_of_the_installed_keras_is_admitted_or_left_out_on_purpose(kind: str) -> None:
    for keras in used():
        classes = {name: value for name, value in vars(getattr(keras, kind)).items() if inspect.isclass(value)}
        written = {value.__name__ for value in classes.values()}  # what older files say
        left_out = CODE | NO_OBJECTS | {"ReductionV2"}
        assert (classes.keys() | written) - KINDS[kind] - left_out == set(), keras.__name__


def test_what_keras_2_looks_up_by_a_bare_name_is_admitted_or_left_out_on_purpose() -> None:
    serialization = require("tf_keras.src.layers.serialization", extra="keras")
    serialization.get_builtin_layer("Dense")  # fills the table
    functions = {"add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"}
    bases = {"BaseRandomLayer", "BatchNormalizationBase", "_RNNCellWrapper"}
    assert set(serialization.LOCAL.ALL_OBJECTS) - names.PLAIN_CLASSES - functions - bases - CODE - NO_OBJECTS == set()


def test_operations_of_keras_3_are_admitted_or_take_a_function() -> None:
    import keras

    functions = {"AssociativeScan", "Cond", "ForiLoop", "JVP", "Map", "Scan", "Switch", "VectorizedMap", "WhileLoop"}
    for module, admitted in names.OPS.items():
        offered = {
            name
            for name, value in vars(importlib.import_module(module)).items()
            if inspect.isclass(value) and issubclass(value, keras.Operation) and value.__module__ == module
        }
        assert offered - functions == admitted, module


def test_tfmot_is_its_own_scope() -> None:
    with tfmot().quantization.keras.quantize_scope():
        scope = require("tf_keras.src.saving.object_registration", extra="keras")
        assert set(vars(scope._THREAD_LOCAL_CUSTOM_OBJECTS)) == names.TFMOT


def test_every_admitted_class_is_one_that_keras_makes_objects_of() -> None:
    """Wherever a listed pair of module and name leads, it leads to a class of that name."""
    for module, listed in names.CLASSES.items():
        for real in (module, module.replace("keras", "tf_keras", 1)):
            try:
                found = vars(importlib.import_module(real))
            except ImportError:
                continue
            for name in listed & found.keys():
                assert inspect.isclass(found[name]) or name in names.REGULARIZERS, f"{real}.{name}"
                home = found[name].__module__.partition(".")[0]
                assert home in ("keras", "tf_keras", "tensorflow", "tensorflow_model_optimization"), f"{real}.{name}"


def test_no_name_is_a_function_of_python() -> None:
    harmless = {"abs", "max", "min", "sum", "pow", "round", "any", "all", "range", "slice"}
    assert {name for name in names.PLAIN_FUNCTIONS if hasattr(builtins, name)} <= harmless


@pytest.mark.parametrize("module", ACTING)
@pytest.mark.parametrize("framework", ["", "tf_"])
def test_nothing_that_acts_is_admitted(module: str, framework: str) -> None:
    rules = Rules(Path("m.keras"), lambda _: False)
    for name in ACTING[module].split():
        for one in ({"class_name": name, "config": {}}, {"class_name": "function", "config": name}):
            whole = {"module": framework + module, "registered_name": name, **one}
            with pytest.raises(BadModel, match=f"{name}|Lambda"):
                check_configuration(whole, rules)


ARGUMENTS: dict[str, Any] = {
    "units": 4, "filters": 2, "kernel_size": 2, "pool_size": 2, "rate": 0.1, "target_shape": (4,), "n": 2, "dims": (1,),
    "axes": 1, "input_dim": 4, "output_dim": 3, "equation": "ab,bc->ac", "output_shape": 4, "activation": "relu",
    "num_heads": 2, "key_dim": 2, "head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1, "num_bins": 3,
    "num_tokens": 3, "height": 4, "width": 4, "factor": 1, "height_factor": 0.1, "width_factor": 0.1, "scale": 2.0,
    "stddev": 0.1, "output_size": 2, "value_range": (0, 1), "max_number": 3, "max_boxes": 3, "shape": (4,),
    "num_classes": 2, "target_class_ids": [0], "recall": 0.5, "precision": 0.5, "specificity": 0.5, "sensitivity": 0.5,
    "normalizer": 1.0, "learning_rate": 0.1, "name": "given", "cropping": 1,
}  # fmt: skip
ODD: dict[str, dict[str, Any]] = {
    "Discretization": {"bin_boundaries": [0.0, 1.0]},
    "CategoryEncoding": {"num_tokens": 3},
    "InputLayer": {"shape": (4,)},
}
ABSTRACT = {"Regularizer", "Metric", "Optimizer", "InputSpec", "DenseFeatures"}
OTHERS = {"LossScaleOptimizer", "MultiOptimizer", "MeanMetricWrapper"}


def make(keras: Any, kind: type) -> Any:
    """An object of a class of Keras, with arguments that fit."""
    layers = keras.layers
    inner = {
        "layer": layers.Dense(2) if kind.__name__ == "SpectralNormalization" else layers.LSTM(2, return_sequences=True),
        "cell": layers.LSTMCell(2),
        "cells": [layers.GRUCell(2)],
        "layers": [layers.Rescaling(1.0)],
    }
    needed = [p for p in inspect.signature(kind.__init__).parameters.values() if p.default is p.empty]  # type: ignore[misc]
    wanted = {p.name for p in needed if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}
    fitting = ODD.get(kind.__name__, {}) if kind.__name__ != "InputLayer" or keras.__name__ == "keras" else {}
    return kind(
        **{name: (ARGUMENTS | inner)[name] for name in wanted}, **{k: v for k, v in fitting.items() if k not in wanted}
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 1])
def test_what_keras_writes_of_its_own_objects_is_admitted(kind: str, which: int) -> None:
    keras = used()[which]
    rules = Rules(Path("m.keras"), lambda _: False)
    offered: dict[str, Any] = vars(getattr(keras, kind))
    for name, value in sorted(offered.items()):
        if inspect.isclass(value) and name not in CODE | NO_OBJECTS | ABSTRACT | OTHERS:
            with quiet():
                written = keras.saving.serialize_keras_object(make(keras, value))
            check_configuration(json.loads(json.dumps(written)), rules)


def test_every_operation_and_symbol_exists() -> None:
    frameworks()
    registered = require("tensorflow.python.framework.op_def_registry", extra="keras").get
    assert [name for name in operations.OPERATIONS if registered(name) is None] == []
    symbols = require("tensorflow.python.util.tf_export", extra="keras").get_symbol_from_name
    for module, listed in operations.SYMBOLS.items():
        for name in listed - {"ACC", "acc", "accuracy", "BCE", "bce"}:
            public = f"{module}.{name}".strip(".")
            known = [each for each in (public, f"compat.v1.{public}") if symbols(each) is not None]
            assert known or module.startswith("keras."), public
            assert not any(inspect.isclass(symbols(each)) for each in known), public


ACTING_SYMBOLS = """
    io.write_file io.read_file io.gfile.copy io.gfile.remove raw_ops.WriteFile raw_ops.PyFunc raw_ops.EagerPyFunc
    raw_ops.SaveV2 raw_ops.PrintV2 raw_ops.ImmutableConst raw_ops.DebugIdentity py_function numpy_function print
    function load_op_library load_library saved_model.load keras.utils.get_file keras.saving.load_model
    keras.models.load_model compat.v1.py_func compat.v1.write_file compat.v1.raw_ops.WriteFile
    debugging.experimental.enable_dump_debug_info summary.write train.load_checkpoint lookup.TextFileInitializer
    experimental.register_filesystem_plugin data.experimental.save xla_custom_call rpc_server
    __internal__.tracking.wrap autograph.to_code math math. keras.backend.function keras.activations.deserialize
    math.__class__
"""


@pytest.mark.parametrize("name", ACTING_SYMBOLS.split())
def test_symbols_that_act_are_on_no_list(name: str) -> None:
    assert not operations.is_symbol(name)


def test_no_operation_on_the_list_reaches_out_of_the_process() -> None:
    words = "Read File Write Save Restore Writer Dataset Iterator Queue PyFunc Rpc Send Recv Debug Dump Library Abort"
    fine = {"ReadVariableOp", "RngReadAndSkip", "TensorArrayRead", "TensorArrayReadV2", "TensorArrayReadV3"}
    fine |= {"TensorArrayWrite", "TensorArrayWriteV2", "TensorArrayWriteV3", "ShardedFilename"}
    assert {op for op in operations.OPERATIONS if any(word in op for word in words.split())} <= fine
