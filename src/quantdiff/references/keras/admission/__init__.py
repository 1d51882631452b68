"""What a stranger's model may do while it is opened: make objects that stand on a list, and nothing else.

A file is looked through before Keras' own loader sees it. Its JSON is decoded as Keras decodes it, every class and
function that it names is looked up (``configuration``, ``names``), its weights and entries may not lead out of it
(``containers``), and the graph of a SavedModel may compute what is listed (``graph``, ``operations``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantdiff.errors import BadModel, MissingExtra, reason_of
from quantdiff.lazy import require
from quantdiff.references.keras.admission.configuration import Rules, check_configuration, read_hdf5, read_zip
from quantdiff.references.keras.admission.graph import check_graph, keras_objects
from quantdiff.references.keras.admission.names import PLAIN_CLASSES, PLAIN_FUNCTIONS
from quantdiff.references.keras.admission.operations import is_symbol
from quantdiff.references.keras.frameworks import frameworks


def admit(path: Path, named: Mapping[str, Any], *, allow_lambda: bool) -> str:
    """Look through a model file → the major version of the Keras that wrote it, "" for a SavedModel without Keras.

    Nothing of the file runs. ``named`` is what the user's own file of custom objects defines.

    Raises:
        BadModel: it is damaged, not what its name says, or asks for more than the lists hold; one line says what.
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    try:
        if path.is_dir():
            return _admit_saved_model(path, named, allow_lambda)
        config, version = (read_zip if path.suffix == ".keras" else read_hdf5)(path)
        check_configuration(config, Rules(path, _custom(named, version), allow_lambda))
        return version
    except (MissingExtra, BadModel):
        raise
    except Exception as error:
        kind = f"{path.suffix} model file" if path.is_file() else "SavedModel that TensorFlow can read"
        raise BadModel(f"{path}: not a {kind} ({reason_of(error)}); save it again") from error


def _admit_saved_model(path: Path, named: Mapping[str, Any], allow_lambda: bool) -> str:
    if not (path / "saved_model.pb").is_file():
        raise BadModel(f"{path}: a folder without saved_model.pb is not a SavedModel")
    saved = require("tensorflow.python.saved_model.loader_impl", extra="keras").parse_saved_model(str(path))
    described = keras_objects(path, saved)
    check_graph(path, saved, by_keras=described is not None)
    rules = Rules(path, _custom(named, "2"), allow_lambda, _unknown_to_keras)
    for text in described or ():
        # What the model was compiled with is not made again.
        check_configuration({k: v for k, v in json.loads(text).items() if k != "training_config"}, rules)
    return "" if described is None else "2"


def is_listed(value: Any) -> bool:
    """Whether a class or function of Keras or TensorFlow is one that a file may name, or that a layer may call."""
    symbol = require("tensorflow.python.util.tf_export", extra="keras").get_canonical_name_for_symbol
    return value.__name__ in PLAIN_CLASSES | PLAIN_FUNCTIONS or is_symbol(symbol(value, add_prefix_to_v1_names=True))


def _custom(named: Mapping[str, Any], version: str) -> Callable[[str], bool]:
    """Whether a name is the user's: in the file of custom objects, or registered with Keras by it."""

    def is_custom(name: str) -> bool:
        used = frameworks()  # first: it sets up what Keras 3 finds
        keras = require("keras", extra="keras") if version == "3" else used.keras
        return name in named or keras.saving.get_registered_object(name) is not None

    return is_custom


def _unknown_to_keras(name: str) -> bool:
    """Whether none of the tables in which Keras 2 looks up a name without a module has it."""
    source = "tf_keras.src"
    layers = require(f"{source}.layers.serialization", extra="keras")
    kinds = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
    tables = [vars(require(f"{source}.{kind}", extra="keras")) for kind in kinds]
    known = layers.get_builtin_layer(name) is not None or any(name in table for table in tables)
    return not known and not name.endswith("Column")
