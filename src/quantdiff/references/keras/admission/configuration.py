"""A Keras file before Keras' own loader sees it: the containers, zip and HDF5, and the configuration in them.

No entry leads out of the file or unpacks to far more than it holds; every class and function that the configuration
names is looked up before one of them is made.
"""

from __future__ import annotations

import json
import re
import stat
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from quantdiff.errors import LONGEST, BadModel
from quantdiff.lazy import require
from quantdiff.references.keras.admission.names import (
    CLASSES,
    FUNCTIONS,
    PLAIN_CLASSES,
    PLAIN_FUNCTIONS,
    names_of,
)
from quantdiff.references.keras.admission.operations import ATTRIBUTES, CLASS_METHODS, OPERATIONS, is_symbol

WEIGHTS = "model.weights"
LARGE, RATIO = 1 << 26, 100
"""What unpacks to more than so many bytes may be at most so many times what the file keeps of it."""


def read_zip(path: Path) -> tuple[Any, str]:
    """The configuration of a ``.keras`` file, decoded, and the major version of the Keras that wrote it.

    What the model was compiled with is left out, for it is not made again.

    Raises:
        BadModel: an entry leads out of the file, unpacks to far more than it holds, or holds pickled weights.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len({PurePosixPath(name.replace("\\", "/")) for name in names}) < len(names):
            raise BadModel(f"{path}: has two entries of one name; save it again")
        for entry in archive.infolist():
            _check_place(entry, path)
        kept, whole = path.stat().st_size, sum(entry.file_size for entry in archive.infolist())
        if whole > max(LARGE, RATIO * kept):
            raise BadModel(f"{path}: unpacks from {kept:,} bytes to {whole:,}; save it again")
        if f"{WEIGHTS}.npz" in names:
            raise BadModel(f"{path}: keeps its weights in {WEIGHTS}.npz, pickled; save it again with today's Keras")
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        config = json.loads(archive.read("config.json"))
        if f"{WEIGHTS}.h5" in names:
            weights = BytesIO(archive.read(f"{WEIGHTS}.h5"))
            with require("h5py", extra="keras").File(weights, "r") as file:
                check_hdf5(file, path)
                _check_names(file, path)
    return {k: v for k, v in config.items() if k != "compile_config"}, version.split(".")[0]


def _check_names(file: Any, path: Path) -> None:
    """An early Keras 3 on Windows put backslashes between the names of layers, and no Keras finds these elsewhere."""
    if any("\\" in name for name in file):
        raise BadModel(
            f"{path}: its weights are stored under names with backslashes, as an early Keras 3 on Windows wrote them, "
            "and Keras finds none of them; load it there with that Keras and save it as .h5, or with a newer Keras"
        )


def read_hdf5(path: Path) -> tuple[Any, str]:
    """The same of an ``.h5`` file.

    Raises:
        BadModel: as ``check_hdf5``.
    """
    with require("h5py", extra="keras").File(path, "r") as file:
        check_hdf5(file, path)
        config = file.attrs["model_config"]
        text = config.decode("utf-8") if hasattr(config, "decode") else config
        return json.loads(text), str(file.attrs.get("keras_version", "2")).split(".")[0]


def _check_place(entry: zipfile.ZipInfo, path: Path) -> None:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in entry.filename or stat.S_ISLNK(entry.external_attr >> 16):
        raise BadModel(f"{path}: its entry {entry.filename!r} leads out of the file; save it again")


def check_hdf5(file: Any, path: Path) -> None:
    """Refuse what makes HDF5 read other files, or far more than this one holds.

    Raises:
        BadModel: names the object.
    """
    h5py = require("h5py", extra="keras")
    waiting, seen = [file["/"]], set()
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise BadModel(f"{path}: {group.name}/{name} is a link, maybe to another file; save it again")
            item = group[name]
            if isinstance(item, h5py.Dataset):
                _check_dataset(item, path)
            elif isinstance(item, h5py.Group) and (address := h5py.h5o.get_info(item.id).addr) not in seen:
                seen.add(address)
                waiting.append(item)


def _check_dataset(item: Any, path: Path) -> None:
    if item.external or item.is_virtual:
        raise BadModel(f"{path}: {item.name} takes its values from other files; save it again")
    kept = item.id.get_storage_size()
    # A chunk is unpacked as a whole, for a single value of it.
    whole = max(item.nbytes, prod(item.chunks or ()) * item.dtype.itemsize)
    if whole > max(LARGE, RATIO * kept):
        raise BadModel(f"{path}: {item.name} unpacks from {kept:,} bytes to {whole:,}; save it again")


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
