"""Keras models from ``.keras``, ``.h5`` and SavedModel; float or quantization-aware (TFMOT)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantdiff.errors import BadModel, MissingExtra, QuantdiffError
from quantdiff.extras import require
from quantdiff.load.data import Slot
from quantdiff.references.keras.frameworks import frameworks, quiet
from quantdiff.references.keras.tfmot import quantize_scope

KERAS_3 = "3"


@dataclass(frozen=True, slots=True)
class KerasModel:
    """A trained model: what it takes, what it gives, and ``kind``: ``float`` or ``qat``.

    ``model`` is the Keras model; for a SavedModel without Keras inside, its serving signature.
    """

    name: str
    kind: str
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]
    model: Any = field(compare=False, repr=False)
    notes: tuple[str, ...] = ()


def is_keras(path: Path) -> bool:
    """True for the paths that ``load_keras`` reads: by ending, or a folder."""
    return path.is_dir() or path.suffix in (".keras", ".h5", ".hdf5")


def load_keras(path: Path, *, allow_lambda: bool = False) -> KerasModel:
    """Read a model with TFMOT's quantize scope. Nothing that it holds as code runs unless asked for.

    Raises:
        BadModel: missing, damaged, of another kind, with a Lambda layer, or quantization-aware with ranges
            that were never trained.
        MissingExtra: the extra ``[keras]`` is not installed.
    """
    if not path.exists():
        raise BadModel(f"{path}: no such model; give a .keras, .h5 or .tflite file or a SavedModel folder")
    config, version = _peek(path)
    if '"Lambda"' in config and not allow_lambda:
        raise BadModel(f"{path}: has a Lambda layer, which holds code; if you trust this file, add --allow-lambda")
    try:
        with quiet():
            model = _read(path, version, allow_lambda)
    except QuantdiffError:
        raise
    except Exception as error:
        raise BadModel(f"{path}: Keras cannot read this model: {_first_line(error)}") from error
    if not hasattr(model, "layers"):
        return _from_signature(model, path)
    return describe(model, str(path.name))


def describe(model: Any, name: str) -> KerasModel:
    """A Keras model that is in memory, with its inputs, outputs and kind.

    Raises:
        BadModel: a model that was never built, or ranges that were never trained.
    """
    if not getattr(model, "inputs", None):
        raise BadModel(f"{name}: the model's input shape is not known; call it once on data before saving it")
    layers = tuple(flat_layers(model))
    kinds = {type(layer).__name__ for layer in layers}
    is_qat = any(kind.startswith("QuantizeWrapper") for kind in kinds)
    notes: tuple[str, ...] = ()
    if "QuantizeAnnotate" in kinds and not is_qat:
        notes = (f"{name}: annotated for quantization, but quantize_apply was never called: this model is float",)
    if is_qat:
        check_ranges(layers, name)
    return KerasModel(name, "qat" if is_qat else "float", slots_of(model), _names(model, "output"), model, notes)


def slots_of(model: Any) -> tuple[Slot, ...]:
    """What a built Keras model takes."""
    return tuple(
        Slot(given, tuple(tensor.shape), np.dtype(_dtype(tensor)).name)
        for given, tensor in zip(_names(model, "input"), model.inputs, strict=True)
    )


def flat_layers(model: Any) -> Iterator[Any]:
    """All layers, those of nested models included, in the model's order."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from flat_layers(layer)


def named_layers(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The layers that compute something, by their names; those of nested models as ``outer/inner``."""
    for layer in getattr(model, "layers", ()):
        name = f"{path}{layer.name}"
        if hasattr(layer, "layers"):
            yield from named_layers(layer, f"{name}/")
        else:
            yield name, layer


def check_ranges(layers: tuple[Any, ...], name: str) -> None:
    """Refuse a model of which a range has min ≥ max throughout: fake-quant makes nonsense of it.

    Raises:
        BadModel: names layer and variable.
    """
    for layer in layers:
        variables = {v.name.split("/")[-1].removesuffix(":0"): v for v in layer.weights}
        for low_name, low in variables.items():
            high = variables.get(low_name.removesuffix("_min") + "_max")
            if low_name.endswith("_min") and high is not None and np.all(low.numpy() >= high.numpy()):
                raise BadModel(
                    f"{name}: layer {layer.name}: {low_name} = {low.numpy().ravel()[0]:g} is not below its max: "
                    "the ranges were never trained; train the quantization-aware model before comparing it"
                )


def _peek(path: Path) -> tuple[str, str]:
    """The model's configuration as text and the major version of the Keras that wrote it; runs nothing.

    Raises:
        BadModel: not a file of the kind that its name says.
    """
    try:
        if path.is_dir():
            return _peek_saved_model(path)
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                version = json.loads(archive.read("metadata.json"))["keras_version"]
                return archive.read("config.json").decode(), version.split(".")[0]
        h5py = require("h5py", extra="keras")
        with h5py.File(path, "r") as file:
            return str(file.attrs["model_config"]), str(file.attrs.get("keras_version", "2")).split(".")[0]
    except (MissingExtra, BadModel):
        raise
    except Exception as error:
        raise BadModel(f"{path}: not a {path.suffix} model file ({_first_line(error)}); save it again") from error


def _peek_saved_model(path: Path) -> tuple[str, str]:
    if not (path / "saved_model.pb").is_file():
        raise BadModel(f"{path}: a folder without saved_model.pb is not a SavedModel")
    metadata = path / "keras_metadata.pb"
    return (metadata.read_bytes().decode(errors="replace"), "2") if metadata.is_file() else ("", "")


def _read(path: Path, version: str, allow_lambda: bool) -> Any:
    if version == KERAS_3:
        frameworks()  # sets up the environment in which Keras 3 finds TensorFlow
        return require("keras", extra="keras").models.load_model(path, compile=False, safe_mode=not allow_lambda)
    used = frameworks()
    if not version:
        return used.tf.saved_model.load(str(path))
    with quantize_scope():
        return used.keras.models.load_model(str(path), compile=False, **_safe(path, allow_lambda))


def _safe(path: Path, allow_lambda: bool) -> dict[str, bool]:
    """Only the ``.keras`` format takes the switch; the others were looked through in ``load_keras``."""
    return {"safe_mode": not allow_lambda} if path.suffix == ".keras" else {}


def _from_signature(model: Any, path: Path) -> KerasModel:
    """A SavedModel that is not a Keras model: its serving signature counts."""
    signature = getattr(model, "signatures", {}).get("serving_default")
    if signature is None:
        raise BadModel(f"{path}: a SavedModel without the signature `serving_default` cannot be run")
    given = signature.structured_input_signature[1]
    slots = tuple(Slot(n, tuple(spec.shape), spec.dtype.name) for n, spec in sorted(given.items()))
    kept = _Signature(model, signature, tuple(slot.name for slot in slots))
    return KerasModel(path.name, "float", slots, tuple(sorted(signature.structured_outputs)), kept)


@dataclass(frozen=True, slots=True)
class _Signature:
    """Call a serving signature as one calls a Keras model; keeps the model alive, which owns the variables."""

    owner: Any
    function: Any
    names: tuple[str, ...]

    def __call__(self, inputs: Any, training: bool = False) -> list[Any]:
        del training
        arrays = inputs if isinstance(inputs, list | tuple) else [inputs]
        results = self.function(**dict(zip(self.names, arrays, strict=True)))
        return [results[name] for name in sorted(results)]


def _names(model: Any, side: str) -> tuple[str, ...]:
    """Names of the inputs or outputs; Keras 3 names the tensors, Keras 2 the layers."""
    return tuple(getattr(model, f"{side}_names", None) or [tensor.name for tensor in getattr(model, f"{side}s")])


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
