"""A Keras configuration, decoded: every class and function that it names is looked up before one of them is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from quantdiff.errors import LONGEST, BadModel
from quantdiff.references.keras.admission.names import (
    CLASSES,
    FUNCTIONS,
    PLAIN_CLASSES,
    PLAIN_FUNCTIONS,
    names_of,
)
from quantdiff.references.keras.admission.operations import ATTRIBUTES, CLASS_METHODS, OPERATIONS, is_symbol

VALUES = names_of("""
    __bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__ CompositeTensor TensorShape
""")
"""Class names that stand for plain values."""
SPECS = ("tf.TensorSpec", "tf.BoundedTensorSpec", "tf.SparseTensorSpec", "tf.RaggedTensorSpec")
SPEC_MODULES = ("tensor", "tensor_spec", "sparse_tensor", "ragged.ragged_tensor")
BY_NAME = re.compile(r"(^|_)(activation|initializer|regularizer|constraint)$")
"""Keys whose text Keras takes for the name of a function or class."""
PATHS = ("vocabulary", "initial_vocabulary", "vocabulary_file", "ckpt_to_load_from")
"""Keys whose text Keras takes for a file to read."""
CODE = ("function", "output_shape", "mask")
"""Keys of a Lambda layer that hold code."""
MARSHALLED = {"ResidualWrapper": "residual_fn", "DropoutWrapper": "dropout_fn"}
TRUST = "if you trust this file, name the file that defines it: --custom-objects FILE.py"


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose file it is, what the user adds to the lists, and whether a name that Keras does not know either may pass.

    Of a SavedModel such a name is harmless: Keras then takes the layer's graph instead of its class.
    """

    path: Path
    custom: Callable[[str], bool]
    allow_lambda: bool = False
    unknown: Callable[[str], bool] | None = None

    def refuse(self, layer: str, what: str, cure: str = TRUST) -> NoReturn:
        """Say in one line what the file asks for, and where.

        Raises:
            BadModel: always.
        """
        raise BadModel(f"{self.path}: {f'layer {layer[:LONGEST]}: ' if layer else ''}{what}; {cure}")


def check_configuration(config: Any, rules: Rules) -> None:
    """Walk a decoded configuration and refuse the first thing that is on no list.

    Raises:
        BadModel: names layer and thing.
    """
    waiting = [(config, "")]
    while waiting:
        value, layer = waiting.pop()
        if isinstance(value, dict):
            layer = _layer_of(value) or layer
            value = list((_check_object(value, layer, rules) if "class_name" in value else value).values())
        if isinstance(value, list):
            waiting += [(each, layer) for each in reversed(value)]


def _layer_of(value: Mapping[str, Any]) -> str:
    inner = value.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) and "class_name" in value else ""


def _check_object(value: Mapping[str, Any], layer: str, rules: Rules) -> Mapping[str, Any]:
    """Look up one serialized object → what of it is still to be looked through."""
    name, module = value["class_name"], value.get("module") or None
    registered = value.get("registered_name", name)
    if not isinstance(name, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        rules.refuse(layer, "a class whose name is no text")
    if name == "function":
        return _check_function(value, module, layer, rules)
    if name == "__lambda__":
        rules.refuse(layer, "holds marshalled code", "make it a function of that file: --custom-objects FILE.py")
    if _is_custom(name, module, registered, rules):
        return value
    if registered not in (None, name, f"Custom>{name}"):
        rules.refuse(layer, f"{_shown(registered)} is on no list of what a model may name")
    return _check_class(value, module, layer, rules)


def _is_custom(name: str, module: str | None, registered: str | None, rules: Rules) -> bool:
    """Whether it is the user's, whichever way Keras finds it: older forms by name, newer by how it is registered."""
    by_name, by_registration = rules.custom(name), registered is not None and rules.custom(registered)
    if by_name and (module is None or by_registration):
        return True
    zipped = rules.path.suffix == ".keras" and rules.unknown is None
    return by_registration and module is not None and zipped


def _check_class(value: Mapping[str, Any], module: str | None, layer: str, rules: Rules) -> Mapping[str, Any]:
    name = value["class_name"]
    if name == "Lambda" and _bare(module) in ("", "keras.layers"):
        return _check_lambda(value, layer, rules)
    if name in ("TypeSpec", "__typespec__"):
        return _check_spec(value, layer, rules)
    listed = PLAIN_CLASSES | VALUES if module is None else CLASSES.get(_bare(module), frozenset())
    if name in listed:
        _check_arguments(name, value.get("config"), layer, rules)
    elif rules.unknown is None or not rules.unknown(name):
        written = name if module is None else f"{module}.{name}"
        rules.refuse(layer, f"the class {_shown(written)} is on no list of what a model may name")
    return value


def _check_function(value: Mapping[str, Any], module: str | None, layer: str, rules: Rules) -> Mapping[str, Any]:
    name, registered = value.get("config"), value.get("registered_name")
    if isinstance(name, str) and rules.custom(name):
        return {}
    plain = registered in (None, name) or (registered == "function" and module == "builtins")
    if not plain or name not in FUNCTIONS.get(_bare(module), ()):
        written = f"{module}.{registered or name}" if module else f"{registered or name}"
        rules.refuse(layer, f"the function {_shown(written)} is on no list of what a model may name")
    return {}


def _check_lambda(value: Mapping[str, Any], layer: str, rules: Rules) -> Mapping[str, Any]:
    """A Lambda layer holds code, which may run if the user says so; a function that it names stands on the lists."""
    if not rules.allow_lambda:
        rules.refuse(layer, "a Lambda layer, which holds code", "if you trust this file, add --allow-lambda")
    config = value.get("config")
    if not isinstance(config, dict):
        return value
    code = [k for k in CODE if isinstance(config.get(k), dict) and config[k].get("class_name") == "__lambda__"]
    return {**value, "config": {k: v for k, v in config.items() if k not in code}}


def _check_spec(value: Mapping[str, Any], layer: str, rules: Rules) -> Mapping[str, Any]:
    if value["class_name"] == "TypeSpec":
        name, known = value.get("type_spec"), value.get("module") is None
    else:
        name, module = f"tf.{value.get('spec_name')}", str(value.get("module"))
        homes = [f"tensorflow.python.{room}.{home}" for room in ("framework", "ops") for home in SPEC_MODULES]
        known = module in homes
    if not known or name not in SPECS:
        rules.refuse(layer, f"the type {_shown(name)} is on no list of what a model may name")
    return {k: v for k, v in value.items() if k != "class_name"}


def _check_arguments(name: str, config: Any, layer: str, rules: Rules) -> None:
    """Arguments by which an admitted class would reach something else: a name, a path, code."""
    given = config if isinstance(config, dict) else {}
    marshalled = given.get(MARSHALLED.get(name, ""))
    if marshalled is not None and not (isinstance(marshalled, str) and rules.custom(marshalled)):
        rules.refuse(layer, f"{name} holds a function as marshalled code", "save the model without it")
    called = _called(name, given)
    if called is not None:
        rules.refuse(layer, f"{_shown(called)} is on no list of what a layer may call", "use a layer of Keras for it")
    for key, text in given.items():
        if key in PATHS and isinstance(text, str) and text:
            rules.refuse(
                layer, f"{key} names a file to read, {_shown(text)}", "save the model with what the file holds"
            )
        if BY_NAME.search(key) and isinstance(text, str) and not _by_name(text, rules):
            rules.refuse(layer, f"{key} {_shown(text)} is on no list of what a model may name")


def _by_name(text: str, rules: Rules) -> bool:
    return (
        text in PLAIN_FUNCTIONS or text in PLAIN_CLASSES or rules.unknown is not None or not text or rules.custom(text)
    )


def _called(name: str, given: Mapping[str, Any]) -> str | None:
    """What a layer that stands for a call of TensorFlow would call, if that is on no list."""
    said, fine = "", True
    if name in ("TFOpLambda", "SlicingOpLambda"):
        said = str(given.get("function"))
        fine = is_symbol(said)
    elif name == "ClassMethod":
        said = f"{given.get('cls_symbol')}.{given.get('method_name')}"
        fine = said.removeprefix("compat.v1.").partition(".")[::2] in {("RaggedTensor", each) for each in CLASS_METHODS}
    elif name in ("InstanceProperty", "InstanceMethod"):
        said = str(given.get("attr_name"))
        fine = said in ATTRIBUTES
    elif name == "TensorFlowOpLayer":
        node = given.get("node_def")
        said = str(node.get("op")) if isinstance(node, dict) else "an operation in a form that cannot be read"
        fine = said in OPERATIONS
    return None if fine else said


def _bare(module: str | None) -> str:
    """The module as Keras 2 and 3 call it; tf-keras puts ``tf_`` in front."""
    return (module or "").removeprefix("tf_")


def _shown(text: Any) -> str:
    """A stranger's text, quoted and not too long."""
    return repr(text if len(str(text)) <= LONGEST else f"{str(text)[:LONGEST]}…")
